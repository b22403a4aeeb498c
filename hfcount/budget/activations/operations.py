"""The operations that decoder layers consist of, each with what it saves.

The rules are those of torch's autograd; the names in brackets are the derivatives' in torch/tools/autograd.
"""

from __future__ import annotations

import dataclasses

from hfcount.budget.activations.tape import Size, Storage, Tape, Value
from hfcount.budget.recipes import BYTES

TOKENS: Size = ("b", "s")
SCORES: Size = ("b", "h", "s", "s")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matrix:
    """A linear layer: what its weight is kept in, whether it trains, and the adapter on it.

    Attributes:
        inputs, outputs: the symbols of its two sides.
        dtype: of the weight; None where bitsandbytes holds it quantized, which saves nothing but the weight itself.
        trained: whether the weight trains.
        rank: the symbol of its adapter's rank; None without an adapter.
        adapter: what the adapter is kept in.
    """

    inputs: Size
    outputs: Size
    dtype: str | None
    trained: bool
    rank: str | None = None
    adapter: str = "float32"


def cast(tape: Tape, x: Value, dtype: str) -> Value:
    """`x` in another type: a copy, unless it has it already. Nothing is saved."""
    return x if x.dtype == dtype else tape.new(x.size, dtype, grad=x.grad)


def view(x: Value, size: Size) -> Value:
    """A part or another shape of `x` in the same memory."""
    return Value(size, x.dtype, x.grad, x.storage)


def wider(first: str, second: str) -> str:
    """The type of a sum or product of two types."""
    return first if BYTES[first] >= BYTES[second] else second


def matmul(tape: Tape, x: Value, weight: Value, outputs: Size) -> Value:
    """x·W^T [mm]: keeps x if W trains, W if a gradient flows to x; under autocast both are cast first.

    A weight that autocast copies is kept as the copy.
    """
    if tape.autocast:
        x, weight = cast(tape, x, tape.autocast), cast(tape, weight, tape.autocast)
    if weight.grad:
        tape.save(x)
    if x.grad:
        tape.save(weight)
    return tape.new((*x.size[:2], *outputs), x.dtype, grad=x.grad or weight.grad)


def linear(tape: Tape, x: Value, matrix: Matrix) -> Value:
    """A linear layer with its LoRA adapter, if it has one (peft/tuners/lora/layer.py, Linear.forward).

    The adapter's input is cast to the adapter's type; its result is added to the base's and cast back to that.
    bitsandbytes' Linear4bit gives back the type that came in (bitsandbytes/nn/modules.py), whatever it computes in.
    """
    if matrix.dtype is None:
        base = tape.new((*x.size[:2], *matrix.outputs), x.dtype, grad=x.grad)
    else:
        weight = _weight((*matrix.inputs, *matrix.outputs), matrix.dtype, trained=matrix.trained)
        base = matmul(tape, x, weight, matrix.outputs)
    if matrix.rank is None:
        return base
    narrow = _weight((*matrix.inputs, matrix.rank), matrix.adapter, trained=True)
    widen = _weight((matrix.rank, *matrix.outputs), matrix.adapter, trained=True)
    matmul(tape, matmul(tape, cast(tape, x, matrix.adapter), narrow, (matrix.rank,)), widen, matrix.outputs)
    return tape.new(base.size, base.dtype, grad=True)


def merged(tape: Tape, weight: Value, factors: tuple[Size, Size], adapter: str, *, fused: bool) -> Value:
    """A parameter that PEFT wraps (peft/tuners/lora/layer.py, ParamWrapper): B·A is added to it before it is used.

    The sum is a tensor as large as the parameter itself, for all experts at once, and whoever multiplies by it keeps
    it. The product keeps its factors, which are copies where they had to be cast: to the parameter's type for `fused`
    experts, to autocast's for one matrix.
    """
    dtype = tape.autocast or (weight.dtype if fused else adapter)
    if dtype != adapter:
        tape.save(*(tape.new(size, dtype, grad=True) for size in factors))
    return tape.new(weight.size, weight.dtype, grad=True)


