"""Weights, master copy, gradients and optimizer state against one real training step of small models on the CPU."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any

import bitsandbytes
import pandas as pd
import peft
import pytest
import torch
import transformers
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from live_training import REAL, Weighed, frame, step, weigh
from tiny_models import auto_class, dtype_name, kept_in_fp32, load, save, skeleton
from transformers.core_model_loading import build_glob_alternation

from hfcount.budget.buckets import (
    TENSORS,
    frozen_tensors,
    full_tensors,
    gradients_bytes,
    loaded_dtypes,
    master_bytes,
    state_of,
    weights_bytes,
)
from hfcount.budget.optimizers import optimizer
from hfcount.budget.recipes import BYTES, RECIPES, Precision, recipe
from hfcount.configs import load_config
from hfcount.errors import BadInput
from hfcount.inventory import inventory
from hfcount.quantization import Scheme, quantize
from hfcount.quantization.conversion import quantization_config
from hfcount.sources import resolve

LAB = "mini-gpt-lora-lab"
MODELS = (LAB, "gpt2", "llama")
FULL = {name: each.full for name, each in RECIPES.items()}
ADAPTERS = {name: each.adapters for name, each in RECIPES.items()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {kind: save(kind, tmp_path_factory.mktemp(kind)) for kind in (*MODELS[1:], "t5", "mixtral")}
    found[LAB] = tmp_path_factory.mktemp(LAB)
    torch.manual_seed(11)
    auto_class(LAB).from_config(load_config(resolve(f"card:{LAB}")).config).save_pretrained(found[LAB])
    return found


def table_of(folder: Path, dtype: str) -> tuple[pd.DataFrame, list[str]]:
    """The skeleton's inventory, and what its rows have after loading in `dtype`."""
    model = skeleton(folder)
    table = inventory(model)
    return table, loaded_dtypes(table, dtype, kept=kept_in_fp32(model, getattr(torch, dtype)), explicit="float32")


def batch(kind: str) -> dict[str, torch.Tensor]:
    ids = torch.randint(60, (2, 9), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "labels": ids}


def buckets(tensors: pd.DataFrame, precision: Precision, name: str) -> dict[str, int]:
    state = state_of(tensors, precision, optimizer(name))
    return {
        "weights": weights_bytes(tensors),
        "master": master_bytes(tensors, precision),
        "gradients": gradients_bytes(tensors, precision),
        "moments": state.moments,
        "tables": state.tables,
        "scalars": state.scalars,
    }


def assert_same(tensors: pd.DataFrame, precision: Precision, name: str, real: Weighed) -> None:
    ours = buckets(tensors, precision, name)
    theirs = {
        "weights": real.weights, "master": real.master, "gradients": real.gradients, "moments": real.state.moments,
        "tables": real.state.tables, "scalars": real.state.scalars,
    }  # fmt: skip
    assert ours == theirs, {key: (ours[key], theirs[key], ours[key] - theirs[key]) for key in ours}
    assert not real.recast


def assert_same_table(ours: pd.DataFrame, live: pd.DataFrame) -> None:
    """Row by row; a quantized weight's own dtype and orientation are bitsandbytes' business."""
    ours, live = (each.set_index("name").sort_index() for each in (ours, live))
    assert list(ours.index) == list(live.index)
    plain = ~live["quantized"].astype(bool)
    assert ours["quantized"].tolist() == live["quantized"].tolist()
    for column in ("numel", "trained", "bytes"):
        apart = ours.index[ours[column] != live[column]]
        assert apart.empty, (column, ours.loc[apart, column], live.loc[apart, column])
    for column in ("shape", "dtype"):
        assert ours.loc[plain, column].tolist() == live.loc[plain, column].tolist(), column


# Full fine-tuning.


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", FULL)
def test_full_fine_tuning(name: str, kind: str, folders: dict[str, Path]) -> None:
    precision = FULL[name]
    model = load(kind, folders[kind], dtype=getattr(torch, precision.base))
    tensors = full_tensors(*table_of(folders[kind], precision.base))
    assert tuple(tensors.columns) == TENSORS
    assert_same_table(tensors, frame(model))
    real = step(model, precision, REAL["adamw"], batch=batch(kind))
    assert_same(tensors, precision, "adamw", real)
    assert_same(frame(model), precision, "adamw", real)


