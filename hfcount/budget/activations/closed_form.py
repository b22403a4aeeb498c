"""The activations bucket: what autograd keeps when the forward pass has ended, in closed form by kind of layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.budget.activations.estimate import estimated
from hfcount.budget.activations.flows import Around, Sizes, flow_of
from hfcount.budget.activations.layers import Part, Training
from hfcount.budget.activations.settings import Activations, Kind, Setting
from hfcount.budget.activations.tape import KERNELS, WIDTH, Tape, Terms, Value
from hfcount.budget.activations.trunks import embedded, headed, rotary_tables, trunk_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def lab_rule(config: Any, setting: Setting) -> int | None:
    """The LoRA lab's rule of thumb: batch·seq·d·L·16 bytes, whatever the layers are; None without d or L."""
    width, depth = getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None)
    if not isinstance(width, int) or not isinstance(depth, int):
        return None
    return 16 * setting.batch * setting.seq * width * depth


def activations(model: PreTrainedModel, training: Training, setting: Setting) -> Activations:
    """What autograd keeps of one step of `model`: exact where a dataflow is written down for each of its parts.

    Else an estimate by the sizes of its linear layers, which says so and names what is not known.
    """
    try:
        return _known(model, training, setting)
    except (KeyError, AttributeError, TypeError, IndexError) as unknown:
        return estimated(model, setting, unknown=str(unknown).strip("'\""))


def _known(model: PreTrainedModel, training: Training, setting: Setting) -> Activations:
    """The closed form; KeyError for a part whose dataflow is not known.

    1. The embeddings, the layers one after the other and the head run on a tape each; a layer like an earlier one,
       with an input like its, is not run again.
    2. What they share (the rotary tables) is added once.
    3. With checkpointing the layers keep their inputs instead; then one of them at a time is run again.
    """
    _check_window(model, setting)
    base, head = _base_and_head(model, training)
    trunk = trunk_of(base)
    layers = [base[f"{trunk.layers}.{index}"] for index in range(len(base[trunk.layers].module))]  # type: ignore[arg-type]
    sizes = {
        "b": setting.batch,
        "s": setting.seq,
        "r": training.rank,
        "V": int(head.module.weight.shape[0]),  # type: ignore[union-attr,index]
        **flow_of(layers[0])[1],
    }
    start = _tape(setting)
    x = embedded(start, base, trunk, forced=setting.checkpointing and bool(training.ranks or training.wrapped))
    tables = rotary_tables(base, trunk, x.dtype, head=sizes["d_h"])
    around = Around(config=model.config, attention=setting.attention, tables=tables)
    kinds, x, shared, inputs = _run(layers, x, around, setting)
    end = _tape(setting)
    headed(end, x, base, trunk, head)
    outside = start.terms() + end.terms()
    kept = (outside if setting.checkpointing else outside + shared).value(sizes)
    run = [each.terms.value({**sizes, **each.sizes}) for each in kinds]
    if setting.checkpointing:
        held = inputs.value(sizes)
        return Activations(
            kept=kept + held,
            recomputed=start.terms().value(sizes) + held + max(run) + shared.value(sizes),
            kinds=(Kind(name="inputs of the layers", count=1, terms=inputs, sizes={}),),
            outside=outside,
            sizes=sizes,
            exact=True,
            basis=f"closed form: what autograd keeps on {setting.device}, layers checkpointed",
        )
    return Activations(
        kept=kept + sum(each.count * one for each, one in zip(kinds, run, strict=True)),
        kinds=kinds,
        outside=outside + shared,
        sizes=sizes,
        exact=True,
        basis=f"closed form: what autograd keeps on {setting.device} at the end of the forward pass",
    )


def _tape(setting: Setting) -> Tape:
    return Tape(KERNELS[setting.device], setting.autocast, one_row=setting.batch == 1)


def _run(
    layers: list[Part], x: Value, around: Around, setting: Setting
) -> tuple[tuple[Kind, ...], Value, Terms, Terms]:
    """The kinds of layers with their terms, what comes out of the last, what they share, and their inputs."""
    seen: dict[Any, tuple[Terms, Sizes, Value]] = {}
    counts: dict[Any, int] = {}
    shared = Terms()
    inputs = Terms()
    for layer in layers:
        key = (signature(layer), x.grad, x.dtype)
        if key not in seen:
            tape = _tape(setting)
            flow, sizes = flow_of(layer)
            out = flow(tape, x, layer, around)
            seen[key] = (tape.terms(), sizes, out)
            shared = shared if shared.factors else tape.terms(shared=True)
        counts[key] = counts.get(key, 0) + 1
        inputs += Terms.of(x.size, WIDTH[x.dtype])
        out = seen[key][2]
        x = Value(out.size, out.dtype, out.grad, out.storage)
    kinds = tuple(
        Kind(name=key[0][0], count=counts[key], terms=terms, sizes=sizes) for key, (terms, sizes, _) in seen.items()
    )
    return kinds, x, shared, inputs


def signature(layer: Part) -> tuple[Any, ...]:
    """What two layers must have in common to keep the same: class, and each parameter's shape, type and training."""
    training = layer.training
    return (
        type(layer.module).__name__,
        *(
            (
                name,
                tuple(parameter.shape),
                training.dtypes[f"{layer.path}.{name}"],
                training.trained[f"{layer.path}.{name}"],
                training.ranks.get(f"{layer.path}.{name}".removesuffix(".weight")),
                training.wrapped.get(f"{layer.path}.{name}"),
            )
            for name, parameter in layer.module.named_parameters()
        ),
    )


def _base_and_head(model: PreTrainedModel, training: Training) -> tuple[Part, Part]:
    whole = Part(model, "", training)
    head = model.get_output_embeddings()
    paths: Iterator[str] = (name for name, module in model.named_modules() if module is head)
    path = next(paths, None)
    if head is None or path is None:
        raise KeyError(f"the head of {type(model).__name__}")
    return whole[model.base_model_prefix], whole[path]


def _check_window(model: PreTrainedModel, setting: Setting) -> None:
    """KeyError where a sliding window is shorter than the sequence: then masks are kept, and keys repeated."""
    window: Any = getattr(model.config, "sliding_window", None)
    if isinstance(window, int) and window < setting.seq and getattr(model.config, "use_sliding_window", True):
        raise KeyError(f"a sliding window of {window:,} tokens")


def text_of(found: Activations) -> str:
    """The closed form in Python arithmetic over b, s, d, ...: "2*(24*b*s*d + ...) + 12*b*s*d"."""
    parts = [each.terms.text if each.count == 1 else f"{each.count}*({each.terms.text})" for each in found.kinds]
    return " + ".join((*parts, found.outside.text)) if found.kinds else ""


def symbols_of(found: Activations) -> Mapping[str, int]:
    """The values of the symbols that `text_of` uses."""
    used = {
        symbol
        for terms in (*(each.terms for each in found.kinds), found.outside)
        for size in terms.factors
        for symbol in size
    }
    return {symbol: value for symbol, value in found.sizes.items() if symbol in used}
