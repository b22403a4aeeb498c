"""The steps of one model: each kind of training is traced once, and every batch, sequence and rank of it follows."""

from __future__ import annotations

import bisect
import dataclasses
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hfcount.deadline import Overdue, TimeIsUp, uncounted
from hfcount.errors import HfcountError, one_line
from hfcount.limits import BUILD_BYTES
from hfcount.records import key_of
from hfcount.simulation.form import StepForm
from hfcount.simulation.peak import Simulation
from hfcount.simulation.plan import NotSimulated, Run, Wished, values_of
from hfcount.simulation.sizes import TOKENS
from hfcount.workbench import Workbench

_LENGTHS = re.compile(r"window|chunk|block|stride|length|position|seq", re.IGNORECASE)
"""Fields of a config that may hold a length at which a form ends."""


class Steps:
    """The steps of the model on a bench, by their forms, which go into the bench's record.

    A form holds between the lengths that the config names (a window, say); beyond one of them there is another.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = weakref.proxy(bench)
        self._lengths: list[int] = bench.record.answer("lengths", lambda: _lengths(bench.loaded.config.to_dict()))
        self._forms: dict[str, StepForm | None] = {}

    def at(self, wished: Wished, run: Run, *, whole: bool = False, seconds: float | None = None) -> Simulation:
        """Return the step, by its form where it has one; `whole` asks for every layer, and so for the curve.

        Raises NotSimulated; TimeIsUp after `seconds`; BadInput for what no step can be.
        """
        begun = time.monotonic()

        def run_now() -> Simulation:
            return _engine().simulate(self._bench, wished, run, whole=whole, seconds=seconds)

        if whole:
            return _outcome(_tried(run_now))
        form = self.form(wished, run, seconds=seconds)
        if form is None:
            found = Simulation.of(self._answer(f"step {key_of(wished)} {key_of(run)}", lambda: run_now().document()))
        else:
            found = form.at(values_of(wished, run))
        return dataclasses.replace(found, seconds=time.monotonic() - begun)

    def form(self, wished: Wished, run: Run, *, seconds: float | None = None) -> StepForm | None:
        """Return the closed form that holds for this step; None where its traces do not agree. Raises as `at` does.

        Buffers that span layers have every layer traced, which is done for the values that are asked alone.
        """
        if run.sharding is not None and not run.sharding.by_layer:
            return None

        def trace() -> dict[str, Any] | None:
            found = _engine().step_form(self._bench, wished, run, seconds=seconds)
            return None if found is None else found.document()

        interval = bisect.bisect_left(self._lengths, values_of(wished, run)[TOKENS])
        question = f"form {interval} {_kind_of(wished, run)}"
        if question not in self._forms:
            document = self._answer(question, trace)
            self._forms[question] = None if document is None else StepForm.of(document)
        return self._forms[question]

    def _answer(self, question: str, find: Callable[[], Any]) -> Any:
        """Return what the bench's record has, or NotSimulated where it has a fault."""
        return _outcome(self._bench.record.answer(question, lambda: _tried(find)))


def _engine() -> Any:
    """The simulation, which needs torch."""
    with uncounted():  # importing it takes seconds, and is no fault of the model
        from hfcount.simulation import simulate
    return simulate


def _tried(find: Callable[[], Any]) -> dict[str, Any]:
    """What `find` gives, as "found"; or as "fault" what stops it each time. Other errors are raised."""
    try:
        return {"found": find()}
    except HfcountError:
        raise
    except Exception as error:  # what torch and the models raise for what has no fake form
        if _is_out_of_memory(error):
            raise NotSimulated(why(error)) from error
        return {"fault": why(error)}


def _outcome(tried: Mapping[str, Any]) -> Any:
    if "fault" in tried:
        raise NotSimulated(tried["fault"])
    return tried["found"]


def why(error: BaseException) -> str:
    """What stopped a simulation, with the operator where torch names it, on one line."""
    if isinstance(error, NotSimulated):
        return str(error)
    if isinstance(error, (TimeIsUp, Overdue)):
        return str(TimeIsUp())
    if _is_out_of_memory(error):
        return f"the step cannot be simulated: it would really take more than {BUILD_BYTES // 2**30} GiB"
    operator = getattr(error, "func", None)
    if operator is None:
        return f"the step cannot be simulated: {one_line(error)}"
    asks = type(error).__name__ in ("DataDependentOutputException", "DynamicOutputShapeException")
    what = "asks for a value that only weights decide" if asks else "has no fake form"
    return f"the step cannot be simulated: operator {operator} {what}"


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "not enough memory" in str(error)


def _kind_of(wished: Wished, run: Run) -> str:
    """What is asked besides the number of rows, tokens and ranks: one of them, or several."""
    if wished.options is not None:
        wished = dataclasses.replace(wished, options=dataclasses.replace(wished.options, r=min(wished.options.r, 2)))
    return f"{key_of(wished)} {key_of(dataclasses.replace(run, batch=min(run.batch, 2), seq=min(run.seq, 2)))}"


def _lengths(config: Mapping[str, Any]) -> list[int]:
    """The lengths that a config names, at any depth, from the smallest on."""
    return sorted(set(_lengths_in(config)))


def _lengths_in(config: Any, name: str = "") -> Iterator[int]:
    if isinstance(config, Mapping):
        for each, value in config.items():
            yield from _lengths_in(value, str(each))
    elif isinstance(config, (list, tuple)):
        for each in config:
            yield from _lengths_in(each, name)
    elif type(config) is int and _LENGTHS.search(name):
        yield config


_STEPS: weakref.WeakKeyDictionary[Workbench, Steps] = weakref.WeakKeyDictionary()


def steps_of(bench: Workbench) -> Steps:
    """The steps of the model on `bench`, with what was found out before."""
    if bench not in _STEPS:
        _STEPS[bench] = Steps(bench)
    return _STEPS[bench]
