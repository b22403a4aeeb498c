"""Record what real libraries store for packed weights, as the tests of hfcount/sources/headers/packed hold it.

    python scripts/record_packed_headers.py torchao mlx gguf hqq auto_round compressed_tensors
    python scripts/record_packed_headers.py compressed_tensors_legacy     # with compressed-tensors 0.9.4

Each library packs the same small Llama; what is kept is the header alone: names, element types, shapes, bytes and
metadata, beside the names and shapes of the model before. None of the libraries is needed to run the tests:

    pip install torchao==0.18.0 "mlx[cpu]==0.32.4" gguf==0.19.0 hqq==0.2.8 compressed-tensors==0.20.0
    pip install auto-round==0.16.1    # packs the layouts of GPTQ and AWQ on the CPU
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

OUT = Path(__file__).resolve().parent.parent / "tests" / "sources" / "headers" / "recorded"

Case = tuple[str, dict[str, Any], dict[str, torch.Tensor], dict[str, str]]
"""What it is, the config's words on quantization, the state dict as stored, the file's metadata."""


def subject(**changes: Any) -> LlamaForCausalLM:
    """The model that all of them pack: sizes that differ from each other, multiples of 256 where a format wants it."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "vocab_size": 130, **changes}
    config = LlamaConfig(num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, **sizes)
    torch.manual_seed(0)
    return LlamaForCausalLM(config).to(torch.bfloat16).eval()


def linears(model: nn.Module) -> list[str]:
    """The names of the layers' linear modules; the head stays as it is."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and "layers" in name]


def shapes(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in model.state_dict().items()}


def stored(tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> dict[str, list[Any]]:
    """Name to dtype, shape and bytes, from the header of a file that safetensors wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path, metadata=metadata)
        return read(path)


def read(path: Path) -> dict[str, list[Any]]:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header.pop("__metadata__", None)
    return {
        name: [entry["dtype"], entry["shape"], entry["data_offsets"][1] - entry["data_offsets"][0]]
        for name, entry in header.items()
    }


