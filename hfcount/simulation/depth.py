"""Depth for free: a deep model's curve of memory from a few shallow traces.

Layers of one kind do the same, so at one operation of one layer everything that is alive is an affine function of how
many layers each stack has: what lasts, what earlier layers kept, and the operation's own. A model with one stack is
traced with 2, 3 and 4 repeats of its pattern of layers. One with several (an encoder and a decoder, a tower for images
and a text model) is traced with 2 of each, then with 3 of each stack alone, then with 4 of all. Each operation of the
first and the last repeat of each stack, and of all that stands outside the layers, is found in all traces; the last
trace proves that it is affine, without products of depths; and its value at full depth follows. Operations in the
middle lie between those at the ends, since they are affine in the layer's index too. The optimizer's step has no
layers: its highest moments are taken as a whole, and proven in the same way.

Which field of the config a stack's depth is, is found by trying: a copy with another number there has another number
of layers in this stack, and is the same elsewhere. What is not affine is traced at its full depth.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfcount.deadline import Overdue, in_time
from hfcount.simulation.peak import BUCKETS

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn
    from transformers import PreTrainedModel

    from hfcount.workbench import Workbench

REPEATS = (2, 3, 4)
"""How often a pattern stands in a trace: in all stacks, in one of them alone, and in all of them."""

Repeats = tuple[int, ...]
"""How often the pattern of each stack is repeated."""

_WRAPPED = "base_model.model."
"""What PEFT puts before the paths of a model."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stack:
    """How the layers of a stack follow each other.

    Attributes:
        path: of the list of layers.
        depth: how many there are.
        prefix: how many stand before the pattern begins to repeat.
        period: how many make one repeat.
        ends: how many more repeats are looked at on either side. Where layers do something for their neighbours, as
            when they are gathered ahead, those at the ends are unlike the others.
        config: the names that lead to the part of the config that says the depth.
        field: the field that says it; "" where lists with an item for each layer say it alone.
    """

    path: str
    depth: int
    prefix: int
    period: int
    ends: int = 0
    config: tuple[str, ...] = ()
    field: str = ""

    @property
    def repeats(self) -> int:
        return (self.depth - self.prefix) // self.period - 2 * self.ends

    @property
    def end(self) -> int:
        """How many layers on either side are looked at, beside the prefix or the rest."""
        return self.period * (1 + self.ends)

    @property
    def rest(self) -> int:
        return (self.depth - self.prefix) % self.period

    def layers(self, repeats: int) -> int:
        """The depth of a model with so many repeats, and the same beginning and end."""
        return self.prefix + (repeats + 2 * self.ends) * self.period + self.rest

    def region(self, index: int, repeats: int) -> str:
        """The name of a layer by its distance from the nearer end; "" for one in the middle."""
        last = self.layers(repeats) - 1
        if index < self.prefix + self.end:
            return f"first+{index}"
        return f"last-{last - index}" if last - index < self.rest + self.end else ""

    def in_shallow(self, index: int, repeats: int) -> int:
        """The layer of a model with so many repeats that is like the layer `index` at full depth."""
        from_end = self.depth - index
        if from_end <= self.rest + self.end:
            return self.layers(repeats) - from_end
        if index < self.prefix + self.ends * self.period:
            return index
        return self.prefix + self.ends * self.period + (index - self.prefix) % self.period

    def at_depth(self, index: int, repeats: int) -> int:
        """The layer at full depth that a layer of a model with so many repeats is: the last ones are the last."""
        last = self.region(index, repeats).startswith("last")
        return index + self.depth - self.layers(repeats) if last else index

    def split(self, path: str) -> tuple[str, int, str] | None:
        """The number of the layer that a path leads into, between what stands before it and after; None elsewhere."""
        wrapped = _WRAPPED if path.startswith(_WRAPPED) else ""
        before = f"{wrapped}{self.path}."
        index, dot, after = path[len(before) :].partition(".")
        return (before, int(index), dot + after) if path.startswith(before) and index.isdigit() else None