@pytest.mark.parametrize("chosen", [name for name in REAL if name != "adamw"])
@pytest.mark.parametrize("name", ["fp32", "bf16", "autocast-bf16", "mixed-bf16", "megatron-bf16"])
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_other_optimizers(name: str, chosen: str, folders: dict[str, Path]) -> None:
    precision = FULL[name]
    model = load(LAB, folders[LAB], dtype=getattr(torch, precision.base))
    real = step(model, precision, REAL[chosen], batch=batch(LAB))
    assert_same(full_tensors(*table_of(folders[LAB], precision.base)), precision, chosen, real)


@pytest.mark.parametrize("chosen", ["adamw", "sgd", "adafactor"])
@pytest.mark.parametrize("name", ["mixed-fp16", "fp16"])
def test_where_a_class_keeps_some_of_its_weights_in_fp32(name: str, chosen: str, folders: dict[str, Path]) -> None:
    """T5's `wo`: no master copy of it, fp32 gradients and moments, whatever the others have."""
    pure = Precision(base="float16", trained="float16", gradients="float16", moments="float16")
    precision = pure if name == "fp16" else FULL[name]
    model = load("t5", folders["t5"], dtype=torch.float16)
    assert {each.dtype for each in model.parameters()} == {torch.float16, torch.float32}
    real = step(model, precision, REAL[chosen], batch=batch("t5"))
    assert_same(full_tensors(*table_of(folders["t5"], "float16")), precision, chosen, real)


def test_code_books_are_shared_by_parameters_of_two_types() -> None:
    parameters = [torch.nn.Parameter(torch.randn(64, 65, dtype=each)) for each in (torch.bfloat16, torch.float32)]
    for each in parameters:
        each.grad = torch.randn_like(each)
    real = bitsandbytes.optim.AdamW8bit(parameters)
    real.step()
    tensors = frame(torch.nn.ParameterDict({str(each.itemsize): each for each in parameters}))
    ours = state_of(tensors, FULL["bf16"], optimizer("adamw-8bit"))
    assert ours == weigh(real)
    assert ours.tables == 2_048


# LoRA and QLoRA.


def adapted(model: Any, **how: Any) -> Any:
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Conv1D's orientation, which PEFT sets itself
        return peft.get_peft_model(model, config, **how)


def check_adapters(model: Any, base: pd.DataFrame, precision: Precision, kind: str, *, name: str = "adamw") -> None:
    """The frozen base row by row, the adapters' type, and the buckets of a step."""
    live = frame(model)
    trained = live["trained"].astype(bool)
    assert set(live.loc[trained, "dtype"]) == {precision.trained}
    assert_same_table(base, live[~trained])
    added = full_tensors(live[trained], [precision.trained] * int(trained.sum()))
    tensors = pd.concat([base, added], ignore_index=True)
    converted = {name for name, each in model.named_modules() if isinstance(each, (Linear4bit, Linear8bitLt))}
    real = step(model, precision, REAL[name], batch=batch(kind))
    assert real.recast <= {f"{each}.bias" for each in converted}  # bitsandbytes gives a bias its input's type for good
    real = dataclasses.replace(real, recast=frozenset())
    assert_same(tensors, precision, name, real)
    assert_same(live, precision, name, real)
    assert real.master == 0


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", [name for name in ADAPTERS if name not in ("pure-bf16", "lab")])
def test_lora_as_peft_has_it_by_default(name: str, kind: str, folders: dict[str, Path]) -> None:
    precision = ADAPTERS[name]
    model = adapted(load(kind, folders[kind], dtype=getattr(torch, precision.base)))
    base = frozen_tensors(*table_of(folders[kind], precision.base))
    check_adapters(model, base, precision, kind)


@pytest.mark.parametrize("kind", MODELS)
def test_lora_with_adapters_in_the_bases_type(kind: str, folders: dict[str, Path]) -> None:
    model = adapted(load(kind, folders[kind], dtype=torch.bfloat16), autocast_adapter_dtype=False)
    base = frozen_tensors(*table_of(folders[kind], "bfloat16"))
    check_adapters(model, base, ADAPTERS["pure-bf16"], kind)


@pytest.mark.parametrize("kind", MODELS)
def test_lora_as_the_lab_has_it(kind: str, folders: dict[str, Path]) -> None:
    """fp16 adapters beside fp32 moments and no master copy: such moments are bitsandbytes' AdamW's."""
    model = adapted(load(kind, folders[kind], dtype=torch.float16), autocast_adapter_dtype=False)
    base = frozen_tensors(*table_of(folders[kind], "float16"))
    live, precision = frame(model), ADAPTERS["lab"]
    real = step(model, precision, bitsandbytes.optim.AdamW, batch=batch(kind))
    trained = int(live.loc[live["trained"], "numel"].sum())
    assert (real.gradients, real.state.moments) == (2 * trained, 8 * trained)
    added = full_tensors(live[live["trained"]], ["float16"] * int(live["trained"].sum()))
    tensors = pd.concat([base, added], ignore_index=True)
    ours = buckets(tensors, precision, "adamw")
    assert (ours["weights"], ours["master"]) == (real.weights, 0)
    assert (ours["gradients"], ours["moments"]) == (real.gradients, real.state.moments)


