"""What is refused, in which words, and what is answered where PEFT itself has no answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import transformers
from transformers import PreTrainedModel

from hfcount.configs import load_config
from hfcount.errors import BadInput
from hfcount.lora import LoraCount, LoraOptions, count_lora
from hfcount.skeleton import build_empty, build_skeleton
from hfcount.sources import resolve

GPT2_NAMES = "names that match: c_attn, c_fc, c_proj, lm_head"


def card(name: str) -> Callable[[], PreTrainedModel]:
    return lambda: build_skeleton(load_config(resolve(f"card:{name}"))).model


def made(class_name: str, **fields: Any) -> Callable[[], PreTrainedModel]:
    model_class = getattr(transformers, class_name)
    return lambda: build_empty(model_class, model_class.config_class(**fields), where=class_name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"r": 0}, "LoRA r = 0: a rank is a positive integer, 1 or more"),
        ({"r": -8}, "LoRA r = -8: a rank is a positive integer, 1 or more"),
        ({"r": 2.5}, "LoRA r = 2.5: a rank is a positive integer"),
        ({"r": True}, "LoRA r = True: a rank is a positive integer"),
        ({"r": 10**9}, "LoRA r = 1,000,000,000 is absurd; hfcount counts ranks up to 1,000,000"),
        ({"r": 8, "targets": ""}, "LoRA targets: none given; name modules, or take default"),
        ({"r": 8, "targets": 7}, "LoRA targets = 7: names of modules are wanted"),
        ({"r": 8, "targets": ("c_attn", 3)}, "LoRA targets: 3 is no name of a module"),
        ({"r": 8, "modules_to_save": "wte"}, "LoRA modules_to_save = 'wte': names of modules are wanted"),
        ({"r": 8, "bias": "some"}, "LoRA bias = 'some': one of none, all, lora_only"),
        ({"r": 8, "rank_pattern": {"c_attn": 0}}, "LoRA rank_pattern['c_attn'] = 0: a rank is"),
        ({"r": 8, "rank_pattern": {"c_(": 2}}, "LoRA rank_pattern: 'c_(' is no regular expression ("),
        ({"r": 8, "rank_pattern": "c_attn"}, "LoRA rank_pattern = 'c_attn': maps names"),
    ],
)
def test_options_name_the_offending_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        LoraOptions(**fields)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


NOTHING = [
    ({"targets": "q_proj"}, f" targets q_proj: no module has such a name; {GPT2_NAMES}"),
    ({"targets": "c_attn,q_proj"}, f" targets q_proj: no module has such a name; {GPT2_NAMES}"),
    (
        {"targets": "attn"},
        f" targets: transformer.h.0.attn is a GPT2Attention, which LoRA does not adapt; {GPT2_NAMES}",
    ),
    ({"targets": "ln_f"}, f" targets: transformer.ln_f is a LayerNorm, which LoRA does not adapt; {GPT2_NAMES}"),
    ({"modules_to_save": ("score",)}, f" modules_to_save: no module is called 'score'; {GPT2_NAMES}"),
    ({"target_parameters": ("w1",)}, " target_parameters: no parameter is called 'w1'; fused ones: none"),
    ({"rank_pattern": {"c_fc": 4}}, " rank_pattern: 'c_fc' fits no module with an adapter"),
]


@pytest.mark.parametrize(("fields", "message"), NOTHING)
def test_what_matches_nothing_in_gpt2(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        count_lora(card("gpt2"), [LoraOptions(r=8, **fields)])
    assert str(caught.value) == f"LoRA{message}"


def test_half_of_a_fused_pair_is_refused_in_pefts_words() -> None:
    build = made("MixtralForCausalLM", num_hidden_layers=1)
    with pytest.raises(BadInput, match="without also targeting w3 because they are fused"):
        count_lora(build, [LoraOptions(r=8, targets="w1,w2")])


def test_a_group_that_a_model_does_not_have() -> None:
    with pytest.raises(BadInput, match="LoRA targets mlp: this model has no linear layer there; names that match: "):
        count_lora(made("MambaForCausalLM", num_hidden_layers=1), [LoraOptions(r=8, targets="mlp")])


NO_DEFAULT = "PEFT has no default targets for model type {!r}; name them, or take all-linear"
MIXTRAL = "PEFT's default targets for model type 'mixtral' (q_proj, v_proj) attach nothing: no layer fits"
MAMBA = "PEFT refuses all-linear for model type 'mamba': "
NO_FIGURES = {
    "mini-gpt": (card("mini-gpt"), "default", NO_DEFAULT.format("minigpt")),
    "gpt-oss": (card("gpt-oss-20b"), "default", NO_DEFAULT.format("gpt_oss")),
    "mixtral": (card("mistralai/Mixtral-8x7B-v0.1"), "default", MIXTRAL),
    "resnet": (made("ResNetModel"), "all-linear", "PEFT refuses all-linear for model type 'resnet': no layer fits"),
    "mamba": (made("MambaForCausalLM", num_hidden_layers=1), "all-linear", MAMBA),
}


@pytest.mark.parametrize(("build", "targets", "words"), NO_FIGURES.values(), ids=NO_FIGURES)
def test_no_figures_but_a_reason_where_peft_has_no_targets(
    build: Callable[[], PreTrainedModel], targets: str, words: str
) -> None:
    (result,) = count_lora(build, [LoraOptions(r=8, targets=targets)])
    assert result.reason.startswith(words)
    assert result == LoraCount(r=8, targets=(), reason=result.reason)


def test_mini_gpt_all_linear() -> None:
    """Two layers of d = 64: q, k, v, o of 64 x 64 and an MLP of 64 x 256 and back; the head is tied and left out."""
    config = load_config(resolve("card:mini-gpt")).config
    d, f, L = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    (result,) = count_lora(card("mini-gpt"), [LoraOptions(r=4, targets="all-linear")])
    assert result.trainable == L * 4 * (4 * (d + d) + 2 * (d + f))
    assert result.matches


def test_targets_may_be_one_string() -> None:
    assert LoraOptions(r=8, targets=" q_proj, v_proj,q_proj ").targets == ("q_proj", "v_proj")
    assert LoraOptions(r=8, targets="All-Linear").targets == "all-linear"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)


def test_import_is_light() -> None:
    done = run("import sys, hfcount.lora; print({'torch', 'peft', 'transformers', 'pandas'} & set(sys.modules))")
    assert done.stdout.strip() == "set()"


def test_peft_is_imported_in_silence_and_loggers_stay_as_they_were() -> None:
    done = run(
        "import logging, warnings\n"
        "from hfcount.quiet import quiet_bitsandbytes\n"
        "with quiet_bitsandbytes():\n    import peft\n"
        "print(logging.getLogger('bitsandbytes').level)\n"
        "logging.getLogger('bitsandbytes').warning('heard')"
    )
    assert done.stdout.strip() == "0"
    assert done.stderr.strip() == "heard"