@dataclasses.dataclass(frozen=True)
class Pattern:
    """The stacks of a model whose depths can be changed, each alone."""

    stacks: tuple[Stack, ...]

    @property
    def repeats(self) -> Repeats:
        return tuple(each.repeats for each in self.stacks)

    @property
    def traces(self) -> tuple[Repeats, ...]:
        """The models to trace.

        >>> stack = Stack(path="layers", depth=9, prefix=0, period=1)
        >>> Pattern((stack,)).traces, Pattern((stack, stack)).traces
        (((2,), (3,), (4,)), ((2, 2), (3, 2), (2, 3), (4, 4)))
        """
        few, more, most = ((each,) * len(self.stacks) for each in REPEATS)
        alone = ((*few[:index], more[index], *few[index + 1 :]) for index in range(len(self.stacks)))
        return few, *alone, most

    def with_ends(self, repeats: Repeats) -> Repeats:
        """The repeats of a model to trace, those that are looked at on either side among them."""
        return tuple(number + 2 * stack.ends for stack, number in zip(self.stacks, repeats, strict=True))

    @property
    def traced(self) -> tuple[int, ...]:
        """How many layers the models to trace have in all stacks."""
        return tuple(
            sum(stack.layers(each) for stack, each in zip(self.stacks, repeats, strict=True))
            for repeats in self.traces
        )

    def region(self, path: str, repeats: Repeats) -> str:
        """The layer that a module belongs to, by its distance from the nearer end; "outside", or "" for the middle."""
        for stack, number in zip(self.stacks, repeats, strict=True):
            if (parts := stack.split(path)) is not None:
                name = stack.region(parts[1], number)
                return name and f"{stack.path}:{name}"
        return "outside"

    def in_shallow(self, path: str, repeats: Repeats) -> str:
        """The path of the module or parameter that does the same in a model with so many repeats."""
        for stack, number in zip(self.stacks, repeats, strict=True):
            if (parts := stack.split(path)) is not None:
                return f"{parts[0]}{stack.in_shallow(parts[1], number)}{parts[2]}"
        return path

    def at_depth(self, path: str, repeats: Repeats) -> str:
        """The path that a module of a model with so many repeats has at full depth."""
        for stack, number in zip(self.stacks, repeats, strict=True):
            if (parts := stack.split(path)) is not None:
                return f"{parts[0]}{stack.at_depth(parts[1], number)}{parts[2]}"
        return path


@dataclasses.dataclass(frozen=True)
class _Known:
    """What was found out about a model: its pattern, and the benches of its shallow copies."""

    pattern: Pattern | None
    benches: dict[Repeats, Workbench]


_KNOWN: weakref.WeakKeyDictionary[PreTrainedModel, _Known] = weakref.WeakKeyDictionary()
"""By the model on a bench; a copy's bench holds another."""


def _known(bench: Workbench) -> _Known:
    if bench.model not in _KNOWN:
        benches: dict[Repeats, Workbench] = {}
        _KNOWN[bench.model] = _Known(_pattern_of(bench, benches), benches)
    return _KNOWN[bench.model]


def pattern_of(bench: Workbench) -> Pattern | None:
    """The stacks of a model that are deep enough for shallow traces; None where there are none."""
    return _known(bench).pattern


def ends_of(pattern: Pattern | None) -> Pattern | None:
    """The pattern with one more repeat looked at on either side; None where it is not repeated often enough."""
    if pattern is None:
        return None
    found = Pattern(tuple(dataclasses.replace(stack, ends=1) for stack in pattern.stacks))
    return found if min(found.repeats) > REPEATS[-1] else None


def stack_of(model: nn.Module) -> tuple[str, nn.ModuleList] | None:
    """The one list of layers that is in no other one, and its path; None where there are several, or none."""
    found = _outermost(model, least=2)
    return found[0] if len(found) == 1 else None


def shallow_bench(bench: Workbench, repeats: Repeats) -> Workbench:
    """The bench of a copy of the model with so many repeats of each of its patterns."""
    known = _known(bench)
    assert known.pattern is not None
    if repeats not in known.benches:
        known.benches[repeats] = bench.with_config(with_layers(bench.loaded.config, known.pattern, repeats))
    return known.benches[repeats]