@pytest.mark.parametrize("chosen", ["adamw-8bit", "paged-adamw-8bit", "adafactor", "sgd"])
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
def test_lora_with_other_optimizers(chosen: str, folders: dict[str, Path]) -> None:
    model = adapted(load(LAB, folders[LAB], dtype=torch.bfloat16))
    base = frozen_tensors(*table_of(folders[LAB], "bfloat16"))
    check_adapters(model, base, ADAPTERS["mixed-bf16"], LAB, name=chosen)


SCHEMES = {"nf4": Scheme(), "nf4-double": Scheme(double=True), "int8": Scheme(kind="int8")}


def quantized(kind: str, folder: Path, scheme: Scheme, *, upcast: bool) -> tuple[Any, pd.DataFrame]:
    """The really quantized model, and the table that the skeleton gives for it."""
    model = load(kind, folder, dtype=torch.bfloat16, device_map="cpu", quantization_config=quantization_config(scheme))
    if upcast:
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    table, dtypes = table_of(folder, "bfloat16")
    found = quantize(functools.partial(skeleton, folder), table, scheme)
    packed = dict(zip(table["name"][found.rows], found.bytes[found.rows], strict=True))
    return model, frozen_tensors(table, dtypes, quantized=packed, upcast=upcast)


@pytest.mark.parametrize("kind", [*MODELS, "mixtral"])
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_qlora_prepared(scheme: Scheme, kind: str, folders: dict[str, Path]) -> None:
    """What is not quantized becomes fp32, fused experts too: `prepare_model_for_kbit_training`."""
    model, base = quantized(kind, folders[kind], scheme, upcast=True)
    assert set(base.loc[~base["quantized"], "dtype"]) == {"float32"}
    if kind == "mixtral":
        assert_same_table(base, frame(model))
        return
    precision = ADAPTERS["mixed-bf16"]
    assert precision.upcast
    check_adapters(adapted(model), base, precision, kind)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_qlora_unprepared(scheme: Scheme, kind: str, folders: dict[str, Path]) -> None:
    """Loaded in bf16, and not prepared."""
    model, base = quantized(kind, folders[kind], scheme, upcast=False)
    assert set(base.loc[~base["quantized"], "dtype"]) == {"bfloat16"}
    check_adapters(adapted(model), base, ADAPTERS["mixed-bf16"], kind)


def test_qlora_with_adapters_in_bf16(folders: dict[str, Path]) -> None:
    """PEFT makes adapters of a packed weight in fp32 even with autocast_adapter_dtype=False; TRL casts them."""
    model, base = quantized("llama", folders["llama"], Scheme(), upcast=False)
    model = adapted(model, autocast_adapter_dtype=False)
    trained = [each for each in model.parameters() if each.requires_grad]
    assert {each.dtype for each in trained} == {torch.float32}
    for each in trained:
        each.data = each.data.to(torch.bfloat16)
    check_adapters(model, base, ADAPTERS["pure-bf16"], "llama")


# What a model is loaded in.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("kind", ["t5", "llama", "mixtral"])
def test_loaded_dtypes(kind: str, dtype: str, folders: dict[str, Path]) -> None:
    table, dtypes = table_of(folders[kind], dtype)
    model = load(kind, folders[kind], dtype=getattr(torch, dtype))
    real = {name: dtype_name(each.dtype) for name, each in model.named_parameters()}
    assert dict(zip(table["name"], dtypes, strict=True)) == real
    kept = {name for name, each in real.items() if each == "float32"}
    if dtype == "float16":
        assert kept == ({name for name in real if name.endswith(".wo.weight")} if kind == "t5" else set())
        assert len(kept) == (4 if kind == "t5" else 0)


def test_loaded_dtypes_of_other_classes(tmp_path: Path) -> None:
    """Ernie's gate and its bias are fp32 in bf16 too; GPT-OSS's norms in fp16 alone."""
    small = {
        "vocab_size": 50, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2,
    }  # fmt: skip
    ernie = transformers.Ernie4_5_MoeConfig(**small, moe_intermediate_size=24, moe_num_experts=4, moe_k=2)
    oss = transformers.GptOssConfig(**small, num_local_experts=4, num_experts_per_tok=2, head_dim=8)
    for config, dtype, wide in ((ernie, "bfloat16", 2), (oss, "bfloat16", 0), (oss, "float16", 5)):
        folder = tmp_path / f"{config.model_type}-{dtype}"
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
        real = {name: dtype_name(each.dtype) for name, each in model.named_parameters()}
        table, dtypes = table_of(folder, dtype)
        assert dict(zip(table["name"], dtypes, strict=True)) == real
        assert list(real.values()).count("float32") == wide, (config.model_type, dtype)


