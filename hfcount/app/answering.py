"""What happens when something on the page changes: from its inputs to what it shows."""

from __future__ import annotations

import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from hfcount.app import answers, views
from hfcount.app.answers import Answer
from hfcount.app.latest import Latest
from hfcount.app.link import from_query, to_query
from hfcount.app.state import NAMES, State, state_of
from hfcount.app.turns import Workers
from hfcount.errors import HfcountError

SHOWN = (
    "message", "headline", "status", "chart", "explanation", "equations", "conventions", "lora", "budget", "remarks",
)  # fmt: skip
"""The parts of the page that an answer fills, in the order of the outputs."""

QUIET_SECONDS = 0.3
"""A model is built when nothing has changed for so long: not for every letter that is typed."""

_FOLLOWS = "from the catalogue of verified closed forms; the class itself is being built empty and counted …"
_BUILDING = "the catalogue has no form for this; the class itself is being built empty and counted …"
_COUNTING = '<p class="dim">being worked out …</p>'


class Answering:
    """The page's answers; `workers` build the models, a question at a time for each visitor."""

    def __init__(self, workers: Workers, *, with_token: bool = False) -> None:
        self.workers = workers
        self.source_of = functools.partial(answers.source_of, with_token=with_token)
        self._latest = Latest()
        self.files = tempfile.TemporaryDirectory(prefix="hfcount-")  # until the page is closed

    def at_once(self, request: gr.Request, *values: Any) -> list[Any]:
        """The catalogue's answer, and the query of the link; or the message, and everything else as it was."""
        try:
            state = state_of(values)
            found = answers.at_once(state, self.source_of(state))
        except HfcountError as error:
            self._latest.note(_session(request), None)
            return [*shown(message=views.message(str(error))), gr.skip()]
        self._latest.note(_session(request), state)
        query = to_query(state) or ""
        if found is None:
            return [*shown(message="", status=views.status(_BUILDING, "wait")), query]
        return [*shown(message="", status=views.status(_FOLLOWS, "wait"), **_parts(found)), query]

    def exactly(self, request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        """The count of the class itself, then the budget; nothing where something else has been asked since."""
        session = _session(request)
        try:
            state = state_of(values)
        except HfcountError:  # at_once has said what is wrong
            yield shown()
            return
        try:
            if self._outdated(session, state):
                yield shown()  # all as it is: Gradio takes it for None where nothing is answered
                return
            source = self.source_of(state)
            found = self.workers.ask(session, answers.exactly, state, source)
            if not self._latest.is_it(session, state):
                yield shown()
                return
            verdict = views.status(_verdict(found, answers.at_once(state, source)), "good")
            yield shown(status=verdict, **_parts(found))  # the message is at_once's: it may be of newer input
            budget = self.workers.ask(session, answers.budgets, state, source)
            if self._latest.is_it(session, state):
                yield shown(budget=views.budget(budget, found.count["notes"]))
        except HfcountError as error:
            if self._latest.is_it(session, state):
                yield shown(message=views.message(str(error)), status="")

    def _outdated(self, session: str, state: State) -> bool:
        """Whether something else is asked, now or within the time for which a visitor who types is waited for."""
        if self._latest.is_it(session, state):
            time.sleep(QUIET_SECONDS)
        return not self._latest.is_it(session, state)


def _session(request: gr.Request) -> str:
    return request.session_hash or ""


def shown(**parts: str) -> list[Any]:
    """The outputs of an event, those that are not given as they were."""
    assert set(parts) <= set(SHOWN)
    return [parts.get(name, gr.skip()) for name in SHOWN]


def _parts(found: Answer) -> dict[str, str]:
    return {
        "headline": views.headline(found),
        "chart": views.chart(found),
        "explanation": views.explanation(found),
        "equations": views.equations(found),
        "conventions": views.conventions(found),
        "lora": views.lora(found),
        "remarks": views.remarks(found),
    }


def _verdict(found: Answer, before: Answer | None) -> str:
    """What the exact count is, beside what was shown before it."""
    counted = f"counted on {found.count['model_class']} itself, built empty"
    if before is None:
        return counted
    if found.same_figures(before):
        return f"{counted}: equal to the catalogue's figures"
    return f"{counted}; the catalogue's figures differed and are replaced: please report it"


def restored(query: str | None) -> list[Any]:
    """The inputs as a link has them, and what is wrong with it; then they are those of the page as it opens."""
    fault = ""
    try:
        state = from_query(query or "")
    except HfcountError as error:
        state, fault = State(), f"this link cannot be used: {error}"
    values = [getattr(state, name) for name in NAMES]
    return [*(list(each) if isinstance(each, tuple) else each for each in values), views.message(fault)]


def loaded_config(*values: Any, with_token: bool = False) -> list[Any]:
    """The model's config.json for the box, and the message where there is none."""
    try:
        state = state_of(values)
        source = answers.source_of(state, with_token=with_token)
    except HfcountError as error:
        return [gr.skip(), views.message(str(error))]
    return [json.dumps(source.config, indent=2, ensure_ascii=False), ""]


def known_fields(*values: Any, with_token: bool = False) -> Any:
    """The fields of the model's config to choose from; none where there is no config, which another event says."""
    try:
        state = state_of(values)
        found = answers.fields(answers.source_of(state, with_token=with_token))
    except HfcountError:
        found = []
    return gr.update(choices=[(each.replace("=", " = ", 1), each) for each in found], value=None)


def chosen_field(field: str | None, settings: str) -> list[Any]:
    """The settings with a line for the field that was picked, and the list ready for the next."""
    if not field:
        return [gr.skip(), gr.skip()]
    lines = [line for line in (settings or "").splitlines() if line.strip()]
    names = {line.partition("=")[0].strip() for line in lines}
    if field.partition("=")[0] not in names:
        lines.append(field)
    return ["\n".join(lines), None]


def downloaded(answering: Answering, suffix: str) -> Callable[..., list[Any]]:
    """The event that makes the file of the results that ends in `suffix`."""

    def make(request: gr.Request, *values: Any) -> list[Any]:
        try:
            state = state_of(values)
            data = answering.workers.ask(_session(request), answers.file_of, suffix, state, answering.source_of(state))
        except HfcountError as error:
            return [None, views.message(str(error))]
        folder = Path(tempfile.mkdtemp(dir=answering.files.name))
        path = folder / f"{_file_name(state)}.{suffix}"
        path.write_bytes(data)
        return [str(path), ""]

    return make


def _file_name(state: State) -> str:
    return "config" if state.config else state.model.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