def _pattern_of(bench: Workbench, benches: dict[Repeats, Workbench]) -> Pattern | None:
    """The stacks that a copy can have fewer layers in; the bench of the copy that shows it is put into `benches`."""
    found = Pattern(())
    for path, layers in _outermost(bench.model):
        for stack in in_time(_candidates(path, layers, bench.loaded.config)):
            tried = Pattern((*found.stacks, stack))
            if (shallow := _copy_alike(bench, tried)) is not None:
                benches.clear()
                benches[tried.traces[0]] = shallow
                found = tried
                break
    return found if found.stacks else None


def _outermost(model: nn.Module, *, least: int = REPEATS[-1] + 1) -> list[tuple[str, nn.ModuleList]]:
    """The lists of at least so many layers that are in no other one."""
    from torch import nn

    found: list[tuple[str, nn.ModuleList]] = []
    for path, each in model.named_modules():
        if isinstance(each, nn.ModuleList) and not any(path.startswith(f"{outer}.") for outer, _ in found):
            found.append((path, each))
    return [(path, each) for path, each in found if len(each) >= least]


def _candidates(path: str, layers: nn.ModuleList, config: Any) -> Iterator[Stack]:
    """The stack for each field of `config`, and of the configs in it, that could say how many layers there are."""
    depth = len(layers)
    for names, part in _parts(config):
        numbers = [name for name, value in vars(part).items() if type(value) is int and value == depth]
        fields = [*numbers, ""] if any(True for _ in _listed(part, depth)) else numbers
        if fields and (repeating := _repeating(layers, part)) is not None:
            prefix, period = repeating
            for field in fields:
                yield Stack(path=path, depth=depth, prefix=prefix, period=period, config=names, field=field)