def test_names_that_a_class_keeps_are_read_as_transformers_reads_them() -> None:
    """As patterns anywhere in the name, `*` for anything: build_glob_alternation."""
    names = [
        "a.wo.weight",
        "b.word.weight",
        "layers.0.mlp.gate.weight",
        "layers.11.mlp.gate_proj.weight",
        "mlp_gate.weight",
    ]
    table = pd.DataFrame({"name": names, "dtype": ["float32"] * len(names)})
    for kept in (["wo"], ["mlp.gate.weight"], ["h.*.gate"], ["mlp.gate"], ["h.*.mlp", "a.*.weight"], []):
        real = build_glob_alternation(kept)[0] if kept else None
        expected = ["float32" if real and real.search(name) else "bfloat16" for name in names]
        assert loaded_dtypes(table, "bfloat16", kept=kept, explicit="float32") == expected, kept


def test_a_parameter_that_its_class_made_in_another_type_stays() -> None:
    table = pd.DataFrame({"name": ["a", "b"], "dtype": ["bfloat16", "float32"]})
    assert loaded_dtypes(table, "float16", kept=(), explicit="bfloat16") == ["float16", "float32"]


# Figures by hand.


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mixed-fp16", (2, 4, 2, 8)),
        ("mixed-bf16", (2, 4, 2, 8)),
        ("megatron-bf16", (2, 4, 4, 8)),
        ("autocast-fp16", (4, 0, 4, 8)),
        ("autocast-bf16", (4, 0, 4, 8)),
        ("bf16", (2, 0, 2, 4)),
        ("pure-bf16", (2, 0, 2, 4)),
        ("fp32", (4, 0, 4, 8)),
        ("lab", (2, 4, 2, 8)),
    ],
)
def test_bytes_a_parameter(name: str, parts: tuple[int, ...]) -> None:
    """The table in recipes.py: weights, master, gradients and moments in bytes a parameter (ZeRO: 16 in all)."""
    table = pd.DataFrame({"name": ["w"], "shape": [(1000, 10)], "numel": [10_000]})
    precision = recipe(name).full
    found = buckets(full_tensors(table, [precision.base]), precision, "adamw")
    assert tuple(found[key] / 10_000 for key in ("weights", "master", "gradients", "moments")) == parts


def test_each_recipe_has_its_bytes_tested() -> None:
    marks = test_bytes_a_parameter.pytestmark
    assert {row[0] for row in marks[0].args[1]} == RECIPES.keys()
    for each in RECIPES.values():
        for precision in (each.full, each.adapters):
            types = {precision.base, precision.trained, precision.gradients, precision.moments}
            assert types <= BYTES.keys()
            assert precision.trained == precision.base or precision is each.adapters


def test_the_labs_full_fine_tuning() -> None:
    """229,952 parameters at 2 + 4 + 2 + 8 bytes."""
    table = inventory(skeleton(f"card:{LAB}"))
    precision = recipe("lab").full
    found = buckets(full_tensors(table, ["float16"] * len(table)), precision, "adamw")
    assert (found["weights"], found["master"], found["gradients"], found["moments"]) == (
        459_904, 919_808, 459_904, 1_839_616,
    )  # fmt: skip


def test_nothing_trained_is_nothing_kept() -> None:
    table = pd.DataFrame({"name": ["w"], "shape": [(8, 8)], "numel": [64]})
    found = buckets(frozen_tensors(table, ["bfloat16"]), recipe("mixed-bf16").full, "adamw-8bit")
    assert found == {"weights": 128, "master": 0, "gradients": 0, "moments": 0, "tables": 0, "scalars": 0}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mixed-bf-16", "precision 'mixed-bf-16' is not known: did you mean mixed-bf16"),
        ("FP32", "precision 'FP32' is not known: did you mean fp32"),
        ("nvfp", "precision 'nvfp' is not known: "),
        ("", "precision '' is not known: one of mixed-fp16, mixed-bf16, megatron-bf16"),
    ],
)
def test_an_unknown_recipe_has_near_names(name: str, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        recipe(name)
    assert str(caught.value).startswith(message)
