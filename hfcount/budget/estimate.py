"""Activations where no step can be simulated: estimated from the sizes of the linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfcount.budget.recipes import BYTES, Precision
from hfcount.classes import text_config
from hfcount.skeleton import input_embeddings, output_embeddings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BASIS = (
    "activations are an estimate: every matrix keeps its input, every norm its input in fp32, attention q, k, v and "
    "its result"
)


def lab_rule(width: int | None, layers: int | None, *, batch: int, seq: int) -> int | None:
    """Return the LoRA lab's rule of thumb: batch·seq·d·L·16 bytes, whatever the layers are; None without d or L."""
    return None if width is None or layers is None else 16 * batch * seq * width * layers


def estimated_activations(model: PreTrainedModel, precision: Precision, *, rows: int, checkpointing: bool) -> int:
    """Return the bytes kept if every matrix keeps its input and every norm its input in fp32, for `rows` tokens.

    1. Linear layers of one module with inputs of one size share them: their input is counted once, and the outputs of
       an attention's projections once more, since the attention keeps q, k, v and its result.
    2. A norm keeps its input in fp32 and its result.
    3. Experts are passed by as many tokens as are chosen, of one expert's sizes.
    4. The loss keeps fp32 logits.
    5. With checkpointing each layer keeps its input, and one of them at a time is run again.
    """
    width = BYTES[precision.autocast or precision.base]
    layers = inside = 0
    stack = _deepest_stack(model)
    for name, module in model.named_modules():
        each = rows * _kept_by(module, width)
        inside += each if name.startswith(f"{stack}.") else 0
        layers += each
    head = getattr(output_embeddings(model), "weight", None)
    if head is not None:
        layers += rows * 4 * int(head.shape[0])
    if not checkpointing or not stack:
        return layers
    count = max(1, len(model.get_submodule(stack)))  # type: ignore[arg-type]
    inputs = count * rows * width * _width(model)
    return layers - inside + inputs + inside // count


def _kept_by(module: Any, width: int) -> int:
    """Bytes a row that the children of `module` keep."""
    inputs: set[int] = set()
    total = outputs = 0
    for child in module.children():
        shape = tuple(getattr(getattr(child, "weight", None), "shape", ()))
        kind = type(child).__name__
        if len(shape) == 2 and "Embedding" not in kind:
            sides = shape if kind == "Conv1D" else shape[::-1]
            inputs.add(sides[0])
            outputs += sides[1]
        elif len(shape) == 1:  # a norm
            total += (4 + width) * shape[0]
    for leaf, parameter in module.named_parameters(recurse=False):
        if parameter.dim() == 3 and not leaf.endswith("bias"):  # fused experts: one of them, as many times as chosen
            total += width * 2 * max(parameter.shape[1:])
    return total + width * (sum(inputs) + outputs)


def _deepest_stack(model: PreTrainedModel) -> str:
    """The path of the list with the most parameters in its items: the layers."""
    from torch import nn

    stacks = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    largest = max(stacks, key=lambda each: sum(p.numel() for p in each[1].parameters()), default=("", None))
    return largest[0]


def _width(model: PreTrainedModel) -> int:
    """Return the width of what goes from layer to layer; 0 where neither a table of tokens nor the config says it."""
    weight = getattr(input_embeddings(model), "weight", None)
    width = getattr(text_config(model.config), "hidden_size", 0) if weight is None else weight.shape[-1]
    return width if isinstance(width, int) else 0
