"""Depth for free: a deep model's curve of memory from three shallow traces.

Layers of one kind do the same, so at one operation of one layer everything that is alive is an affine function of how
many layers there are: what lasts, what earlier layers kept, and the operation's own. Three models with 2, 3 and 4
repeats of the pattern of layers are traced; each operation of the first and the last repeat, and of all that stands
outside the layers, is found in all three; the third trace proves that it is affine; and its value at full depth
follows. Operations in the middle lie between those at the ends, since they are affine in the layer's index too. The
optimizer's step has no layers: its highest moment is taken as a whole, and proven in the same way.

What is not affine is traced at its full depth.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hfcount.deadline import in_time
from hfcount.simulation.peak import BUCKETS

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn
    from transformers import PreTrainedModel

REPEATS = (2, 3, 4)
_DEPTH_FIELDS = ("num_hidden_layers", "n_layer", "num_layers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pattern:
    """How the layers of a stack follow each other.

    Attributes:
        stack: the path of the list of layers.
        depth: how many there are.
        prefix: how many stand before the pattern begins to repeat.
        period: how many make one repeat.
        ends: how many more repeats are looked at on either side. Where layers do something for their neighbours, as
            when they are gathered ahead, those at the ends are unlike the others.
    """

    stack: str
    depth: int
    prefix: int
    period: int
    ends: int = 0

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

    def at_depth(self, path: str, repeats: int) -> str:
        """The path that a module of a model with so many repeats has at full depth: the last layers are the last."""
        before, found, after = path.partition(f"{self.stack}.")
        index, dot, rest = after.partition(".")
        if not found or not index.isdigit() or not self.region(int(index), repeats).startswith("last"):
            return path
        return f"{before}{found}{int(index) + self.depth - self.layers(repeats)}{dot}{rest}"


def pattern_of(model: PreTrainedModel, *, ends: int = 0) -> Pattern | None:
    """The pattern of the layers of `model`; None where it is too short for three traces, or there are two stacks.

    `ends` as in Pattern.
    """
    found = stack_of(model)
    if found is None:
        return None
    path, layers = found
    depth = len(layers)
    kinds = [_kind(layer, index, model.config) for index, layer in in_time(enumerate(layers))]
    least = REPEATS[-1] + 1 + 2 * ends
    for period in range(1, depth // least + 1):
        for prefix in in_time(range(min(depth - period * least, 2 * period + 4) + 1)):
            if all(kinds[index] == kinds[index + period] for index in range(prefix, depth - period)):
                return Pattern(stack=path, depth=depth, prefix=prefix, period=period, ends=ends)
    return None


def stack_of(model: PreTrainedModel) -> tuple[str, nn.ModuleList] | None:
    """The list of layers of `model` and its path; None where there are two, or none."""
    from torch import nn

    depth = _depth(model.config)
    stacks = [(path, each) for path, each in model.named_modules() if isinstance(each, nn.ModuleList)]
    deep = [(path, each) for path, each in stacks if len(each) == depth and depth > 1]
    others = [each for _, each in stacks if len(each) > 2 and not any(each is one for _, one in deep)]
    inside = [each for each in others if not any(_within(each, one) for _, one in deep)]
    return None if depth is None or len(deep) != 1 or inside else deep[0]


def _within(inner: nn.Module, outer: nn.Module) -> bool:
    return any(each is inner for each in outer.modules())


def _depth(config: Any) -> int | None:
    text = config.get_text_config()
    for name in _DEPTH_FIELDS:
        value = getattr(text, name, None)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _kind(layer: nn.Module, index: int, config: Any) -> tuple[Any, ...]:
    """What makes two layers alike: their parameters, their modules, and what the config's lists say of them."""
    text = config.get_text_config()
    listed = tuple(
        (name, str(value[index]))
        for name, value in sorted(vars(text).items())
        if isinstance(value, (list, tuple)) and len(value) == _depth(config)
    )
    parameters = tuple((name, tuple(each.shape)) for name, each in layer.named_parameters())
    return listed, parameters, tuple(type(each).__name__ for each in layer.modules())


def with_layers(config: Any, layers: int) -> Any:
    """A copy of `config` with so many layers; its lists of layers keep their beginning and their end."""
    found = copy.deepcopy(config)
    text = found.get_text_config()
    depth = _depth(found)
    assert depth is not None
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == depth:
            setattr(text, name, value[:layers])
    for name in _DEPTH_FIELDS:
        if isinstance(getattr(text, name, None), int):
            setattr(text, name, layers)
            break
    return found


def keyed(lines: pd.DataFrame, pattern: Pattern | None, repeats: int) -> pd.DataFrame:
    """The moments of a shallow trace that all depths have, with a key for each: phase, region, and which in it.

    Those in middle layers are left out, and the optimizer's step is one moment, its highest. Without a pattern all
    moments are kept.
    """
    found = lines.assign(region=[_region(module, pattern, repeats) for module in lines["module"]])
    found = found[found["region"] != ""]
    found["order"] = found.groupby(["phase", "region"]).cumcount()
    step = found["phase"] == "step"
    if step.any() and pattern is not None:
        highest = found.loc[step, list(BUCKETS)].sum(axis=1).idxmax()
        found = found[~step | (found.index == highest)]
        found.loc[found["phase"] == "step", "region"] = "step"
        found.loc[found["phase"] == "step", "order"] = 0
    return found.set_index(["phase", "region", "order"])


def _region(module: str, pattern: Pattern | None, repeats: int) -> str:
    """The layer that a module belongs to, by its distance from the nearer end; "outside", or "" for the middle."""
    if pattern is None:
        return "outside"
    _, inside, rest = f".{module}.".partition(f".{pattern.stack}.")
    return pattern.region(int(rest.split(".", 1)[0]), repeats) if inside else "outside"


def affine(values: Sequence[Any], repeats: int) -> np.ndarray | None:
    """The integers at `repeats` from those at 2, 3 and 4; None unless each grows by the same from one to the next."""
    two, three, four = (np.asarray(each, dtype=np.int64) for each in values)
    step = four - three
    if not np.array_equal(step, three - two):
        return None
    return four + (repeats - REPEATS[-1]) * step
