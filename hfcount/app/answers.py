"""From a state to results, as the plain dicts that JSON reports have: at once from the catalogue, and exactly.

What is exact builds models and loads torch: the page asks for it in a process of its own (`worker`).
"""

from __future__ import annotations

import atexit
import collections
import dataclasses
import functools
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hfcount.app.state import State
from hfcount.errors import BadInput
from hfcount.sources.source import Source

if TYPE_CHECKING:
    from hfcount.lora.options import LoraOptions
    from hfcount.memory_answer import Memory
    from hfcount.reports.schema import MemoryDocument
    from hfcount.result import Count
    from hfcount.workbench import Workbench

_Asked = ParamSpec("_Asked")
_Made = TypeVar("_Made")

HUB_SECONDS = 10.0
FRESH_SECONDS = 600.0
KEPT = 4
PASTED = "pasted config.json"
FIXED = ("model_type", "transformers_version", "_name_or_path")
"""Fields of a config that say what it is of: no setting."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What is known about a state, in plain values that pickle carries between processes.

    Attributes:
        count: as `hfcount MODEL --format json`.
        latex: the closed form of the total and of each component, by name; empty without a form.
        explanation: as `hfcount explain --format json`; None where no figure was asked or it cannot be read.
        figure_fault: why the figure cannot be read; "" where it can.
        built: whether the class itself was counted.
    """

    count: Mapping[str, Any]
    latex: Mapping[str, str]
    explanation: Mapping[str, Any] | None = None
    figure_fault: str = ""
    built: bool = False

    def same_figures(self, other: Answer) -> bool:
        """Whether both have the same totals, components and adapters."""
        return all(
            self.count["parameters"][name] == other.count["parameters"][name] for name in self.count["parameters"]
        ) and [each["trainable"] for each in self.count["lora"]] == [each["trainable"] for each in other.count["lora"]]


def source_of(state: State, *, with_token: bool = False) -> Source:
    """The description that the state names or carries; no file of this machine is read. BadInput or SourceError.

    Without `with_token` the Hub is asked as an anonymous visitor asks it, and the user's cache is not read.
    """
    if state.config:
        from hfcount.sources.config_json import parse_config

        config = parse_config(state.config.encode(), where="config.json")
        return Source(model=PASTED, kind="pasted", location="config.json", config=config)
    return _fetched(state.model, int(time.monotonic() / FRESH_SECONDS), with_token)


@functools.lru_cache(maxsize=64)
def _fetched(model: str, span: int, with_token: bool) -> Source:
    """The source of a card or a Hub id, kept for the `span` of time, so that a change of rank asks no network."""
    from hfcount.sources.cards import find_card, load_card
    from hfcount.sources.hub import load_hub

    if model.startswith("card:") or (not model.startswith("hf:") and find_card(model) is not None):
        return load_card(model.removeprefix("card:"))
    return load_hub(model.removeprefix("hf:"), timeout=HUB_SECONDS, own_cache=None if with_token else _own_cache())


@functools.cache
def _own_cache() -> str:
    """The folder of what anonymous requests fetch, removed when the program ends."""
    folder = tempfile.mkdtemp(prefix="hfcount-hub-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def fields(source: Source) -> list[str]:
    """The settings that are in force, "KEY=VALUE" each: what the config says in numbers, words, true, false and null.

    Of a config within the config (of text, of vision) the names are dotted, as `--set` has them.
    """
    found = []
    for name, value in source.config.items():
        inner = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
        found += [
            f"{key}={_said(each)}"
            for key, each in inner.items()
            if key.rsplit(".", 1)[-1] not in FIXED and _is_plain(each)
        ]
    return found


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) < 40)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def at_once(state: State, source: Source) -> Answer | None:
    """The catalogue's answer, without torch; None where it has none and the class itself must be built."""
    from hfcount.fast import NotCovered, fast_count

    try:
        return _answer(fast_count(source, state.setting_lines, state.adapters()), state)
    except NotCovered:
        return None


def exactly(state: State, source: Source) -> Answer:
    """The count of the class itself, built empty, with PEFT's own adapters."""
    return _answer(_counted(state, source), state)


def _counted(state: State, source: Source) -> Count:
    return _count_of(source, state.setting_lines, state.adapters())


