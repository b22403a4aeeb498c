"""Configs that describe no model: each ends in one line that names what is wrong; none is built, none hangs."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bad_configs import assert_one_line, build, card_config, parameters, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfcount.configs import load_config
from hfcount.errors import BadInput, HfcountError, UnknownModelType
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve

GPT2 = 124_439_808

SIZES = {
    "gpt2": ("n_layer", "n_head", "n_embd", "vocab_size", "n_positions"),
    "llama-7b": ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size", "intermediate_size"),
    "bert-base": ("num_hidden_layers", "num_attention_heads", "hidden_size", "vocab_size", "intermediate_size"),
    "google-t5/t5-base": ("num_layers", "num_heads", "d_model", "d_kv", "d_ff", "vocab_size"),
    "google/vit-base-patch16-224": ("num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
}


MAY_BE_ZERO = {"n_layer", "num_hidden_layers", "num_layers", "intermediate_size", "d_ff"}


@pytest.mark.parametrize("value", [None, -1, 0, 1.5, "64", True, 10**12, [3], {}], ids=ascii)
@pytest.mark.parametrize(("card", "field"), [(card, field) for card, fields in SIZES.items() for field in fields])
def test_a_size_that_is_none(card: str, field: str, value: object) -> None:
    if value == 0 and type(value) is int and field in MAY_BE_ZERO:
        assert parameters(build({**card_config(card), field: value})) > 0
        return
    text = refusal({**card_config(card), field: value})
    assert text.startswith("lab/model: ")
    assert field in text


NESTED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")


@pytest.mark.parametrize("value", [None, -1, 1.5, "64", 10**12], ids=ascii)
@pytest.mark.parametrize("field", NESTED)
@pytest.mark.parametrize("part", ["text_config", "vision_config"])
def test_a_nested_size_that_is_none(part: str, field: str, value: object) -> None:
    config = card_config("google/gemma-3-4b-pt")
    config[part] = {**config[part], field: value}
    assert field in refusal(config)


@pytest.mark.parametrize(
    ("card", "field"),
    [
        ("gpt2", "n_layer"),
        ("gpt2", "num_hidden_layers"),
        ("llama-7b", "num_hidden_layers"),
        ("bert-base", "num_hidden_layers"),
        ("google-t5/t5-base", "num_layers"),
        ("google-t5/t5-base", "num_decoder_layers"),
        ("facebook/bart-base", "encoder_layers"),
        ("facebook/bart-base", "decoder_layers"),
        ("mistralai/Mixtral-8x7B-v0.1", "num_local_experts"),
        ("deepseek-ai/DeepSeek-V3", "n_routed_experts"),
        ("deepseek-ai/DeepSeek-V3", "num_hidden_layers"),
        ("openai/gpt-oss-20b", "num_local_experts"),
    ],
)
def test_a_thousand_million_layers_or_experts_are_not_built(card: str, field: str) -> None:
    assert f"{field} = 1,000,000,000 is absurd" in refusal({**card_config(card), field: 10**9})


@pytest.mark.parametrize(
    ("card", "changes", "parts"),
    [
        ("gpt2", {"n_head": 7}, ("768", "7")),
        ("llama-7b", {"num_attention_heads": 7}, ("4096", "7")),
        ("llama-7b", {"num_key_value_heads": 5}, ("32", "5 key-value heads")),
        ("llama-7b", {"num_key_value_heads": 64}, ("32", "64 key-value heads")),
        ("bert-base", {"num_attention_heads": 7}, ("768", "7")),
        ("google/vit-base-patch16-224", {"num_attention_heads": 7}, ("768", "7")),
        ("facebook/bart-base", {"encoder_attention_heads": 7}, ("768", "7")),
        ("facebook/bart-base", {"decoder_attention_heads": 7}, ("768", "7")),
        ("google/gemma-3-4b-pt", {"text_config": {"num_key_value_heads": 3}}, ("8", "3 key-value heads")),
        ("google/gemma-3-4b-pt", {"vision_config": {"num_attention_heads": 7}}, ("1152", "7")),
    ],
)
def test_heads_that_do_not_divide(card: str, changes: Mapping[str, Any], parts: tuple[str, ...]) -> None:
    config = card_config(card)
    for field, value in changes.items():
        config[field] = {**config[field], **value} if isinstance(value, dict) else value
    text = refusal(config)
    for part in parts:
        assert part in text


def test_heads_with_a_size_of_their_own_need_not_divide() -> None:
    """T5's attention is num_heads·d_kv wide whatever d_model is: 5 heads of 64 fewer in 36 blocks of 4 matrices."""
    config = card_config("google-t5/t5-base")
    built = parameters(build({**config, "num_heads": 7}))
    blocks, tables = 12 + 2 * 12, 2 * 32
    assert parameters(build(config)) - built == 5 * (blocks * 4 * 64 * 768 + tables)


