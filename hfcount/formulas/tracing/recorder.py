"""What a trace sees: the conditions that decided its way, and the loops that it went through."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

# Conditions met here say nothing about parameters: probabilities, rotary frequencies, initial values, ids of tokens.
_IGNORED_MODULES = (
    "torch.nn.modules.dropout", "torch.nn.modules.sparse", "torch.nn.init", "transformers.modeling_rope_utils",
    "transformers.initialization", "transformers.utils", "transformers.generation", "transformers.integrations",
    "transformers.masking_utils", "transformers.configuration_utils", "json.", "copy", "huggingface_hub.",
)  # fmt: skip
_IGNORED_FUNCTIONS = frozenset(
    {"validate_token_ids", "_init_weights", "init_weights", "initialize_weights", "reset_parameters", "extra_repr"}
)
_DROPOUT = re.compile(r"drop_?path|dropout|layer_?drop")
"""Rates: whether one is above 0 decides between modules that have no parameters."""
_IGNORED_CLASSES = ("Rotary", "DropPath", "Dropout", "LogitsProcessor")


@dataclasses.dataclass(eq=False)
class Loop:
    """One run of a loop whose length is symbolic.

    Attributes:
        over: what it runs over, as an expression: "range(num_hidden_layers)", "layer_types" for its elements.
        length: how often, as an expression; `times` how often it did.
        depth: how many loops were around it; its index is called by that: i, j, k.
        first: the index's first value; `step` from one to the next.
        paths: for each iteration the conditions on the index that were met, in order.
    """

    over: str
    length: Any
    times: int
    depth: int
    first: int = 0
    step: int = 1
    paths: list[list[tuple[str, bool]]] = dataclasses.field(default_factory=list)

    @property
    def index(self) -> str:
        return INDICES[min(self.depth, len(INDICES) - 1)]

    def mentioned_in(self, text: str) -> bool:
        """Whether the expression `text` has the loop's index in it."""
        return index_pattern(self.index).search(text) is not None


INDICES = "ijklmn"
"""The names of loops' indices, the outermost loop's first."""

_ANY_INDEX = re.compile(rf"(?<![\w.])[{INDICES}](?!\w)")


def stale_index(text: str, running: Iterable[str]) -> bool:
    """Whether an expression has the index of a loop in it that is none of `running`."""
    return not set(_ANY_INDEX.findall(text)) <= set(running)


@functools.cache
def index_pattern(index: str) -> re.Pattern[str]:
    """What finds the name `index` in an expression, and no longer name that holds it."""
    return re.compile(rf"(?<![\w.]){index}(?!\w)")


@dataclasses.dataclass
class Recorder:
    """The events of one trace.

    Attributes:
        guards: the conditions that held, outside loops or without their index: text -> None, in order.
        loops: all loops that ran, in order of their beginning.
        stack: the loops that are running, outermost first, each with its iteration.
        quotients: text of a division -> (dividend, divisor), where it left no remainder.
    """

    guards: dict[str, None] = dataclasses.field(default_factory=dict)
    reads: list[tuple[Any, str, Any]] = dataclasses.field(default_factory=list)
    loops: list[Loop] = dataclasses.field(default_factory=list)
    stack: list[tuple[Loop, int]] = dataclasses.field(default_factory=list)
    quotients: dict[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)
    paused: bool = False

    def condition(self, text: str, outcome: bool, *, activation: str | None = None) -> None:
        """Note that the condition `text` came out as `outcome`; `activation` is a field that chose an activation."""
        if self.paused or _DROPOUT.search(text):
            return
        caller = _caller()
        if caller.f_globals.get("__name__") == "transformers.activations" and activation is not None:
            self.guards.setdefault(f"{activation} in ACTIVATIONS")
            return
        if is_ignored(caller):
            return
        for loop, _ in reversed(self.stack):
            if loop.mentioned_in(text):
                loop.paths[-1].append((text, outcome))
                return
        if _ANY_INDEX.search(text) is None:  # else it is about the index of a loop that is over
            self.guards.setdefault(text if outcome else negated(text))


def _caller() -> Any:
    """The frame outside this package that asked."""
    frame = sys._getframe(2)
    while frame.f_globals.get("__name__", "").startswith("hfcount.formulas.tracing") and frame.f_back is not None:
        frame = frame.f_back
    return frame


def is_ignored(frame: Any) -> bool:
    """Whether what `frame` asks says nothing about parameters."""
    module = frame.f_globals.get("__name__", "")
    if module.startswith(_IGNORED_MODULES) or frame.f_code.co_name in _IGNORED_FUNCTIONS:
        return True
    this = frame.f_locals.get("self")
    return this is not None and any(part in type(this).__name__ for part in _IGNORED_CLASSES)


_OPPOSITES = ((" == ", " != "), (" is not ", " is "), (" < ", " >= "), (" <= ", " > "), (" not in ", " in "))


def negated(text: str) -> str:
    """The opposite condition, as a person would write it.

    >>> negated("a % b == 0"), negated("not (x)"), negated("a or b")
    ('a % b != 0', 'x', 'not (a or b)')
    """
    if text.startswith("not (") and text.endswith(")"):
        return text[5:-1]
    for one, other in _OPPOSITES:
        for sign, opposite in ((one, other), (other, one)):
            if text.count(sign) == 1 and not any(word in text for word in (" and ", " or ", " if ", " for ")):
                return text.replace(sign, opposite)
    return f"not ({text})"


_active: Recorder | None = None


def active() -> Recorder | None:
    """The recorder of the trace that is running, or None."""
    return _active


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    """A context in which a fresh recorder is active."""
    global _active
    before, _active = _active, Recorder()
    try:
        yield _active
    finally:
        _active = before
