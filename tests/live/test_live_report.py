"""report(model) of modules in memory, held against torch's lists, PEFT's count and bitsandbytes' own tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForSequenceClassification,
    BitsAndBytesConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import hfcount
from hfcount.errors import BadInput
from hfcount.inventory import inventory


def llama(**fields: Any) -> LlamaForCausalLM:
    sizes = {
        "vocab_size": 320, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**sizes, **fields}))


MODELS = {
    "llama, tied": llama,
    "llama, untied": lambda: llama(tie_word_embeddings=False),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4, n_positions=64)),
    "bert": lambda: BertForSequenceClassification(
        BertConfig(
            vocab_size=320, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=320, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    ),
    "mixtral": lambda: MixtralForCausalLM(
        MixtralConfig(
            vocab_size=320, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, num_local_experts=4,
        )
    ),
}  # fmt: skip


def distinct_bytes(tensors: Any) -> int:
    """What torch's own tensors take, each object once."""
    return sum(each.element_size() * each.numel() for each in {id(each): each for each in tensors}.values())


@pytest.mark.parametrize("name", MODELS)
def test_a_transformers_model_is_what_torch_lists(name: str) -> None:
    model = MODELS[name]()
    found = hfcount.report(model)
    assert found.parameters == model.num_parameters()
    assert found.trainable == model.num_parameters(only_trainable=True)
    assert found.bytes == distinct_bytes(model.parameters())
    assert found.buffers == sum(each.numel() for each in model.buffers())
    assert found.bytes + found.buffer_bytes == model.get_memory_footprint()


@pytest.mark.parametrize("name", MODELS)
def test_components_are_those_of_every_count(name: str) -> None:
    model = MODELS[name]()
    counted = inventory(model).groupby("component")["numel"].sum().to_dict()
    assert hfcount.report(model).by("component")["parameters"].to_dict() == counted


PEFT_CONFIGS = {
    "lora": (llama, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")),
    "lora and a copied head": (
        lambda: llama(tie_word_embeddings=False),
        LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM"),
    ),
    "lora on the embedding": (llama, LoraConfig(r=4, target_modules=["embed_tokens", "v_proj"])),
    "dora": (llama, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], use_dora=True)),
    "biases": (
        lambda: GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=64, n_layer=2, n_head=4)),
        LoraConfig(r=2, target_modules=["c_attn"], bias="all", fan_in_fan_out=True),
    ),
    "ia3": (llama, IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "experts": (
        MODELS["mixtral"],
        LoraConfig(r=2, target_modules=["q_proj"], target_parameters=["mlp.experts.gate_up_proj"]),
    ),
    "prompt": (llama, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=7)),
    "classifier": (MODELS["bert"], LoraConfig(r=2, target_modules=["query"], task_type="SEQ_CLS")),
}  # fmt: skip


@pytest.mark.parametrize("name", PEFT_CONFIGS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_in_peft_is_what_peft_says(name: str) -> None:
    build, config = PEFT_CONFIGS[name]
    before = hfcount.report(build()).by("component")["parameters"]
    wrapped = get_peft_model(build(), config)
    found = hfcount.report(wrapped)
    assert (found.trainable, found.parameters) == wrapped.get_nb_trainable_parameters()
    after = found.by("component")["parameters"]
    assert after.drop("adapter").to_dict() == before.to_dict(), "what PEFT wrapped is no longer in its component"
    assert found.adapters == found.parameters - int(before.sum())


def test_adapters_that_transformers_itself_adds() -> None:
    model = llama()
    total = model.num_parameters()
    model.add_adapter(LoraConfig(r=4, target_modules=["q_proj"]))
    found = hfcount.report(model)
    # Two layers, q_proj of 64 x 64 at rank 4: 2·4·(64 + 64)
    assert (found.adapters, found.trainable) == (1024, 1024)
    assert found.parameters == total + 1024


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    llama(tie_word_embeddings=False).save_pretrained(folder)
    return folder


def stored_by_bitsandbytes(model: nn.Module) -> int:
    """The bytes of bitsandbytes' own state dict; its packed settings, JSON in a tensor, are no state in memory."""
    state = model.state_dict()
    whole = sum(each.nbytes for name, each in state.items() if "quant_state.bitsandbytes" not in name)
    offsets = sum(".nested_absmax" in name for name in state)  # fp32 each, which the file has among the settings
    formats = sum(each.nbytes for name, each in state.items() if name.endswith("weight_format"))
    return whole + 4 * offsets - formats


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [False, True])
def test_four_bit_layers_count_by_their_shape_and_weigh_what_is_stored(saved: Path, kind: str, double: bool) -> None:
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=double)
    model = AutoModelForCausalLM.from_pretrained(saved, quantization_config=settings, dtype=torch.float32)
    found = hfcount.report(model)
    plain = llama(tie_word_embeddings=False)
    assert found.parameters == plain.num_parameters()
    kinds = found.by("dtype")["parameters"].to_dict()
    # Two layers of q and o (64 x 64), k and v (64 x 32), gate, up and down (64 x 160)
    assert kinds[kind] == 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160)
    assert found.bytes == stored_by_bitsandbytes(model)
    assert (
        found.by("component")["parameters"].to_dict() == hfcount.report(plain).by("component")["parameters"].to_dict()
    )

    wrapped = get_peft_model(prepare_model_for_kbit_training(model), LoraConfig(r=4, target_modules="all-linear"))
    trained = hfcount.report(wrapped)
    assert (trained.trainable, trained.parameters) == wrapped.get_nb_trainable_parameters()