@pytest.mark.parametrize(
    "name",
    ["Trainer", "os", "NoSuchModel", "GPT2Tokenizer", "GPT2Config", "AutoModel", "PreTrainedModel", "pipeline", "",
     "GPT2PreTrainedModel", "__class__", "models", "GPT2LMHeadModel ", "a\nb", "\ud800"],
    ids=ascii,
)  # fmt: skip
def test_an_architecture_that_is_no_model_class(name: str) -> None:
    text = refusal({**card_config("gpt2"), "architectures": [name]})
    assert "is no model class of transformers" in text
    assert "near names: " in text or "--class NAME" in text


def test_a_misspelt_architecture_gets_the_near_names() -> None:
    for name in ("gpt2lmheadmodel", "GPT2LMHeadModle", "TFGPT2LMHeadModel"):
        assert "GPT2LMHeadModel" in refusal({**card_config("gpt2"), "architectures": [name]}).split("near names:")[1]


def test_looking_an_architecture_up_imports_no_trainer() -> None:
    """A name in a config must not decide what is imported: `transformers.Trainer` alone would load bitsandbytes."""
    code = (
        "import sys; from hfcount.classes import model_class_named\n"
        "assert model_class_named('Trainer') is None and model_class_named('GPT2LMHeadModel') is not None\n"
        "assert 'transformers.trainer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_architecture_of_another_type() -> None:
    text = refusal({**card_config("gpt2"), "architectures": ["LlamaForCausalLM"]})
    assert "LlamaForCausalLM" in text
    assert "GPT2Config" in text


@pytest.mark.parametrize("value", [5, [5], [None], {}, {"a": 1}, True, 1.5, [["GPT2LMHeadModel"]]], ids=ascii)
def test_architectures_that_are_no_names(value: object) -> None:
    assert "a list of class names was expected" in refusal({**card_config("gpt2"), "architectures": value})


@pytest.mark.parametrize("value", [None, [], "GPT2LMHeadModel"], ids=ascii)
def test_architectures_that_are_left_open_or_one_name(value: object) -> None:
    built = build({**card_config("gpt2"), "architectures": value})
    assert type(built.model).__name__ == "GPT2LMHeadModel"
    assert parameters(built) == GPT2


def test_further_architectures_are_told() -> None:
    built = build({**card_config("gpt2"), "architectures": ["GPT2LMHeadModel", "GPT2Model", "a\nb"]})
    (note,) = [note for note in built.notes if "also names" in note]
    assert "GPT2Model" in note
    assert note.isprintable()


@pytest.mark.parametrize("value", [5, ["gpt2"], {}, False, 1.5], ids=ascii)
def test_a_model_type_that_is_no_name(value: object) -> None:
    assert "model_type = " in refusal({**card_config("gpt2"), "model_type": value})


@pytest.mark.parametrize(
    ("value", "near"), [("gtp2", "gpt2"), ("lama", "llama"), ("GPT2", "gpt2"), ("no-such-type-at-all", None)]
)
def test_an_unknown_model_type(value: str, near: str | None) -> None:
    with pytest.raises(UnknownModelType) as caught:
        build({**card_config("gpt2"), "model_type": value})
    text = assert_one_line(caught.value)
    assert repr(value) in text
    assert "newer transformers" in text
    assert near is None or f"near names: {near}" in text


def test_without_a_model_type_the_architecture_decides() -> None:
    config = card_config("gpt2")
    del config["model_type"]
    assert parameters(build(config)) == GPT2
    assert parameters(build({**config, "model_type": None})) == GPT2


@pytest.mark.parametrize("config", [{}, {"vocab_size": 5}, {"architectures": ["NoSuchModel"]}], ids=ascii)
def test_a_config_that_names_nothing(config: dict[str, Any]) -> None:
    assert "neither a model_type nor an architecture" in refusal(config)


@pytest.mark.parametrize(
    ("card", "changes", "part"),
    [
        ("gpt2", {"activation_function": "no-such-function"}, "'no-such-function'"),
        ("llama-7b", {"hidden_act": None}, "hidden_act must be str, not null"),
        ("gpt2", {"torch_dtype": "no-such-dtype"}, "no-such-dtype"),
        ("gpt2", {"tie_word_embeddings": "x"}, "tie_word_embeddings must be bool"),
        ("llama-7b", {"rope_scaling": "x"}, "rope_parameters"),
        ("llama-7b", {"pad_token_id": 10**9}, "adding_idx"),
        ("facebook/bart-base", {"encoder_layers": None}, "null: encoder_layers"),
        ("llama-7b", {"rope_theta": [1]}, "a field of config.json has a value of the wrong kind"),
        ("google/gemma-3-4b-pt", {"text_config": 5}, "text_config must be"),
        ("google/gemma-3-4b-pt", {"text_config": [1]}, "text_config must be"),
        ("gpt2", {"id2label": 5}, "items"),
        ("gpt2", {"num_labels": 10**9}, "num_labels"),
        ("gpt2", {"to_dict": 5}, "GPT2Config"),
        ("gpt2", {"self": 5}, "GPT2Config"),
    ],
)
def test_other_fields(card: str, changes: dict[str, Any], part: str) -> None:
    assert part in refusal({**card_config(card), **changes})


# A repository's own code --------------------------------------------------------------------------------

OWN_CONFIGURATION = """
from pathlib import Path
from transformers import LlamaConfig
Path(MARKER).touch()
class OwnConfig(LlamaConfig):
    model_type = "own"
"""
OWN_MODELING = """
from pathlib import Path
from transformers import LlamaForCausalLM
from .configuration_own import OwnConfig
Path(MARKER).touch()
class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose model is its own code; importing any of it leaves the file `imported` beside the folder."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "own"
    folder.mkdir()
    marker = repr(str(tmp_path / "imported"))
    (folder / "configuration_own.py").write_text(OWN_CONFIGURATION.replace("MARKER", marker))
    (folder / "modeling_own.py").write_text(OWN_MODELING.replace("MARKER", marker))
    config = {
        **card_config("llama-7b"),
        "model_type": "own",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("model_type", ["own", "llama", None])
def test_own_code_is_not_even_imported(model_type: str | None, own_code: Path) -> None:
    source = resolve(str(own_code))
    with pytest.raises(UnknownModelType) as caught:
        build_skeleton(load_config(_with_type(source, model_type)))
    text = assert_one_line(caught.value)
    assert "own code" in text
    assert "--trust-remote-code" in text
    assert not (own_code.parent / "imported").exists()


def _with_type(source: Any, model_type: str | None) -> Any:
    import dataclasses

    return dataclasses.replace(source, config={**source.config, "model_type": model_type})


def test_own_code_runs_if_the_user_says_so(own_code: Path) -> None:
    built = build_skeleton(load_config(resolve(str(own_code)), trust_remote_code=True))
    assert type(built.model).__name__ == "OwnForCausalLM"
    assert parameters(built) == 6_738_415_616  # Llama-7B's, published
    assert (own_code.parent / "imported").exists()


def test_trust_does_not_import_what_transformers_itself_has(own_code: Path) -> None:
    config = {**card_config("gpt2"), "auto_map": {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}}
    (own_code / "config.json").write_text(json.dumps(config))
    assert parameters(build_skeleton(load_config(resolve(str(own_code)), trust_remote_code=True))) == GPT2
    assert not (own_code.parent / "imported").exists()


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("raise RuntimeError('two\\nlines')", "two lines"),
        ("import no_such_package", "no_such_package"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "OwnConfig"),
    ],
)
def test_own_code_that_does_not_load(code: str, part: str, own_code: Path) -> None:
    (own_code / "configuration_own.py").write_text(code)
    with pytest.raises(BadInput) as caught:
        load_config(resolve(str(own_code)), trust_remote_code=True)
    text = assert_one_line(caught.value)
    assert "own code cannot be loaded" in text
    assert part in text


@pytest.mark.parametrize(
    "reference", [5, None, [], {}, "", "nothing", "a.b.c", "../../x.Y", "no_such.File"], ids=ascii
)
def test_an_auto_map_that_names_no_file(reference: object, own_code: Path) -> None:
    config = json.loads((own_code / "config.json").read_text())
    config["auto_map"]["AutoConfig"] = reference
    (own_code / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput) as caught:
        load_config(resolve(str(own_code)), trust_remote_code=True)
    assert_one_line(caught.value)


# In a process of its own --------------------------------------------------------------------------------

MEASURED = """
import json, resource, sys
from hfcount.configs import load_config
from hfcount.errors import HfcountError
from hfcount.skeleton import build_skeleton
from hfcount.sources import resolve

build_skeleton(load_config(resolve("card:gpt2")))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
answers = {}
for name in sys.argv[1:]:
    try:
        build_skeleton(load_config(resolve(name)))
        answers[name] = "built"
    except HfcountError as error:
        answers[name] = str(error)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"answers": answers, "growth": (after - before) * 1024}))
