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
    if x.dtype == dtype:
        return x
    return dataclasses.replace(tape.new(x.size, dtype, grad=x.grad), by_heads=x.by_heads)


def view(x: Value, size: Size) -> Value:
    """A part or another shape of `x` in the same memory."""
    return Value(size, x.dtype, x.grad, x.storage)


def wider(first: str, second: str) -> str:
    """The type of a sum or product of two types: of the two of 16 bits, neither holds the other."""
    if first == second:
        return first
    return "float32" if BYTES[first] == BYTES[second] else max(first, second, key=BYTES.__getitem__)


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
    experts, which leave autocast, and to autocast's for one matrix.
    """
    product = "float32" if tape.kernels.wide_deltas and not fused else adapter
    dtype = weight.dtype if fused else tape.autocast or product
    if {dtype, product} != {adapter}:
        tape.save(*(tape.new(size, dtype, grad=True) for size in factors))
    return tape.new(weight.size, weight.dtype, grad=True)


def _weight(size: Size, dtype: str, *, trained: bool) -> Value:
    return Value(size, dtype, trained, Storage(size, dtype, own=True))


def rms_norm(tape: Tape, x: Value, *, dtype: str | None, trained: bool, rows: Size = TOKENS) -> Value:
    """w·x/rms(x), computed in fp32 and scaled in x's type (LlamaRMSNorm): [pow, rsqrt, mul, mul].

    `dtype` is the scale's, None for a norm without one.
    """
    normed = cast(tape, _over_root(tape, x, rows), x.dtype)
    return normed if dtype is None else _scaled(tape, normed, dtype, trained=trained)


def wide_rms_norm(tape: Tape, x: Value, *, dtype: str, trained: bool, rows: Size = TOKENS) -> Value:
    """The same, scaled in fp32 before it is cast back (Olmo2RMSNorm)."""
    return cast(tape, _scaled(tape, _over_root(tape, x, rows), dtype, trained=trained), x.dtype)


def centred_rms_norm(tape: Tape, x: Value, *, dtype: str, trained: bool, rows: Size, scale: Size) -> Value:
    """(1 + w)·x/rms(x), all in fp32 (GemmaRMSNorm): the product keeps 1 + w, a tensor of its own."""
    one_more = tape.new(scale, "float32", grad=trained)
    return cast(tape, multiply(tape, _over_root(tape, x, rows), one_more), x.dtype)


def _over_root(tape: Tape, x: Value, rows: Size) -> Value:
    """x/rms(x) in fp32: the squares and the product keep x in fp32, the product 1/rms too, a number a row."""
    wide = cast(tape, x, "float32")
    if x.grad:
        tape.save(wide, tape.new(rows, "float32", grad=True))
    return tape.new(x.size, "float32", grad=x.grad)


def _scaled(tape: Tape, x: Value, dtype: str, *, trained: bool) -> Value:
    """x·w keeps x if w trains; w is a parameter."""
    if trained:
        tape.save(x)
    return tape.new(x.size, wider(x.dtype, dtype), grad=x.grad or trained)


def layer_norm(tape: Tape, x: Value, *, dtype: str | None, trained: bool, rows: Size = TOKENS) -> Value:
    """(x - mean)/deviation·w + b [native_layer_norm]: keeps x, and mean and deviation, two numbers a row."""
    if tape.autocast and tape.kernels.wide_autocast:
        x = cast(tape, x, "float32")
    if x.grad or trained:
        stats = tape.kernels.stats or wider(x.dtype, dtype or x.dtype)
        tape.save(x, *(tape.new(rows, stats, grad=False) for _ in range(2)))
    return tape.new(x.size, x.dtype, grad=x.grad or trained)


def plain_layer_norm(tape: Tape, x: Value, *, dtype: str | None, trained: bool, rows: Size = TOKENS) -> Value:
    """The same without scale and shift, in fp32 (OlmoLayerNorm)."""
    return cast(tape, layer_norm(tape, cast(tape, x, "float32"), dtype=None, trained=False, rows=rows), x.dtype)


def written_layer_norm(tape: Tape, x: Value, *, dtype: str, trained: bool, rows: Size, scale: Size) -> Value:
    """The same written out in fp32 (CohereLayerNorm): x - mean is computed twice, and the scale is cast."""
    wide = cast(tape, x, "float32")
    if x.grad:
        tape.save(tape.new(x.size, "float32", grad=True))  # what is squared
    centred = tape.new(x.size, "float32", grad=x.grad)
    normed = multiply(tape, centred, tape.new(rows, "float32", grad=wide.grad))
    if x.grad and dtype != "float32":
        tape.save(tape.new(scale, "float32", grad=trained))
    return cast(tape, _scaled(tape, normed, "float32", trained=trained), x.dtype)


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
    wide = tape.autocast and tape.kernels.wide_autocast
    dtype = "float32" if wide else x.dtype  # what follows the power has its type
    tape.save(cast(tape, x, dtype), *(tape.new(x.size, each, grad=True) for each in (dtype, x.dtype, dtype)))
    return tape.new(x.size, dtype, grad=True)


def _relu2(tape: Tape, x: Value) -> Value:
    # relu keeps its result, the square what it squares: the same, unless autocast runs powers in fp32.
    result = _keeps_result(tape, x)
    wide = cast(tape, result, "float32") if tape.autocast and tape.kernels.wide_autocast else result
    return _keeps_input(tape, wide)


def _gelu_fast(tape: Tape, x: Value) -> Value:
    # 0.5·x·(1 + tanh(x·0.8·(1 + 0.04·x·x))): x, and both factors of three products and tanh's result.
    if x.grad:
        tape.save(x, *(tape.new(x.size, x.dtype, grad=True) for _ in range(6)))
    return tape.new(x.size, x.dtype, grad=x.grad)


ACTIVATIONS = {
    "silu": _keeps_input,
    "gelu": _keeps_input,
    "gelu_pytorch_tanh": _keeps_input,
    "relu": _keeps_result,
    "sigmoid": _keeps_result,
    "tanh": _keeps_result,
    "relu2": _relu2,
    "gelu_new": _gelu_new,
    "gelu_fast": _gelu_fast,
}


def attention(
    tape: Tape,
    query: Value,
    key: Value,
    value: Value,
    *,
    how: str,
    probability: float,
    mask: str | None = None,
    capped: bool = False,
) -> Value:
    """softmax(q·k^T)·v, causal: fused ("sdpa") or written out ("eager").

    Eager attention takes its softmax in fp32 and casts it to the queries' type; GPT-2's in that of the sum with a mask
    of type `mask`, and casts it to the values'. Scores that are `capped` keep their tangent (Gemma 2); the fused
    kernels cap none.

    Fused [_scaled_dot_product_flash_attention]: keeps q, k and v as they came (grouped keys are not repeated), the
    result, and one fp32 log-sum a head and token. The result lies as the queries do; where that is head after head, it
    is copied before the next product. With dropout the CPU's fused kernel is not used: the plain products
    are computed in fp32 and keep three score matrices. On CUDA the mask is drawn anew from a seed.
    """
    if how == "eager":
        return _eager(tape, query, key, value, probability, mask=mask, capped=capped)
    if capped:
        raise KeyError("fused attention with capped scores")
    if tape.autocast:
        query, key, value = (cast(tape, each, tape.autocast) for each in (query, key, value))
    if probability and not tape.kernels.fused_dropout:
        return _plain(tape, query, key, value)
    result = tape.new(query.size, query.dtype, grad=query.grad or key.grad or value.grad)
    if result.grad:
        tape.save(query, key, value, result, tape.new(("b", "s", "h"), "float32", grad=False))
    return result if not query.by_heads else tape.new(result.size, result.dtype, grad=result.grad)


def _eager(
    tape: Tape, query: Value, key: Value, value: Value, probability: float, *, mask: str | None, capped: bool
) -> Value:
    """transformers' eager_attention_forward.

    [bmm] keeps copies of its factors in matrix order, keys and values repeated for every query head, each if a
    gradient flows to the other; [softmax] keeps its result.
    """
    computed = tape.autocast or query.dtype
    query_rows, key_rows, value_rows = (_in_rows(tape, each, query.size, computed) for each in (query, key, value))
    product = matmul_pair(tape, query_rows, key_rows, SCORES)
    if capped:
        product = activation(tape, product, "tanh")
    wide = tape.autocast and tape.kernels.wide_autocast
    summed = "float32" if wide or mask is None else wider(product.dtype, mask)
    probabilities = tape.new(SCORES, summed, grad=product.grad)
    if product.grad:
        tape.save(probabilities)
    back = query.dtype if mask is None else value.dtype
    weights = cast(tape, dropout(tape, cast(tape, probabilities, back), probability), computed)
    return matmul_pair(tape, weights, value_rows, query.size)


def _in_rows(tape: Tape, x: Value, size: Size, dtype: str) -> Value:
    """`x` as a stack of matrices: a copy, as it is repeated or its heads are interleaved; one row can be looked at."""
    if tape.one_row and x.size == size:
        return cast(tape, x, dtype)
    return tape.new(size, dtype, grad=x.grad)


def matmul_pair(tape: Tape, x: Value, y: Value, size: Size) -> Value:
    """A product of two tensors of one type [bmm]: keeps each factor that the other's gradient needs."""
    if x.grad:
        tape.save(y)
    if y.grad:
        tape.save(x)
    return tape.new(size, x.dtype, grad=x.grad or y.grad)


def _plain(tape: Tape, query: Value, key: Value, value: Value) -> Value:
    """The CPU's fallback with dropout [_scaled_dot_product_attention_math]: copies of q, k and v in fp32, and the
    softmax, its mask and their product. The v of one row in fp32 needs no copy, unless it
    is repeated for heads."""
    wide_query, wide_key = (tape.new(query.size, "float32", grad=each.grad) for each in (query, key))
    product = matmul_pair(tape, wide_query, wide_key, SCORES)
    probabilities = _keeps_result(tape, product)
    if product.grad:
        tape.save(tape.new(SCORES, "float32", grad=False))  # the mask
    dropped = tape.new(SCORES, "float32", grad=probabilities.grad)
    as_it_is = tape.one_row and value.dtype == "float32" and value.size == query.size
    wide_value = value if as_it_is else tape.new(query.size, "float32", grad=value.grad)
    mixed = matmul_pair(tape, dropped, wide_value, query.size)
    return tape.new(query.size, query.dtype, grad=mixed.grad)


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
