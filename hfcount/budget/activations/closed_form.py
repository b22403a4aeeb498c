"""The activations bucket: what autograd keeps when the forward pass has ended, in closed form by kind of layer."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.budget.activations.estimate import estimated
from hfcount.budget.activations.flows import Around, Sizes, block_of
from hfcount.budget.activations.layers import Part, Training
from hfcount.budget.activations.settings import Activations, Kind, Setting
from hfcount.budget.activations.tape import KERNELS, WIDTH, Storage, Tape, Terms, Value
from hfcount.budget.activations.trunks import base_of, embedded, headed, rotary_tables, trunk_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def lab_rule(config: Any, setting: Setting) -> int | None:
    """The LoRA lab's rule of thumb: batch·seq·d·L·16 bytes, whatever the layers are; None without d or L."""
    width, depth = getattr(config, "hidden_size", None), getattr(config, "num_hidden_layers", None)
    if not isinstance(width, int) or not isinstance(depth, int):
        return None
    return 16 * setting.batch * setting.seq * width * depth


def activations(model: PreTrainedModel, training: Training, setting: Setting) -> Activations:
    """What autograd keeps of one step of `model`: exact where a dataflow is written down for each of its parts, and
    no layer is run a second time.

    Else an estimate by the sizes of its linear layers, which says so and names what is not known. What the dataflows
    give under other versions than they were held to is an estimate too.
    """
    try:
        found = _known(model, training, setting)
        others = other_versions()
        return dataclasses.replace(found, exact=False, basis=f"{found.basis}; estimate: {others}") if others else found
    except (KeyError, AttributeError, TypeError, IndexError, ValueError, RuntimeError) as unknown:
        return estimated(model, setting, unknown=str(unknown).strip("'\""))


HELD_WITH = {"transformers": "5.23", "torch": "2.13", "peft": "0.21"}
"""The versions with which the dataflows were held to real steps: a class, a kernel or an adapter that is written anew
may keep other tensors."""


@functools.cache
def other_versions() -> str:
    """A remark on what is installed in another version than the dataflows were held to; "" where nothing is."""
    found = {name: importlib.metadata.version(name) for name in HELD_WITH}
    others = [
        f"{name} {HELD_WITH[name]}, installed is {version}"
        for name, version in found.items()
        if not f"{version}.".startswith(f"{HELD_WITH[name]}.")
    ]
    return f"held to real steps with {'; '.join(others)}" if others else ""


def _known(model: PreTrainedModel, training: Training, setting: Setting) -> Activations:
    """The closed form; KeyError for a part whose dataflow is not known.

    1. The embeddings, the layers one after the other and the head run on a tape each; a layer like an earlier one,
       with an input like its, is not run again.
    2. What they share (the rotary tables) is added once.
    3. With checkpointing the layers keep their inputs instead; then one of them at a time is run again.
    """
    check_config(model.config, setting)
    base, head = _base_and_head(model, training)
    trunk = trunk_of(base)
    layers = [base[f"{trunk.layers}.{index}"] for index in range(len(base[trunk.layers].module))]  # type: ignore[arg-type]
    start = _tape(setting)
    x = embedded(start, base, trunk, forced=setting.checkpointing and bool(training.ranks or training.wrapped))
    sizes = block_of(layers[0]).sizes(layers[0])
    tables, turned = rotary_tables(base, trunk, x.dtype, head=sizes["d_h"])
    around = Around(config=model.config, attention=setting.attention, mask=x.dtype, tables=tables, turned=turned)
    run = _run(layers, x, around, setting)
    for kind in run.kinds:
        sizes = {**kind.sizes, **sizes}
    vocabulary = int(head.module.weight.shape[0])  # type: ignore[union-attr,index]
    sizes |= {"b": setting.batch, "s": setting.seq, "r": training.rank, "V": vocabulary, "d_r": turned}
    end = _tape(setting)
    headed(end, run.out, base, trunk, head)
    return _summed(start.terms(), end.terms(), run, sizes, setting)


def _summed(start: Terms, end: Terms, run: Run, sizes: Sizes, setting: Setting) -> Activations:
    outside = start + end
    layers = [each.terms.value({**sizes, **each.sizes}) for each in run.kinds]
    basis = f"closed form: what autograd keeps on {setting.device}"
    if setting.checkpointing:
        held = run.inputs.value(sizes)
        return Activations(
            kept=outside.value(sizes) + held,
            recomputed=start.value(sizes) + held + max(layers) + run.shared.value(sizes),
            kinds=(Kind(name="inputs of the layers", count=1, terms=run.inputs, sizes={}),),
            outside=outside,
            sizes=sizes,
            exact=False,
            basis=f"{basis}, layers checkpointed; estimate: without what else the layers are called with "
            "(rotary tables, positions, masks), which stays for their second run",
        )
    outside += run.shared
    return Activations(
        kept=outside.value(sizes) + sum(each.count * one for each, one in zip(run.kinds, layers, strict=True)),
        kinds=run.kinds,
        outside=outside,
        sizes=sizes,
        exact=True,
        basis=f"{basis} at the end of the forward pass",
    )