def torchao() -> Iterator[Case]:
    import torchao.quantization as ao
    from torchao.prototype.mx_formats import MXDynamicActivationMXWeightConfig, NVFP4WeightOnlyConfig
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict

    four = torch.float4_e2m1fn_x2
    configs = {
        "int8": ao.Int8WeightOnlyConfig(),
        "float8": ao.Float8WeightOnlyConfig(),
        "intx4": ao.IntxWeightOnlyConfig(weight_dtype=torch.int4),
        "nvfp4": NVFP4WeightOnlyConfig(),
        "mxfp8": MXDynamicActivationMXWeightConfig(),
        "mxfp4": MXDynamicActivationMXWeightConfig(activation_dtype=four, weight_dtype=four),
    }
    for name, config in configs.items():
        model = subject()
        ao.quantize_(model.model, config)
        yield name, {"quant_method": "torchao"}, *flatten_tensor_state_dict(model.state_dict())
    state = subject().state_dict()
    for name in [name for name in state if name.endswith("proj.weight")]:
        out, inputs = state[name].shape
        codes, groups = torch.zeros(out, inputs // 2, dtype=torch.int8), torch.zeros(inputs // 32, out)
        state[name] = ao.Int4Tensor(codes, groups, groups.clone(), [1, 32], torch.Size((out, inputs)))
    yield "int4, packed by hand", {"quant_method": "torchao"}, *flatten_tensor_state_dict(state)


def hqq() -> Iterator[Case]:
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear

    cases = [(bits, axis, False) for bits in (8, 4, 3, 2, 1) for axis in (0, 1)]
    for bits, axis, as_float in [*cases, (4, 1, True), (3, 1, True)]:
        model = subject(attention_bias=axis == 0)
        stated = BaseQuantizeConfig(nbits=bits, group_size=64, axis=axis, view_as_float=as_float)
        for name in linears(model):
            linear = model.get_submodule(name)
            quantized = HQQLinear(linear, stated, compute_dtype=torch.bfloat16, device="cpu")
            model.set_submodule(name, quantized)
        config = {"quant_method": "hqq", "quant_config": {k: v for k, v in stated.items() if v is not None}}
        title = f"{bits} bits, axis {axis}" + (", view_as_float" if as_float else "")
        yield title, config, model.state_dict(), {}


def auto_round() -> Iterator[Case]:
    from auto_round.export.export_to_awq.utils import WQLinear_GEMM
    from auto_round_extension.torch.qlinear_torch import QuantLinear

    def gptq(linear: nn.Linear, bits: int, with_order: bool) -> nn.Module:
        out, inputs = linear.weight.shape
        packed = QuantLinear(bits, 128, inputs, out, linear.bias is not None, g_idx=with_order)
        packed.device = "cpu"
        packed.pack(linear, torch.ones(out, inputs // 128), torch.zeros(out, inputs // 128, dtype=torch.int32))
        return packed

    def awq(linear: nn.Linear, bits: int, with_order: bool) -> nn.Module:
        out, inputs = linear.weight.shape
        groups = torch.ones(inputs // 128, out)
        return WQLinear_GEMM.from_linear(linear, bits, 128, scales=groups, zeros=groups.clone(), device="cpu")

    for method, pack, bits, with_order in (
        *(("gptq", gptq, bits, True) for bits in (2, 3, 4, 5, 8)),
        *(("gptq", gptq, bits, False) for bits in (3, 4)),
        ("awq", awq, 4, False),
    ):
        model = subject(attention_bias=True)
        for name in linears(model):
            model.set_submodule(name, pack(model.get_submodule(name).float(), bits, with_order))
        title = f"{method}, {bits} bits" + (", g_idx" if with_order else "")
        yield title, {"quant_method": method, "bits": bits, "group_size": 128}, model.state_dict(), {}


def compressed_tensors() -> Iterator[Case]:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        QuantizationStatus,
        apply_quantization_config,
        preset_name_to_scheme,
    )

    def packed(title: str, scheme: Any, **changes: Any) -> Case:
        model = subject(**changes)
        plan = QuantizationConfig(
            config_groups={"group_0": scheme}, ignore=["lm_head"], quantization_status=QuantizationStatus.FROZEN
        )
        apply_quantization_config(model, plan)
        compressor = ModelCompressor.from_pretrained_model(model)
        compressor.compress_model(model)
        with tempfile.TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)
            compressor.update_config(folder)
            config = json.loads((Path(folder) / "config.json").read_text())["quantization_config"]
        return title, config, model.state_dict(), {}

    for preset in ("W4A16", "W4A16_ASYM", "W8A16", "W3A16", "W8A8", "FP8", "FP8_DYNAMIC", "FP8_BLOCK", "NVFP4"):
        yield packed(preset, preset_name_to_scheme(preset, ["Linear"]))
    for preset in ("NVFP4A16", "MXFP4", "MXFP6A16", "MXFP8"):
        yield packed(preset, preset_name_to_scheme(preset, ["Linear"]))
    channels = preset_name_to_scheme("W4A16", ["Linear"])
    channels.weights.strategy, channels.weights.group_size = "channel", None
    yield packed("W4A16 by channel, 100 inputs", channels, hidden_size=64, intermediate_size=100)


def compressed_tensors_legacy() -> Iterator[Case]:
    from compressed_tensors.compressors import (
        BitmaskCompressor,
        Marlin24Compressor,
        PackedQuantizationCompressor,
        Sparse24BitMaskCompressor,
    )
    from compressed_tensors.config import SparsityCompressionConfig
    from compressed_tensors.quantization import QuantizationArgs

    model = subject()
    targets = set(linears(model))
    state = {name: value.float() for name, value in model.state_dict().items()}
    for name in targets:
        state[f"{name}.weight"].view(-1, 4)[:, :2] = 0  # two of four
    for kind, compressor in (("sparse-bitmask", BitmaskCompressor), ("sparse-24-bitmask", Sparse24BitMaskCompressor)):
        sparsity = SparsityCompressionConfig(format=kind, sparsity_structure="2:4")
        packed = compressor(config=sparsity).compress(state, compression_targets=targets)
        yield kind, {"quant_method": "compressed-tensors", "sparsity_config": {"format": kind}}, packed, {}
    for kind, bits, compressor in (
        ("marlin-24", 4, Marlin24Compressor()),
        ("marlin-24", 8, Marlin24Compressor()),
        ("pack-quantized", 3, PackedQuantizationCompressor()),
        ("pack-quantized", 8, PackedQuantizationCompressor()),
    ):
        arguments = QuantizationArgs(num_bits=bits, group_size=128, strategy="group")
        scaled = dict(state)
        for name in targets:
            out, inputs = state[f"{name}.weight"].shape
            scaled[f"{name}.weight_scale"] = torch.ones(out, inputs // 128)
            scaled[f"{name}.weight_zero_point"] = torch.zeros(out, inputs // 128, dtype=torch.int8)
        weights = {"num_bits": bits, "group_size": 128, "strategy": "group", "type": "int", "symmetric": True}
        config = {"quant_method": "compressed-tensors", "format": kind, "config_groups": {"0": {"weights": weights}}}
        yield f"{kind}, {bits} bits", config, compressor.compress(scaled, dict.fromkeys(targets, arguments)), {}


def mlx() -> Iterator[tuple[str, dict[str, Any], dict[str, list[Any]], dict[str, str]]]:
    """The model's weights as `mlx.nn.QuantizedLinear` holds them, written by MLX itself."""
    import mlx.core as mx

    def module(weight: Any, bits: int, group: int, mode: str) -> dict[str, Any]:
        parts = mx.quantize(weight, group_size=group, bits=bits, mode=mode)
        return dict(zip(("weight", "scales", "biases"), parts, strict=False))

    plans = [(bits, group, "affine") for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
    for bits, group, mode in [*plans, (4, 32, "mxfp4"), (4, 16, "nvfp4"), (8, 32, "mxfp8")]:
        arrays: dict[str, Any] = {}
        stated: dict[str, Any] = {"group_size": group, "bits": bits, "mode": mode}
        for name, value in subject().state_dict().items():
            if not name.endswith("proj.weight"):
                arrays[name] = mx.zeros(value.shape, dtype=mx.bfloat16)
                continue
            own = (8, 64) if "down" in name and mode == "affine" else (bits, group)
            if own != (bits, group):
                stated[name.removesuffix(".weight")] = {"group_size": own[1], "bits": own[0]}
            for part, array in module(mx.zeros(value.shape, dtype=mx.bfloat16), *own, mode).items():
                arrays[name.removesuffix("weight") + part] = array
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.safetensors"
            mx.save_safetensors(str(path), arrays, metadata={"format": "mlx"})
            yield f"{mode}, {bits} bits, groups of {group}", stated, read(path), {"format": "mlx"}


def gguf() -> Iterator[tuple[str, dict[str, Any], dict[str, list[Any]], dict[str, Any]]]:
    """One tensor of every type that fits, in a file that the package writes and reads."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, MODEL_ARCH, GGMLQuantizationType, GGUFReader, GGUFWriter, get_tensor_name_map

    plain = {"F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64"}
    kinds = [kind for kind in GGMLQuantizationType if kind.name not in plain]
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, 1)
    for kind in kinds:
        block, size = GGML_QUANT_SIZES[kind]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gguf"
            writer = GGUFWriter(path, "llama")
            writer.add_block_count(1)
            for name, value in subject().state_dict().items():
                there = names.get_name(name, try_suffixes=(".weight",))
                if value.ndim == 1:
                    writer.add_tensor(there, np.zeros(value.shape, np.float32))
                else:
                    data = np.zeros((value.shape[0], value.shape[1] // block * size), np.uint8)
                    writer.add_tensor(there, data, raw_dtype=kind)
            writer.add_tensor("rope_freqs.weight", np.zeros(32, np.float32))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            tensors = {
                tensor.name: [tensor.tensor_type.name, [int(n) for n in reversed(tensor.shape)], int(tensor.n_bytes)]
                for tensor in GGUFReader(path).tensors
            }
        yield kind.name, {}, tensors, {"general.architecture": "llama", "llama.block_count": 1}


PACKAGES = {"auto_round": "auto-round", "compressed_tensors_legacy": "compressed-tensors"}
LIBRARIES: dict[str, Callable[[], Iterator[Any]]] = {
    each.__name__: each
    for each in (torchao, hqq, auto_round, compressed_tensors, compressed_tensors_legacy, mlx, gguf)
}


def record(library: str) -> None:
    """Writes the file of one library: a line for each stored tensor."""
    package = PACKAGES.get(library, library.replace("_", "-"))
    version = importlib.metadata.version(package)
    cases = []
    for title, config, tensors, metadata in LIBRARIES[library]():
        held = {n: v if isinstance(v, list) else None for n, v in tensors.items()}
        table = held if None not in held.values() else stored(tensors, {k: str(v) for k, v in metadata.items()})
        cases.append({"case": title, "quantization_config": config, "metadata": metadata, "tensors": table})
    changes = {"compressed_tensors": {"hidden_size": 64, "intermediate_size": 100}}
    models = {"": shapes(subject()), "bias": shapes(subject(attention_bias=True))}
    if library in changes:
        models["small"] = shapes(subject(**changes[library]))
    for case in cases:
        bias = any(name.endswith("q_proj.bias") for name in case["tensors"])
        case["model"] = "bias" if bias else "small" if "100 inputs" in case["case"] else ""
    used = {case["model"] for case in cases}
    models = {name: table for name, table in models.items() if name in used}
    path = OUT / f"{library}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(compact({"library": package, "version": version, "models": models, "cases": cases}) + "\n")
    print(f"{path.name}: {package} {version}, {len(cases)} cases")


def compact(value: Any, depth: int = 0) -> str:
    """JSON with a line for each member down to the tensors."""
    if depth == 4 or not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    pad, end = " " * (depth + 1), " " * depth
    if isinstance(value, dict):
        inner = ",\n".join(f"{pad}{json.dumps(key)}: {compact(each, depth + 1)}" for key, each in value.items())
        return f"{{\n{inner}\n{end}}}"
    return "[\n" + ",\n".join(pad + compact(each, depth + 1) for each in value) + f"\n{end}]"


if __name__ == "__main__":
    for asked in sys.argv[1:] or [name for name in LIBRARIES if name != "compressed_tensors_legacy"]:
        record(asked)