def _weight(size: Size, dtype: str, *, trained: bool) -> Value:
    return Value(size, dtype, trained, Storage(size, dtype, own=True))


def rms_norm(tape: Tape, x: Value, *, dtype: str | None, trained: bool, rows: Size = TOKENS) -> Value:
    """w·x/rms(x), computed in fp32 as transformers' classes do (LlamaRMSNorm): [pow, rsqrt, mul, mul].

    The squares and the product keep x in fp32, the product keeps 1/rms, a number a row, and the scale what it scales,
    if it trains. `dtype` is the scale's, None for a norm without one.
    """
    wide = cast(tape, x, "float32")
    root = tape.new(rows, "float32", grad=x.grad)
    if x.grad:
        tape.save(wide, root)
    normed = (
        tape.new(x.size, "float32", grad=x.grad) if x.dtype == "float32" else tape.new(x.size, x.dtype, grad=x.grad)
    )
    if dtype is None:
        return normed
    if trained:
        tape.save(normed)
    return tape.new(x.size, wider(x.dtype, dtype), grad=x.grad or trained)


def layer_norm(tape: Tape, x: Value, *, dtype: str, trained: bool, rows: Size = TOKENS) -> Value:
    """(x - mean)/deviation·w + b [native_layer_norm]: keeps x, and mean and deviation, two numbers a row."""
    if tape.autocast:  # runs in fp32
        x = cast(tape, x, "float32")
    if x.grad or trained:
        stats = tape.kernels.stats or x.dtype
        tape.save(x, tape.new(rows, stats, grad=False), tape.new(rows, stats, grad=False))
    return tape.new(x.size, x.dtype, grad=x.grad or trained)


def dropout(tape: Tape, x: Value, probability: float) -> Value:
    """x·mask/(1 - p) [native_dropout, mul]: keeps the mask. Without a probability it is left out."""
    if not probability:
        return x
    if x.grad:
        tape.save(tape.new(x.size, tape.kernels.mask or x.dtype, grad=False))
    return tape.new(x.size, x.dtype, grad=x.grad)


def add(tape: Tape, x: Value, y: Value) -> Value:
    """x + y keeps nothing."""
    return tape.new(x.size, wider(x.dtype, y.dtype), grad=x.grad or y.grad)


def multiply(tape: Tape, x: Value, y: Value) -> Value:
    """x·y keeps each factor that the other's gradient needs."""
    if x.grad:
        tape.save(y)
    if y.grad:
        tape.save(x)
    return tape.new(x.size, wider(x.dtype, y.dtype), grad=x.grad or y.grad)


def rotate(tape: Tape, x: Value, cosines: Value, sines: Value) -> Value:
    """x·cos + rotate_half(x)·sin: keeps the cosines and sines, which all layers share."""
    if x.grad:
        tape.save(cosines, sines)
    return tape.new(x.size, wider(x.dtype, cosines.dtype), grad=x.grad)


def activation(tape: Tape, x: Value, kind: str) -> Value:
    """The activation function called `kind` in the config; KeyError for one whose rule is not written down.

    [silu, gelu] keep their input, [relu, tanh, sigmoid] their result. GPT-2's `gelu_new` is written out in Python
    (transformers/activations.py, NewGELUActivation: 0.5·x·(1 + tanh(...))) and keeps four tensors of the size.
    """
    return ACTIVATIONS[kind](tape, x)


def _keeps_input(tape: Tape, x: Value) -> Value:
    if x.grad:
        tape.save(x)
    return tape.new(x.size, x.dtype, grad=x.grad)


def _keeps_result(tape: Tape, x: Value) -> Value:
    result = tape.new(x.size, x.dtype, grad=x.grad)
    if x.grad:
        tape.save(result)
    return result