def _tape(setting: Setting) -> Tape:
    return Tape(KERNELS[setting.device], setting.autocast, one_row=setting.batch == 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """The layers run one after the other: their kinds, what comes out of the last, what they share (the rotary
    tables), and what checkpointing keeps instead: their inputs."""

    kinds: tuple[Kind, ...]
    out: Value
    shared: Terms
    inputs: Terms


def _run(layers: list[Part], x: Value, around: Around, setting: Setting) -> Run:
    seen: dict[Any, tuple[Terms, Sizes, Value]] = {}
    counts: dict[Any, int] = {}
    shared: dict[Storage, None] = {}
    inputs = Terms()
    masked = False
    for layer in layers:
        block = block_of(layer)
        key = (signature(layer), x.grad, x.dtype)
        if key not in seen:
            tape = _tape(setting)
            out = block.run(tape, x, layer, around)
            given = x.storage if setting.checkpointing else None  # which checkpointing holds already
            seen[key] = (tape.terms(besides=given), block.sizes(layer), out)
            shared |= {storage: None for storage in tape.saved if storage.shared}
        counts[key] = counts.get(key, 0) + 1
        inputs += Terms.of(x.size, WIDTH[x.dtype])
        if block.keeps_mask and around.attention == "eager" and not masked:
            inputs, masked = inputs + Terms.of(("b", "s", "s"), WIDTH[around.mask]), True
        x = seen[key][2]
    return Run(
        kinds=tuple(
            Kind(name=key[0][0], count=counts[key], terms=terms, sizes=sizes)
            for key, (terms, sizes, _) in seen.items()
        ),
        out=x,
        shared=sum((Terms.of(each.size, WIDTH[each.dtype]) for each in shared), Terms()),
        inputs=inputs,
    )


NUMBERS = ("layer_idx", "layer_id")
"""Attributes under which a module knows its layer's number."""


def signature(layer: Part) -> tuple[Any, ...]:
    """What two layers must have in common to keep the same: class, plain attributes of their modules but their number
    (dropouts, whether they turn, which window), and each parameter's shape, type and training."""
    training = layer.training
    return (
        type(layer.module).__name__,
        *(
            (path, name, value)
            for path, module in layer.module.named_modules()
            for name, value in sorted(vars(module).items())
            if isinstance(value, bool | int | float | str) and not name.startswith("_") and name not in NUMBERS
        ),
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
    return base_of(whole, model.base_model_prefix), whole[path]


def check_config(config: Any, setting: Setting) -> None:
    """KeyError where the config asks for what no dataflow here has.

    A sliding window that is not longer than the sequence has masks kept and keys repeated.
    """
    window: Any = getattr(config, "sliding_window", None)
    if isinstance(window, int) and window <= setting.seq and getattr(config, "use_sliding_window", True):
        raise KeyError(f"a sliding window of {window:,} tokens")
    for name in UNKNOWN_FIELDS:
        if getattr(config, name, None):
            raise KeyError(name)


UNKNOWN_FIELDS = (
    "output_router_logits",
    "output_attentions",
    "output_hidden_states",
    "layerdrop",
    "clip_qkv",
    "reorder_and_upcast_attn",
)
"""Fields that, set, change what is kept."""


def text_of(found: Activations) -> str:
    """The closed form in Python arithmetic over b, s, d, ...: "2*(24*b*s*d + ...) + 12*b*s*d".

    A size in which kinds of layers differ stands there as a number.
    """
    own = [each.terms.fixed(_apart(each.sizes, found.sizes)) for each in found.kinds]
    parts = [
        terms.text if each.count == 1 else f"{each.count}*({terms.text})"
        for each, terms in zip(found.kinds, own, strict=True)
    ]
    return " + ".join((*parts, found.outside.text)) if found.kinds else ""


def _apart(sizes: Mapping[str, int], whole: Mapping[str, int]) -> dict[str, int]:
    return {symbol: size for symbol, size in sizes.items() if whole.get(symbol) != size}


def symbols_of(found: Activations) -> Mapping[str, int]:
    """The values of the symbols that `text_of` uses."""
    used = {
        symbol
        for terms in (*(each.terms for each in found.kinds), found.outside)
        for size in terms.factors
        for symbol in size
    }
    return {symbol: value for symbol, value in found.sizes.items() if symbol in used}
