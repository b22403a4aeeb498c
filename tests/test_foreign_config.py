"""A config.json names code, weights, files and repositories at any depth: none is run, read or asked for."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from bad_configs import assert_one_line, build, parameters, refusal
from outside import noted

from hfcount.errors import BadInput, HfcountError
from hfcount.fast import NotCovered, fast_count
from hfcount.foreign_config import MAX_DEPTH, model_fields
from hfcount.sources.source import Source

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 100,
}
VISION = {**SMALL, "model_type": "clip_vision_model", "image_size": 32, "patch_size": 8}

BASES: dict[str, dict[str, Any]] = {
    "llama": {**SMALL, "model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "llava": {
        "model_type": "llava",
        "architectures": ["LlavaForConditionalGeneration"],
        "text_config": {**SMALL, "model_type": "llama"},
        "vision_config": VISION,
    },
    "vision-encoder-decoder": {
        "model_type": "vision-encoder-decoder",
        "architectures": ["VisionEncoderDecoderModel"],
        "encoder": {**SMALL, "model_type": "vit", "image_size": 32, "patch_size": 8},
        "decoder": {**SMALL, "model_type": "bert", "is_decoder": True, "add_cross_attention": True},
    },
    "mixtral": {
        **SMALL,
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "num_local_experts": 2,
        "num_key_value_heads": 4,
    },
}


class Lure:
    """A pickle that says when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("the pickle was loaded",))


@pytest.fixture(scope="module")
def lures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that a config could name: a model with code of its own, weights, a config.json."""
    folder = tmp_path_factory.mktemp("lures")
    (folder / "modeling_lure.py").write_text(
        "from pathlib import Path\nfrom transformers import BertModel\n"
        f"Path({str(folder / 'ran')!r}).touch()\nclass Lure(BertModel):\n    pass\n"
    )
    (folder / "weights.bin").write_bytes(pickle.dumps(Lure()))
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_classes": 5}))
    return folder


def foreign_fields(folder: Path) -> dict[str, dict[str, Any]]:
    """Fields that name what lies elsewhere; none of them changes a count."""
    code = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoBackbone"), "modeling_lure.Lure")
    weights, place = str(folder / "weights.bin"), str(folder)
    given: dict[str, Any] = {
        "auto_map": code,
        "custom_pipelines": {"lure": {"impl": "modeling_lure.Lure", "pt": ["AutoModel"]}},
        "trust_remote_code": True,
        "_name_or_path": place,
        "name_or_path": "https://127.0.0.1:9/lure",
        "attn_implementation": "lab/lure-kernel",
        "_attn_implementation": {"": "lab/lure-kernel"},
        "_attn_implementation_internal": "flash_attention_2",
        "experts_implementation": "lab/lure-kernel",
        "_experts_implementation": "no-such-experts",
        "kernel_config": {"RMSNorm": "lab/lure-kernel:RMSNorm"},
        "quantization_config": {"quant_method": "gptq", "bits": 4, "dataset": "lab/lure", "auto_map": code},
        "compression_config": {"quant_method": "compressed-tensors", "config_groups": place},
        "generation_config": {"_from_model_config": True, "custom_generate": "lab/lure"},
        "processor_class": "modeling_lure.Lure",
        "checkpoint_path": weights,
        "pretrained": True,
        "pretrained_cfg": {"file": weights, "hf_hub_id": "lab/lure", "url": "http://127.0.0.1:9/lure"},
        "use_pretrained_backbone": True,
        "weights": weights,
        "index_path": place,
        "vocab_file": weights,
        "hub_id": "lab/lure",
    }
    return {name: {name: value} for name, value in given.items()} | {
        "code and its place": {"auto_map": code, "_name_or_path": place},
        "code elsewhere": {"auto_map": {"AutoModelForCausalLM": f"{place}--modeling_lure.Lure"}, "_name_or_path": "x"},
    }


def placed(base: dict[str, Any], where: str, fields: dict[str, Any]) -> dict[str, Any]:
    """`base` with the fields at the top, in each config inside it, or in a list under a name that no class knows."""
    config = copy.deepcopy(base)
    inner = [value for value in config.values() if isinstance(value, dict)]
    if where == "top":
        config.update(fields)
    elif where == "inside":
        for each in inner:
            each.update(fields)
    else:
        config["stages_of_ours"] = [{"deep": [[dict(fields)]]}]
        for each in inner:
            each["stages_of_ours"] = {"deeper": {"still": dict(fields)}}
    return config


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    """What transformers itself builds of each base, as it stands."""
    found = {}
    for name, base in BASES.items():
        config = transformers.CONFIG_MAPPING[base["model_type"]].from_dict(copy.deepcopy(base))
        with torch.device("meta"):
            model = getattr(transformers, base["architectures"][0])(config)
        found[name] = sum(each.numel() for each in model.parameters())
    return found


@pytest.mark.parametrize("where", ["top", "inside", "under other names"])
@pytest.mark.parametrize("base", BASES)
def test_fields_that_name_what_lies_elsewhere(base: str, where: str, lures: Path, counts: dict[str, int]) -> None:
    """Twenty-five fields in three places of four configs: 300 of them, each counted as if the field were not there."""
    build(BASES[base])  # what importing the classes opens is none of a config's doing
    for name, fields in foreign_fields(lures).items():
        with noted() as events:
            found = parameters(build(placed(BASES[base], where, fields)))
        assert (events, found) == ([], counts[base]), f"{name} {where} of {base}"
    assert not (lures / "ran").exists()


def own_decoder(folder: Path) -> dict[str, Any]:
    """A config whose decoder has no class in transformers for its task, and code of its own for it.

    This is where transformers asks on stdin whether to run that code.
    """
    config = copy.deepcopy(BASES["vision-encoder-decoder"])
    config["decoder"] = {**config["encoder"], **foreign_fields(folder)["code and its place"]}
    return config


def test_a_yes_on_stdin_runs_no_code(tmp_path: Path, lures: Path) -> None:
    """Every command, fast and offline too, in one process that has "y" for each question."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(own_decoder(lures)))
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA model of 117M parameters.\n")
    code = (
        "import sys\nfrom hfcount.cli.app import run\nfolder = sys.argv[1]\n"
        "for line in sys.argv[2].split('|'):\n"
        "    print('CODE', run([folder if word == 'MODEL' else word for word in line.split()]), flush=True)"
    )
    commands = [
        "MODEL", "MODEL --fast", "MODEL --offline", "MODEL --set encoder.num_hidden_layers=1", "MODEL --lora-r 8",
        "formula MODEL", "formula MODEL --fast", "explain MODEL 117M", "compare MODEL gpt2 --fast", "memory MODEL",
        "memory MODEL --simulate", "solve MODEL --trainable 1%", "card MODEL",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), "|".join([*commands, "audit MODEL"])],
        input="y\n" * 200, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert not (lures / "ran").exists(), done.stderr
    codes = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("CODE")]
    assert codes == ["2"] * len(commands) + ["0"], done.stdout + done.stderr
    assert "Do you wish to run" not in done.stdout + done.stderr
    assert "a fault in hfcount" not in done.stdout + done.stderr


