"""`--timeout` bounds the work on an answer: told by a clock of ours, which moves when the test says so."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from sources.headers.header_files import entry, gguf_file, gguf_tensor, safetensors_file

from hfcount import configs, deadline, inventory
from hfcount.api import count, formula
from hfcount.auditing.claimed.text import claims_in_text
from hfcount.auditing.one import Reach, audit_target
from hfcount.auditing.targets import Target
from hfcount.cli.app import run
from hfcount.costing import memory
from hfcount.deadline import Overdue, check_deadline, in_time, time_left, uncounted
from hfcount.errors import BadInput
from hfcount.formulas.tracing import search
from hfcount.limits import guarded_build
from hfcount.simulation import step
from hfcount.sources.claims import front_matter
from hfcount.sources.headers import InMemory, read_gguf, read_safetensors, read_torch
from hfcount.sources.headers.sharded import read_index
from hfcount.sources.headers.unpacking import unpack

MANY = 1_000
MESSAGE = "took more than 10 s; check its sizes, or give more with --timeout"
LONG = "took more than 1000 s; check its sizes, or give more with --timeout"
"""Where a model is built: a timer runs as well, which looks at the clock of the machine."""


class Clock:
    """Stands still until it is moved; asked `asked` times so far, and each time `each` seconds later."""

    def __init__(self) -> None:
        self.now, self.asked, self.each = 1000.0, 0, 0.0

    def __call__(self) -> float:
        self.asked += 1
        self.now += self.each
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(deadline, "clock", found)
    return found


def test_the_nearer_deadline_counts_and_none_changes_nothing(clock: Clock) -> None:
    with deadline.deadline(10, "outer"), deadline.deadline(60, "inner"), deadline.deadline(None, "nobody"):
        clock.now += 10.5
        with pytest.raises(Overdue, match=f"^outer: {MESSAGE}$"):
            check_deadline()
    with deadline.deadline(None, "nobody"):
        assert time_left() is None
        check_deadline()


def test_what_has_a_limit_of_its_own_does_not_count(clock: Clock) -> None:
    with deadline.deadline(10, "lab/model"):
        with uncounted():
            clock.now += 100
            with uncounted():
                clock.now += 100
        check_deadline()
        assert time_left() == (10, 10)
        clock.now += 11
        with pytest.raises(Overdue):
            list(in_time([1, 2]))


def test_a_thread_has_the_deadline_that_it_sets(clock: Clock) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with deadline.deadline(10, "lab/model"), guarded_build("lab/model"):
                clock.now += 11  # no timer reaches a thread
        except BadInput as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert [str(each) for each in errors] == [f"lab/model: {MESSAGE}"]


def test_the_timer_of_a_build_is_that_of_the_deadline(clock: Clock) -> None:
    for seconds, own, expected in ((100, None, 100), (5, None, 5), (5, 20, 5), (100, 20, 20)):
        with deadline.deadline(seconds, "lab/model"), guarded_build("lab/model", seconds=own):
            assert expected - 1 < signal.getitimer(signal.ITIMER_REAL)[0] <= expected


# --- headers and cards ---------------------------------------------------------------------------------


def tensors_file() -> bytes:
    return safetensors_file({f"w{n}": entry([1], 4 * n, 4 * n + 4) for n in range(MANY)}, 4 * MANY)


def torch_file(new: bool) -> bytes:
    written = io.BytesIO()
    tensors = {f"w{n}": torch.zeros(1) for n in range(MANY)}
    torch.save(tensors, written, _use_new_zipfile_serialization=new)
    return written.getvalue()


def many_of_gguf() -> bytes:
    return gguf_file([], [gguf_tensor(f"w{n}", [8], 0, 32 * n) for n in range(MANY)], 32 * MANY)


def index_file() -> bytes:
    return json.dumps({"weight_map": {f"w{n}": "a.safetensors" for n in range(MANY)}}).encode()


WORK: dict[str, Callable[[], Callable[[], object]]] = {
    "safetensors": lambda: _reading(read_safetensors, tensors_file()),
    "gguf": lambda: _reading(read_gguf, many_of_gguf()),
    "torch": lambda: _reading(read_torch, torch_file(True)),
    "torch before 1.6": lambda: _reading(read_torch, torch_file(False)),
    "index": lambda: _reading(read_index, index_file()),
    "unpacking": lambda: _unpacking(tensors_file()),
    "front matter": lambda: lambda: front_matter("---\n" + "- a\n" * MANY + "---\n"),
    "text": lambda: lambda: claims_in_text("a\n\n" * MANY, "lab/model"),
}


def _reading(read: Callable[[Any], object], data: bytes) -> Callable[[], object]:
    return lambda: read(InMemory(data, "file"))


def _unpacking(data: bytes) -> Callable[[], object]:
    header = read_safetensors(InMemory(data, "file"))
    return lambda: unpack(header)


@pytest.mark.parametrize("kind", WORK)
def test_reading_asks_the_clock_at_each_piece(kind: str, clock: Clock) -> None:
    work = WORK[kind]()
    with deadline.deadline(10, "lab/model"), contextlib.suppress(BadInput):
        work()
    assert clock.asked > MANY / 2
    clock.each = 1.0
    with deadline.deadline(10, "lab/model"):
        asked = clock.asked
        with pytest.raises(Overdue, match=f"lab/model: {MESSAGE}"):
            work()
    assert clock.asked - asked < 20


def test_a_header_that_takes_too_long_is_a_finding(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(tensors_file())
    (tmp_path / "README.md").write_text("A model with 7B parameters.")
    clock.each = 0.05
    found = audit_target(Target(id=str(tmp_path), folder=str(tmp_path)), Reach(timeout=10))
    (fault,) = [each for each in found if each.verdict == "error"]
    assert (fault.claim, fault.kind) == ("model.safetensors", "header") or "took more than 10 s" in fault.explanation
    assert "took more than 10 s; check its sizes, or give more with --timeout" in fault.explanation
    assert "7B parameters" in [each.claim for each in found] or any("7B" in each.claim for each in found)


# --- configs, models, forms and steps ------------------------------------------------------------------


@pytest.fixture
def slow_config(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config class that takes 1,100 seconds."""
    before = transformers.GPT2Config.from_dict.__func__

    def from_dict(cls: Any, *args: Any, **how: Any) -> Any:
        clock.now += 1100
        return before(cls, *args, **how)

    monkeypatch.setattr(transformers.GPT2Config, "from_dict", classmethod(from_dict))