def _kept(make: Callable[_Asked, _Made]) -> Callable[_Asked, _Made]:
    """`make` that, asked the same again, gives what it gave: another batch then builds nothing anew.

    `functools.lru_cache` does so for what can be hashed, and a config cannot. The last KEPT answers are kept.
    """
    last: collections.deque[tuple[Any, _Made]] = collections.deque(maxlen=KEPT)

    @functools.wraps(make)
    def given(*asked: _Asked.args, **named: _Asked.kwargs) -> _Made:
        for known, made in last:
            if known == (asked, named):
                return made
        last.append(((asked, named), make(*asked, **named)))
        return last[-1][1]

    return given


@_kept
def _count_of(source: Source, settings: tuple[str, ...], adapters: list[LoraOptions]) -> Count:
    from hfcount.api import count_source

    return count_source(source, settings, adapters)


@_kept
def _bench(source: Source, settings: tuple[str, ...]) -> Workbench:
    from hfcount.workbench import Workbench

    return Workbench(source, settings)


def _answer(found: Count, state: State) -> Answer:
    from hfcount.reports.document import count_document

    explanation, fault = _explained(found, state.figure)
    return Answer(
        count=count_document(found),
        latex=_latex(found),
        explanation=explanation,
        figure_fault=fault,
        built=found.built,
    )


def _latex(found: Count) -> dict[str, str]:
    from hfcount.formulas.latex import to_latex

    if found.form is None:
        return {}
    texts = {each.component: each.formula for each in found.components if each.formula}
    return {name: to_latex(text) for name, text in {"total": found.form.text, **texts}.items()}


def _explained(found: Count, figure: str) -> tuple[Mapping[str, Any] | None, str]:
    if not figure:
        return None, ""
    from hfcount.conventions import Subject, explain
    from hfcount.reports.document import explanation_document

    subject = Subject(parts=found.parts, sizes=found.sizes, config=found.config, model=found.model)
    try:
        return explanation_document(found, explain(figure, found.conventions, subject)), ""
    except BadInput as error:
        return None, str(error)


def budgets(state: State, source: Source) -> MemoryDocument:
    """The training budget as `hfcount memory --format json` has it."""
    from hfcount.budget.gpus import gpu
    from hfcount.fitting import fits
    from hfcount.reports.memory import memory_document

    found = _memory(state, source)
    return memory_document(found, fits(found, [gpu(each) for each in state.gpus]) if state.gpus else ())


def _memory(state: State, source: Source) -> Memory:
    from hfcount.budgeting import Asked, Way
    from hfcount.records import kept
    from hfcount.simulating import memory_of

    way = Way(
        batch=state.batch,
        seq=state.seq,
        precision=state.precision,
        optimizer=state.optimizer,
        gradient_checkpointing=state.checkpointing,
        double_quant=state.double_quant,
    )
    asked = Asked.of(("full", "lora", "qlora"), state.rank_values, state.targets, state.setting_lines)
    bench = _bench(source, state.setting_lines)
    with kept(source, state.setting_lines) as bench.record:
        return memory_of(bench, way, asked)


def as_json(state: State, source: Source) -> bytes:
    """`hfcount MODEL --format json` with the budget as its "memory", or why there is none as its "memory_reason"."""
    reason = memory = None
    try:
        memory = budgets(state, source)
    except BadInput as error:
        reason = str(error)
    from hfcount.reports.document import to_json

    document = {**exactly(state, source).count, "memory": memory, "memory_reason": reason}
    return to_json(document).encode()


def as_csv(state: State, source: Source) -> bytes:
    """`hfcount MODEL --format csv`: a row a component."""
    from hfcount.reports.csv import count_csv

    return count_csv(_counted(state, source)).encode()


def as_png(state: State, source: Source) -> bytes:
    """`hfcount MODEL --plot`: where the parameters lie, by layer and component."""
    from hfcount.reports.figures import distribution

    found = _counted(state, source)
    buffer = io.BytesIO()
    distribution(found.parts, title=found.model).savefig(buffer, dpi=150, format="png", bbox_inches="tight")
    return buffer.getvalue()


def as_html(state: State, source: Source) -> bytes:
    """`hfcount MODEL --output report.html`: one file to share, with the budget."""
    from hfcount.reports.html import count_page

    memory, reason = None, ""
    try:
        memory = _memory(state, source)
    except BadInput as error:
        reason = str(error)
    return count_page(_counted(state, source), memory, without_memory=reason).encode()


FILES: dict[str, Callable[[State, Source], bytes]] = {"json": as_json, "csv": as_csv, "png": as_png, "html": as_html}
"""What can be downloaded, by suffix."""


def file_of(suffix: str, state: State, source: Source) -> bytes:
    """The file of the results that ends in `suffix`, with exact figures."""
    return FILES[suffix](state, source)