"""


def test_what_a_process_takes_for_absurd_configs(tmp_path: Path) -> None:
    gpt2 = card_config("gpt2")
    spoiled = {
        "layers": {**gpt2, "n_layer": 10**9},
        "width": {**gpt2, "n_embd": 12 * 10**8},
        "labels": {**gpt2, "num_labels": 10**9},
        "experts": {**card_config("mistralai/Mixtral-8x7B-v0.1"), "num_local_experts": 10**9},
    }
    for name, config in spoiled.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "config.json").write_bytes(b'{"a": "' + b"x" * 20 * 1024**2 + b'"}')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "config.json").write_bytes(b'{"a":' * 10**6)
    names = [str(tmp_path / name) for name in (*spoiled, "large", "deep")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *names], capture_output=True, text=True, timeout=120, check=True
    )
    answer = json.loads(done.stdout)
    assert "built" not in answer["answers"].values()
    assert len(answer["answers"]) == 6
    assert answer["growth"] < 2 * 1024**3, f"{answer['growth']:,} bytes"
    assert done.stderr == ""


# Spoiled at random --------------------------------------------------------------------------------------

FUZZED = (
    "gpt2", "llama-7b", "bert-base", "google-t5/t5-base", "google/gemma-3-4b-pt", "openai/gpt-oss-20b",
    "mistralai/Mixtral-8x7B-v0.1", "deepseek-ai/DeepSeek-V3", "google/vit-base-patch16-224", "facebook/bart-base",
)  # fmt: skip

SPOIL = {
    "drop": lambda value: ...,
    "null": lambda value: None,
    "negate": lambda value: -value if isinstance(value, (int, float)) else -1,
    "thousandfold": lambda value: value * 1000 if isinstance(value, (int, float)) else 10**3,
    "absurd": lambda value: value * 10**9 if isinstance(value, (int, float)) else 10**12,
    "off-by-one": lambda value: value + 1 if isinstance(value, (int, float)) else 1,
    "text": str,
    "fraction": lambda value: value / 2 if isinstance(value, (int, float)) else 0.5,
    "list": lambda value: [value],
    "object": lambda value: {"a": value},
    "true": lambda value: True,
    "empty": lambda value: "",
}


def _places(config: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all fields, nested ones included."""
    found = []
    for key, value in config.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += _places(value, (*prefix, key))
    return found


@st.composite
def spoiled_configs(draw: st.DrawFn) -> tuple[str, dict[str, Any], list[str]]:
    card = draw(st.sampled_from(FUZZED))
    config = card_config(card)
    done = []
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(config)))
        how = draw(st.sampled_from(sorted(SPOIL)))
        holder = config
        for part in path[:-1]:
            holder = holder[part]
        value = SPOIL[how](copy.deepcopy(holder[path[-1]]))
        if value is ...:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value
        done.append(f"{how} {'.'.join(path)}")
    return card, config, done


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spoiled_configs())
def test_a_spoiled_config_is_built_or_refused_and_nothing_else(case: tuple[str, dict[str, Any], list[str]]) -> None:
    _, config, _ = case
    try:
        built = build(config)
    except HfcountError as error:
        assert_one_line(error)
    else:
        assert 0 < parameters(built) <= 10**15
