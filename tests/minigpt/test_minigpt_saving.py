"""Mini-GPT saved and loaded: here, and by those who have no hfcount."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from minigpt_models import VARIANTS, distinct_parameters, small, tokens
from safetensors import safe_open
from transformers import AutoModel, AutoModelForCausalLM

from hfcount.minigpt import MiniGPTConfig, MiniGPTForCausalLM, MiniGPTModel

EXPORT = Path(__file__).parents[2] / "scripts" / "export_minigpt.py"


def ties_hold(model: Any) -> bool:
    return model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_a_round_trip_changes_nothing(variant: dict[str, Any], tmp_path: Path) -> None:
    model, ids = small(**variant), tokens(2, 9)
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        stored = set(file.keys())
        written = sum(file.get_tensor(name).numel() for name in stored)
    assert written == distinct_parameters(model), "the file holds the parameters, each once, and no table of buffers"
    assert ("lm_head.weight" in stored) != model.config.tie_word_embeddings

    options: Any = {"output_loading_info": True, "attn_implementation": "eager"}
    both: Any = AutoModelForCausalLM.from_pretrained(tmp_path, **options)
    loaded, report = both
    assert type(loaded) is MiniGPTForCausalLM
    assert not any(report.values()), report
    assert ties_hold(loaded) == model.config.tie_word_embeddings
    assert {k: v for k, v in loaded.config.to_dict().items() if k in variant} == variant
    assert torch.equal(loaded(ids).logits, model(ids).logits)

    body = AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    assert type(body) is MiniGPTModel
    assert torch.equal(body(ids).last_hidden_state, model.model(ids).last_hidden_state)


def test_a_larger_vocabulary_stays_tied() -> None:
    model = small()
    model.resize_token_embeddings(50)
    assert ties_hold(model)
    assert model(torch.tensor([[49]])).logits.shape == (1, 1, 50)


def test_fresh_weights_are_drawn_as_in_gpt2() -> None:
    """Deviation 0.02; 0.02 / sqrt(2L) where a layer adds to the residual stream (Radford et al. 2019, section 2.3)."""
    torch.manual_seed(0)
    for gated, last in ((False, "fc2"), (True, "down_proj")):
        fields: dict[str, Any] = {"hidden_size": 128, "num_hidden_layers": 8, "gated_mlp": gated, "mlp_bias": True}
        model = MiniGPTForCausalLM(MiniGPTConfig(position_embedding="learned", norm="layernorm", **fields))
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                value = float("norm" in name and name.endswith("weight"))
                assert (parameter == value).all(), name
                continue
            expected = 0.02 / 4 if f"{last}." in name or "o_proj." in name else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), name


def run_python(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with a Hugging Face home of its own and no network."""
    own = {"HF_HOME": str(home), "HF_MODULES_CACHE": str(home / "modules"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False, cwd=home)


LOAD = """
import sys
sys.modules["hfcount"] = None  # from here on `import hfcount` fails
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
folder, ids, answer = sys.argv[1:]
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
body = AutoModel.from_pretrained(folder, trust_remote_code=True)
assert type(model).__module__.startswith("transformers_modules."), type(model).__module__
assert (type(config).__name__, type(body).__name__) == ("MiniGPTConfig", "MiniGPTModel")
assert model.lm_head.weight is model.model.embed_tokens.weight
with torch.no_grad():
    torch.save(model(torch.load(ids)).logits, answer)
"""


def test_an_exported_folder_loads_where_there_is_no_hfcount(tmp_path: Path) -> None:
    folder, card = tmp_path / "exported", tmp_path / "config.json"
    card.write_text(json.dumps({"model_type": "minigpt", "hidden_size": 32, "position_embedding": "sinusoidal"}))
    exported = run_python(str(EXPORT), str(folder), "--config", str(card), "--seed", "5", home=tmp_path)
    assert exported.returncode == 0, exported.stderr[-2000:]
    assert exported.stdout.strip().endswith("41,120 parameters")
    files = {path.name for path in folder.iterdir()}
    code = {"configuration_minigpt.py", "modeling_minigpt.py", "positions_minigpt.py"}
    assert {*code, "config.json", "model.safetensors"} <= files
    assert json.loads((folder / "config.json").read_text())["auto_map"] == {
        "AutoConfig": "configuration_minigpt.MiniGPTConfig",
        "AutoModel": "modeling_minigpt.MiniGPTModel",
        "AutoModelForCausalLM": "modeling_minigpt.MiniGPTForCausalLM",
    }

    ids = tokens(2, 9, vocabulary=512)
    torch.save(ids, tmp_path / "ids.pt")
    loaded = run_python("-c", LOAD, str(folder), str(tmp_path / "ids.pt"), str(tmp_path / "logits.pt"), home=tmp_path)
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    with torch.no_grad():
        ours = MiniGPTForCausalLM.from_pretrained(folder)(ids).logits
    assert torch.equal(torch.load(tmp_path / "logits.pt"), ours)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "not an empty folder"),
        ("nowhere", "no such file or folder"),
        ({"model_type": "gpt2"}, "model_type is 'gpt2', not 'minigpt'"),
        ({"model_type": "minigpt", "norm": "none"}, "norm = 'none': one of layernorm"),
    ],
)
def test_the_export_refuses_in_a_line(config: Any, words: str, tmp_path: Path, capsys: Any) -> None:
    sys.path.insert(0, str(EXPORT.parent))
    try:
        from export_minigpt import main
    finally:
        sys.path.remove(str(EXPORT.parent))
    given = tmp_path / "config.json"
    if isinstance(config, dict):
        given.write_text(json.dumps(config))
    elif config is None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "kept.txt").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "out"), *([] if config is None else ["--config", str(given)])])
    assert ended.value.code == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out" / "config.json").exists()