def _parts(config: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """A config and those in it, with the names that lead to them."""
    from transformers import PreTrainedConfig

    yield names, config
    for name, value in vars(config).items():
        if isinstance(value, PreTrainedConfig):
            yield from _parts(value, (*names, name))


def _listed(config: Any, depth: int) -> Iterator[tuple[str, list[Any] | tuple[Any, ...]]]:
    """The lists of a config that have an item for each layer."""
    for name, value in sorted(vars(config).items()):
        if isinstance(value, (list, tuple)) and len(value) == depth:
            yield name, value


def _chosen(config: Any, depth: int) -> Iterator[tuple[str, list[int]]]:
    """The lists of a config that may name some of the layers by their numbers."""
    for name, value in sorted(vars(config).items()):
        if isinstance(value, (list, tuple)) and "token" not in name and _are_numbers(value, depth):
            yield name, list(value)


def _are_numbers(values: Sequence[Any], depth: int) -> bool:
    """Whether values are numbers of layers, each once and in their order."""
    return all(type(each) is int and 0 <= each < depth for each in values) and list(values) == sorted(set(values))


def _repeating(layers: nn.ModuleList, config: Any) -> tuple[int, int] | None:
    """How many layers stand before the pattern, and how many make it; None where it is not repeated often enough."""
    depth = len(layers)
    kinds = [_kind(layer, index, depth, config) for index, layer in in_time(enumerate(layers))]
    for period in range(1, depth // (REPEATS[-1] + 1) + 1):
        for prefix in in_time(range(min(depth - period * (REPEATS[-1] + 1), 2 * period + 4) + 1)):
            if all(kinds[index] == kinds[index + period] for index in range(prefix, depth - period)):
                return prefix, period
    return None


def _kind(layer: nn.Module, index: int, depth: int, config: Any) -> tuple[Any, ...]:
    """What makes two layers alike: their parameters, their modules, and what the config's lists say of them."""
    chosen = {name: index in value for name, value in _chosen(config, depth)}
    listed = tuple((name, str(value[index])) for name, value in _listed(config, depth) if name not in chosen)
    parameters = tuple((name, tuple(each.shape)) for name, each in layer.named_parameters())
    modules = tuple((type(each).__name__, _told(each)) for each in layer.modules())
    return listed, tuple(chosen.items()), parameters, modules


def _told(module: nn.Module) -> tuple[Any, ...]:
    """What a module was told: its words and its yes or no, and which of its fields are None."""
    return tuple(
        (name, value)
        for name, value in sorted(vars(module).items())
        if value is None or isinstance(value, (bool, str))
    )


def _copy_alike(bench: Workbench, pattern: Pattern) -> Workbench | None:
    """The bench of the shallowest copy, if it has those layers fewer and is the same else; None if not."""
    repeats = pattern.traces[0]
    try:
        shallow = bench.with_config(with_layers(bench.loaded.config, pattern, repeats))
        modules = _modules(shallow.model)
    except Overdue:
        raise
    except Exception:  # whatever a class raises for a number that is no depth
        return None
    whole = {(pattern.in_shallow(path, repeats), kind) for path, kind in _modules(bench.model)}
    return shallow if whole == modules else None


def _modules(model: nn.Module) -> set[tuple[str, str]]:
    """The paths of modules and parameters, and what class each module has."""
    modules = {(path, type(each).__name__) for path, each in model.named_modules()}
    return modules | {(name, "") for name, _ in model.named_parameters()}


def with_layers(config: Any, pattern: Pattern, repeats: Repeats) -> Any:
    """A copy of `config` with so many repeats in each stack; its lists of layers keep their beginning."""
    found = copy.deepcopy(config)
    for stack, number in zip(pattern.stacks, repeats, strict=True):
        old, new = (functools.reduce(getattr, stack.config, each) for each in (config, found))
        for name, value in _listed(old, stack.depth):
            setattr(new, name, value[: stack.layers(number)])
        if stack.field:
            setattr(new, stack.field, stack.layers(number))
    return found


def keyed(lines: pd.DataFrame, pattern: Pattern | None, repeats: Repeats) -> pd.DataFrame:
    """The moments of a shallow trace that all depths have, with a key for each: phase, region, and which in it.

    Those in and after middle layers are left out, and of the optimizer's step all that cannot be its highest. What
    happens between two layers (a draw for LayerDrop, say) belongs to the one before. Without a pattern all moments are
    kept.
    """
    import pandas as pd

    regions = {each: "outside" if pattern is None else pattern.region(each, repeats) for each in set(lines["module"])}
    found = lines.assign(region=lines["module"].map(regions))
    before = found["region"].where(found["region"] != "outside").groupby(found["phase"]).ffill()
    between = (found["region"] == "outside") & before.notna()
    found.loc[between, "region"] = before[between].map(lambda layer: layer and f"after {layer}")
    found = found[found["region"] != ""]
    found["order"] = found.groupby(["phase", "region"]).cumcount()
    step = found["phase"] == "step"
    if step.any() and pattern is not None:
        highest = found.loc[_highest(found[step])]
        found = pd.concat([found[~step], highest.assign(region="step", order=range(len(highest)))])
    return found.set_index(["phase", "region", "order"])


def _highest(step: pd.DataFrame) -> list[Any]:
    """The moments of an optimizer's step that can be its highest at some depth, in their order.

    Gradients go as it steps, so a later moment is higher only if it has more that is there for a moment. Those that
    have more than all before them are few, whatever the depth: of many layers alike the first counts.
    """
    total = step[list(BUCKETS)].sum(axis=1)
    lasting = total - step["temporary"] - step["rounding"]
    best = total.groupby(lasting, sort=False).idxmax().sort_values()
    passing = step.loc[best, "temporary"]
    return list(passing.index[passing > passing.cummax().shift(fill_value=-1)])


def affine(values: Sequence[Any], repeats: Repeats) -> np.ndarray | None:
    """The integers at `repeats` from those of a pattern's traces; None unless each is affine in every stack's depth.

    Each stack's slope is read off the trace in which it alone is deeper. The last trace, with all stacks deeper, must
    then be what the slopes say: so there are no products of depths, and no squares.
    """
    few, *alone, most = (np.asarray(each, dtype=np.int64) for each in values)
    slopes = [each - few for each in alone]
    if not np.array_equal(most, few + (REPEATS[-1] - REPEATS[0]) * sum(slopes)):
        return None
    return few + sum((times - REPEATS[0]) * slope for times, slope in zip(repeats, slopes, strict=True))