@pytest.mark.usefixtures("slow_config")
@pytest.mark.parametrize("answer", [count, formula, memory], ids=lambda each: each.__name__)
def test_building_the_config_object_counts(answer: Callable[..., Any]) -> None:
    with pytest.raises(BadInput, match=f"^openai-community/gpt2: {LONG}$"):
        answer("gpt2", timeout=1000)


@pytest.mark.usefixtures("slow_config")
def test_the_command_is_one_line_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gpt2", "--timeout", "1000"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "hfcount: openai-community/gpt2: took more than 1000 s; check its sizes, or give more with --timeout"
    ]


def test_importing_a_library_does_not_count(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = configs.config_class_for

    def slowly(*args: Any, **how: Any) -> Any:
        clock.now += 10_000
        return found(*args, **how)

    monkeypatch.setattr(configs, "config_class_for", slowly)
    assert count("gpt2", timeout=1000).sizes.total == 124_439_808


def test_a_long_inventory_counts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    found = inventory.place_of

    def slowly(*args: Any) -> Any:
        clock.now += 100
        return found(*args)

    monkeypatch.setattr(inventory, "place_of", slowly)
    with pytest.raises(BadInput, match=LONG):
        count("gpt2", timeout=1000)


def test_tracing_a_form_counts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each config that a form is held against builds a model; the one after the time is over is not built."""
    monkeypatch.setattr("hfcount.formulas.catalogue.find", lambda *_: None)
    monkeypatch.setenv("HFCOUNT_CACHE", "/dev/null/none")
    held = search._held
    turns: list[int] = []

    def slowly(*args: Any) -> Any:
        turns.append(1)
        clock.now += 400
        return held(*args)

    monkeypatch.setattr(search, "_held", slowly)
    with pytest.raises(BadInput, match=f"gpt2: {LONG}"):
        formula("gpt2", settings={"n_layer": 2, "n_embd": 12, "n_head": 2, "vocab_size": 16}, timeout=1000)
    assert len(turns) == 3


@pytest.fixture
def small(tmp_path: Path) -> str:
    config = transformers.GPT2Config(vocab_size=96, n_positions=16, n_embd=32, n_layer=2, n_head=4)
    config.architectures = ["GPT2LMHeadModel"]
    config.save_pretrained(tmp_path)
    return str(tmp_path)


@pytest.mark.parametrize("phase", ["forward", "backward"])
def test_a_simulated_step_ends_on_the_way(
    phase: str, clock: Clock, small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the backward pass too, which enters no module: no phase follows, and the closed form stays."""
    entered: list[str] = []

    def told(ledger: Any, _: Any) -> Callable[[str], None]:
        def enter(name: str) -> None:
            ledger.phase = name
            entered.append(name)
            clock.now += 1100 * (name == phase)

        return enter

    monkeypatch.setattr(step, "_enterer", told)
    found = memory(small, method="simulated", seq=8, regimes=("full",), timeout=1000)
    assert entered[-1] == phase
    assert found.budgets[0].method == "closed-form"
    assert "full: no peak, since the simulated step ran past its time limit" in found.notes