def _gelu_new(tape: Tape, x: Value) -> Value:
    # 1. x³ keeps x; 2. tanh keeps its result; 3. the last product keeps 0.5·x and 1 + tanh.
    if not x.grad:
        return tape.new(x.size, x.dtype, grad=False)
    wide = tape.autocast and tape.kernels.wide_powers
    dtype = "float32" if wide else x.dtype  # what follows the power has its type
    tape.save(cast(tape, x, dtype), *(tape.new(x.size, each, grad=True) for each in (dtype, x.dtype, dtype)))
    return tape.new(x.size, dtype, grad=True)


ACTIVATIONS = {
    "silu": _keeps_input,
    "swish": _keeps_input,
    "gelu": _keeps_input,
    "gelu_pytorch_tanh": _keeps_input,
    "relu": _keeps_result,
    "gelu_new": _gelu_new,
}


def attention(
    tape: Tape, query: Value, key: Value, value: Value, *, how: str, probability: float, wide: bool = True
) -> Value:
    """softmax(q·k^T)·v, causal: fused ("sdpa") or written out ("eager", its softmax in fp32 where `wide`).

    Fused [_scaled_dot_product_flash_attention]: keeps q, k and v as they came (grouped keys are not repeated), the
    result, and one fp32 log-sum a head and token. With dropout the CPU's fused kernel is not used: the plain products
    are computed in fp32 and keep three score matrices. On CUDA the mask is drawn anew from a seed.
    """
    if tape.autocast:
        query, key, value = (cast(tape, each, tape.autocast) for each in (query, key, value))
    if how == "eager":
        return _eager(tape, query, key, value, probability, wide=wide or bool(tape.autocast))
    if probability and not tape.kernels.fused_dropout:
        return _plain(tape, query, key, value)
    result = tape.new(query.size, query.dtype, grad=query.grad or key.grad or value.grad)
    if result.grad:
        tape.save(query, key, value, result, tape.new(("b", "s", "h"), "float32", grad=False))
    return result


def _eager(tape: Tape, query: Value, key: Value, value: Value, probability: float, *, wide: bool) -> Value:
    """transformers' eager_attention_forward: products in the values' type, the softmax in fp32 where `wide`.

    [bmm] keeps copies of its factors in matrix order, keys and values repeated for every query head; [softmax] keeps
    its result.
    """
    dtype, grad = query.dtype, query.grad or key.grad or value.grad
    if not grad:
        return tape.new(query.size, dtype, grad=False)
    tape.save(*(tape.new(query.size, dtype, grad=True) for _ in range(3)))
    scores = tape.new(SCORES, "float32" if wide else dtype, grad=True)
    tape.save(scores)
    tape.save(dropout(tape, cast(tape, scores, dtype), probability))
    return tape.new(query.size, dtype, grad=True)


def _plain(tape: Tape, query: Value, key: Value, value: Value) -> Value:
    """The CPU's fallback with dropout [_scaled_dot_product_attention_math]: copies of q, k and v in fp32, and the
    softmax, its mask and their product. The v of one row in fp32 needs no copy."""
    grad = query.grad or key.grad or value.grad
    if grad:
        tape.save(*(tape.new(query.size, "float32", grad=True) for _ in range(2)))
        as_it_is = tape.one_row and value.dtype == "float32"
        tape.save(value if as_it_is else tape.new(query.size, "float32", grad=True))
        tape.save(*(tape.new(SCORES, "float32", grad=True) for _ in range(3)))
    return tape.new(query.size, query.dtype, grad=grad)


def cross_entropy(tape: Tape, logits: Value) -> None:
    """The loss (transformers/loss/loss_utils.py): fp32 log-probabilities, the shifted labels, and the sum of weights.

    [_log_softmax] keeps its result, [nll_loss] the labels and a number. The labels of a batch of one row are a view of
    the padded ones, a number longer.
    """
    if logits.grad:
        if tape.one_row:
            tape.save(tape.new((), "int64", grad=False))
        tape.save(
            tape.new(logits.size, "float32", grad=True),
            tape.new(TOKENS, "int64", grad=False),
            tape.new((), "float32", grad=False),
        )
