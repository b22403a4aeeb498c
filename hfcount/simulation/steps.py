"""The steps of one model: each kind of training is traced once, and every batch, sequence and rank of it follows."""

from __future__ import annotations

import bisect
import dataclasses
import re
import time
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from hfcount.simulation.form import StepForm
from hfcount.simulation.peak import Simulation
from hfcount.simulation.plan import Run, Wished, values_of
from hfcount.simulation.simulate import simulate, step_form
from hfcount.simulation.sizes import TOKENS
from hfcount.workbench import Workbench

_LENGTHS = re.compile(r"window|chunk|block|stride|length|position|seq", re.IGNORECASE)
"""Fields of a config that may hold a length at which a form ends."""


class Steps:
    """The steps of the model on a bench, by their forms.

    A form holds between the lengths that the config names (a window, say); beyond one of them there is another.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = weakref.proxy(bench)
        self._lengths = sorted(set(_lengths(bench.loaded.config.to_dict())))
        self._forms: dict[tuple[str, int], StepForm | None] = {}
        self._single: dict[str, Simulation] = {}

    def at(self, wished: Wished, run: Run, *, seconds: float | None = None) -> Simulation:
        """The step; by its form where it has one. Raises as `simulate` does."""
        begun = time.monotonic()
        form = self.form(wished, run, seconds=seconds)
        if form is None:
            key = repr((wished, run))
            if key not in self._single:
                self._single[key] = simulate(self._bench, wished, run, seconds=seconds)
            return self._single[key]
        return dataclasses.replace(form.at(values_of(wished, run)), seconds=time.monotonic() - begun)

    def form(self, wished: Wished, run: Run, *, seconds: float | None = None) -> StepForm | None:
        """The closed form that holds for this step; None where its traces do not agree.

        Buffers that span layers have every layer traced, which is done for the values that are asked alone.
        """
        if run.sharding is not None and not run.sharding.by_layer:
            return None
        values = values_of(wished, run)
        key = (_kind_of(wished, run), bisect.bisect_left(self._lengths, values[TOKENS]))
        if key not in self._forms:
            self._forms[key] = step_form(self._bench, wished, run, seconds=seconds)
        return self._forms[key]


def _kind_of(wished: Wished, run: Run) -> str:
    """What is asked besides the number of rows, tokens and ranks: one of them, or several."""
    if wished.options is not None:
        wished = dataclasses.replace(wished, options=dataclasses.replace(wished.options, r=min(wished.options.r, 2)))
    return repr((wished, dataclasses.replace(run, batch=min(run.batch, 2), seq=min(run.seq, 2))))


def _lengths(config: Any, name: str = "") -> Iterator[int]:
    """The lengths that a config names, at any depth."""
    if isinstance(config, Mapping):
        for each, value in config.items():
            yield from _lengths(value, str(each))
    elif isinstance(config, (list, tuple)):
        for each in config:
            yield from _lengths(each, name)
    elif type(config) is int and _LENGTHS.search(name):
        yield config


_STEPS: weakref.WeakKeyDictionary[Workbench, Steps] = weakref.WeakKeyDictionary()


def steps_of(bench: Workbench) -> Steps:
    """The steps of the model on `bench`, with what was found out before."""
    if bench not in _STEPS:
        _STEPS[bench] = Steps(bench)
    return _STEPS[bench]