def test_eight_bit_layers_with_their_scales(saved: Path) -> None:
    settings = BitsAndBytesConfig(load_in_8bit=True)
    model = AutoModelForCausalLM.from_pretrained(saved, quantization_config=settings, dtype=torch.float16)
    found = hfcount.report(model)
    assert found.parameters == llama(tie_word_embeddings=False).num_parameters()
    weights = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160)
    assert found.by("dtype")["parameters"]["int8"] == weights
    # A byte a weight and an fp32 scale for each output: q, o 64; k, v 32; gate, up 160; down 64.
    assert found.by("dtype")["bytes"]["int8"] == weights + 4 * 2 * (64 + 64 + 32 + 32 + 160 + 160 + 64)
    model(torch.tensor([[1, 2, 3]]))  # the scales go to the layers' state
    assert hfcount.report(model).bytes == found.bytes


def test_a_layer_that_is_yet_to_be_quantized_says_so() -> None:
    import bitsandbytes

    found = hfcount.report(bitsandbytes.nn.Linear4bit(64, 64, bias=False, quant_type="nf4"))
    assert (found.parameters, found.bytes) == (4096, 4 * 4096)
    assert "1 weights will be quantized to nf4" in found.notes[0]


def test_the_meta_device_is_counted_and_told() -> None:
    with torch.device("meta"):
        model = llama(dtype="float32")
    found, real = hfcount.report(model), hfcount.report(llama())
    assert found.parameters == real.parameters
    assert found.bytes == real.bytes
    assert "on the meta device" in found.notes[0]
    assert found.devices[0] == "meta"


def test_a_packed_matrix_on_the_meta_device_has_the_shape_of_its_layer() -> None:
    import bitsandbytes

    with torch.device("meta"):
        layer = bitsandbytes.nn.Linear4bit(48, 64, bias=False)
        layer.weight = bitsandbytes.nn.Params4bit(torch.empty(48 * 64 // 2, 1, dtype=torch.uint8), requires_grad=False)
    assert hfcount.report(layer).parameters == 48 * 64


class Foreign(nn.Module):
    """Nothing of transformers: a tied pair, a recurrent net, a convolution, buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.rnn = nn.LSTM(16, 16)
        self.conv = nn.Sequential(nn.Conv1d(16, 8, 3), nn.BatchNorm1d(8))
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.conv
        self.free = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16), requires_grad=False)
        self.register_buffer("mask", torch.zeros(5, 5, dtype=torch.bool), persistent=False)
        self.register_buffer("none", None)


def test_any_module_is_what_torch_lists() -> None:
    model = Foreign()
    found = hfcount.report(model)
    assert found.parameters == sum(each.numel() for each in model.parameters())
    assert found.trainable == sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert found.bytes == distinct_bytes(model.parameters())
    assert found.buffers == sum(each.numel() for each in model.buffers())
    assert found.table.set_index("name")["aliases"]["embed.weight"] == ("head.weight",)
    assert found.buffer_table.set_index("name")["persistent"].to_dict()["mask"] is False
    assert found.by("module_class")["parameters"].to_dict() == {
        "Foreign": 3, "Embedding": 800, "LSTM": 4 * 16 * (16 + 16) + 8 * 16, "Conv1d": 392, "BatchNorm1d": 16,
    }  # fmt: skip
    assert "no transformers model in it" in found.notes[0]
    assert "Class" in str(found)


def test_tensors_that_share_their_numbers_count_once() -> None:
    """Not one Parameter but two on one storage, as `PEFT` ties an adapter, and `a.data = b.data` does."""
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = nn.Parameter(model[0].weight.data.T)
    assert hfcount.report(model).parameters == 64


def test_a_model_inside_another_module_keeps_its_components() -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = llama()
            self.value_head = nn.Linear(64, 1)

    inner = hfcount.report(llama()).by("component")["parameters"].to_dict()
    assert hfcount.report(Wrapper()).by("component")["parameters"].to_dict() == {**inner, "other": 65}
    assert hfcount.report(torch.compile(llama())).by("component")["parameters"].to_dict() == inner


def test_wrapped_lazy_and_taken_away_tensors() -> None:
    from torch.testing._internal.two_tensor import TwoTensor

    model = nn.Linear(8, 4, bias=False)
    model.weight = nn.Parameter(TwoTensor(torch.zeros(4, 8), torch.zeros(4, 8)))
    found = hfcount.report(model)
    assert (found.parameters, found.bytes) == (32, 2 * 32 * 4)  # two plain tensors hold it

    lazy = hfcount.report(nn.LazyLinear(3))
    assert lazy.parameters == 0
    assert "2 lazy parameters" in lazy.notes[0]

    sharded = nn.Linear(8, 4, bias=False)
    sharded.weight = nn.Parameter(torch.empty(0))
    sharded.weight.ds_shape = torch.Size([4, 8])  # type: ignore[attr-defined]
    assert hfcount.report(sharded).parameters == 32
    assert hfcount.report(nn.Module()).parameters == 0


def test_gradients_and_the_report_of_itself() -> None:
    model = llama()
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    found = hfcount.report(model)
    assert found.gradient_bytes == distinct_bytes(each.grad for each in model.parameters())
    said = found.to_dict()
    assert said["total_bytes"] == found.bytes + found.buffer_bytes + found.gradient_bytes
    assert sum(said["by_component"].values()) == said["parameters"]
    assert f"{found.parameters:,}" in str(found)
    assert f"{found.parameters:,}" in found._repr_html_()


def test_what_is_no_module_is_refused_in_a_line() -> None:
    with pytest.raises(BadInput, match=r"report\(str\): takes a live torch.nn.Module; for a name .* hfcount.count"):
        hfcount.report("gpt2")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"by\('colour'\): one of component, module_class, dtype, device, module"):
        hfcount.report(nn.Linear(1, 1)).by("colour")