def test_a_setting_cannot_name_code(lures: Path) -> None:
    with noted() as events:
        text = refusal(own_decoder(lures), ['decoder.auto_map={"AutoModelForCausalLM": "modeling_lure.Lure"}'])
    assert "decoder.auto_map" in text
    assert events == []


# Models of timm ------------------------------------------------------------------------------------------

TIMM: dict[str, Any] = {
    "model_type": "timm_wrapper",
    "architecture": "resnet18",
    "architectures": ["TimmWrapperForImageClassification"],
    "num_classes": 3,
    "label_names": ["a", "b", "c"],
}


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A timm that notes what it is asked for, and whose models are a layer of three numbers."""
    from transformers.models.timm_wrapper import modeling_timm_wrapper
    from transformers.utils import import_utils

    asked: list[tuple[str, dict[str, Any]]] = []

    def create_model(name: str, **arguments: Any) -> torch.nn.Module:
        asked.append((name, arguments))
        return torch.nn.Linear(2, 1)

    fake = types.ModuleType("timm")
    fake.create_model = create_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    monkeypatch.setattr(modeling_timm_wrapper, "timm", fake, raising=False)
    monkeypatch.setitem(import_utils.BACKENDS_MAPPING, "timm", (lambda: True, ""))
    monkeypatch.setitem(import_utils.BACKENDS_MAPPING, "vision", (lambda: True, ""))
    return asked


def test_timm_gets_no_weights(timm: list[tuple[str, dict[str, Any]]], lures: Path) -> None:
    """A checkpoint that is there and one that is not give the same answer, which is that of the model without them."""
    for arguments in (
        {"checkpoint_path": str(lures / "weights.bin")},
        {"checkpoint_path": str(lures / "missing.bin")},
        {"pretrained": True, "pretrained_cfg": {"file": str(lures / "weights.bin")}},
        {"cache_dir": str(lures), "pretrained_cfg_overlay": {"hf_hub_id": "lab/lure"}},
    ):
        with noted() as events:
            built = build({**TIMM, "model_args": {**arguments, "img_size": [64, 64], "act_layer": "gelu"}})
        assert parameters(built) == 3
        name, given = timm.pop()
        assert events == []
        assert name == "resnet18"
        assert set(given) - {"num_classes"} == {"pretrained", "img_size", "act_layer"}
        assert given["pretrained"] is False


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        *(
            ({"architecture": name}, "architecture = ")
            for name in ("hf-hub:lab/lure", "hf_hub:lab/lure", "HF-HUB:a/b")
        ),
        *(
            ({"architecture": name}, "architecture = ")
            for name in ("local-dir:/etc", "/etc/passwd", "../x", "a/b", "~")
        ),
        ({"architecture": "https://127.0.0.1:9/x"}, "architecture = "),
        ({"model_args": {"no_such_argument": 1}}, "model_args.no_such_argument is no argument"),
        ({"model_args": {"origin": "/etc/passwd"}}, "model_args.origin is no argument"),
        ({"model_args": {"scriptable": True}}, "model_args.scriptable is no argument"),
        ({"model_args": {"global_pool": "/etc/passwd"}}, "model_args.global_pool"),
        ({"model_args": {"img_size": {"file": "/etc/passwd"}}}, "model_args.img_size"),
        ({"model_args": {"norm_layer": ["hf-hub:a/b"]}}, "model_args.norm_layer"),
        ({"inner": [{"architecture": "hf-hub:lab/lure"}]}, "inner[0].architecture"),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_what_timm_may_not_be_asked(
    changes: dict[str, Any], part: str, timm: list[tuple[str, dict[str, Any]]], lures: Path
) -> None:
    with noted() as events:
        text = refusal({**TIMM, **changes})
    assert part in text
    assert (events, timm) == ([], [])


DETECTORS = ("detr", "conditional_detr", "deformable_detr", "mask2former", "rt_detr", "dpt", "upernet", "vitpose")


@pytest.mark.parametrize("name", ["microsoft/resnet-50", "hf-hub:timm/resnet50", "local-dir:/etc", "/etc", "./x"])
def test_a_backbone_elsewhere_is_refused(name: str) -> None:
    for model_type, own in itertools.product(DETECTORS, (True, False)):
        with noted() as events:
            text = refusal({"model_type": model_type, "backbone": name, "use_timm_backbone": own})
        assert "is a model elsewhere" in text
        assert "backbone_config" in text
        assert events == []


@pytest.mark.parametrize("model_type", DETECTORS)
def test_a_plain_backbone_is_one_of_timm(model_type: str) -> None:
    """Transformers asks the Hub first whether there is a repository of that name; nobody asks here."""
    with noted() as events:
        try:
            build({"model_type": model_type, "backbone": "resnet50", "use_timm_backbone": True})
        except BadInput as error:
            text = assert_one_line(error)
            assert "timm" in text.lower() or "names no architecture" in text
    assert [each for each in events if "import timm" not in each] == []


# Parts that are no config --------------------------------------------------------------------------------

NO_CONFIG = ["x", "", 5, 1.5, True, False, [1], [], [{}]]


@pytest.mark.parametrize("value", NO_CONFIG, ids=ascii)
def test_a_part_that_is_no_config(value: object) -> None:
    for base, name in itertools.product(("llama", "llava"), ("text_config", "decoder", "generator", "text_encoder")):
        config = {**BASES[base], name: value}
        text = refusal(config)
        assert text.startswith(f"lab/model: {name} must be ")
        with pytest.raises(HfcountError) as caught:
            fast(config)
        assert isinstance(caught.value, BadInput)
        assert str(caught.value) == text


def fast(config: dict[str, Any]) -> int:
    try:
        return fast_count(Source(model="lab/model", kind="folder", location="", config=config)).sizes.total
    except NotCovered:
        return parameters(build(config))


@pytest.mark.parametrize(
    "changes",
    [{"text_config": None}, {"decoder": None}, {"text_config": {}}, {"generator": {"hidden_size": 8}}],
    ids=ascii,
)
def test_a_part_that_the_class_does_not_have(changes: dict[str, Any], counts: dict[str, int]) -> None:
    """Null is as good as absent; a mapping that the class does not know is counted past, or refused in a line."""
    try:
        assert parameters(build({**BASES["llama"], **changes})) == counts["llama"]
    except BadInput as error:
        assert_one_line(error)
        assert list(changes.values()) != [None]


def test_a_config_that_is_nested_too_deep() -> None:
    deep: Any = {}
    for _ in range(MAX_DEPTH + 1):
        deep = {"a": [deep]}
    assert "nested more than 64 deep" in refusal({**BASES["llama"], "deep": deep})


def test_the_fields_are_a_copy_and_the_rest_stays() -> None:
    config = {"rope": {"a": [1]}, "class_weight": 1.0, "weights": [1, 2], "label2id": {"file": 0}, "backbone": None}
    found = model_fields(config, where="lab/model")
    assert found == config
    found["rope"]["a"].append(2)
    assert config["rope"] == {"a": [1]}
