"""What a visitor of the page gets: nothing that is the owner's, and a turn of his own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sources.hub_server import HubServer

from hfcount.app.hosts import OwnHostOnly
from hfcount.app.turns import MAX_WAITING, Workers
from hfcount.errors import BadInput
from hfcount.limits import guarded_build

ASK = """
import sys
from hfcount.app.answers import source_of
from hfcount.app.state import State
from hfcount.errors import HfcountError
from hfcount.sources.hub import load_hub
load_hub("lab/private")  # the owner has it in the cache now
for with_token in (False, True):
    try:
        print(source_of(State(model="lab/private"), with_token=with_token).model)
    except HfcountError as error:
        print(type(error).__name__)
"""


def test_a_private_repository_is_the_owners(tmp_path: Path) -> None:
    with HubServer() as hub:
        hub.add("lab/private", {"config.json": b'{"model_type": "gpt2"}'}, private=True)
        environment = hub.environment(tmp_path, HF_TOKEN=hub.token)
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False
        )
    assert done.stdout.split() == ["NotFoundError", "lab/private"], done.stderr


class Builder:
    """A worker whose questions are callables."""

    def ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


def test_slow_questions_of_one_visitor_leave_the_others_theirs() -> None:
    workers, gate, order = Workers(Builder), threading.Event(), []
    begun = threading.Event()

    def slow() -> None:
        begun.set()
        gate.wait(60)
        order.append("slow")

    def ask() -> None:
        try:
            workers.ask("one", slow)
        except BadInput as error:
            order.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    assert begun.wait(60)
    workers.ask("other", order.append, "other")  # while all of them wait
    assert "slow" not in order
    gate.set()
    for each in threads:
        each.join(60)
    refused = [each for each in order if f"{MAX_WAITING} questions of yours wait already" in each]
    assert order.count("slow") + len(refused) == 8
    assert refused
    assert order.index("other") < order.index("slow")


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("127.0.0.1:7860", None, True),
        ("localhost:7860", "http://localhost:7860", True),
        ("[::1]:7860", None, True),
        ("evil.example:7860", "http://evil.example:7860", False),
        ("127.0.0.1.evil.example", None, False),
        ("localhost:7860", "http://evil.example", False),
        ("localhost:7860", "null", False),
        ("localhost:7860", "http://localhost:9999", False),
    ],
)
def test_other_sites_are_refused(host: str, origin: str | None, passes: bool) -> None:
    reached: list[bool] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        reached.append(True)

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    headers = [(b"Host", host.encode())] + ([(b"Origin", origin.encode())] if origin else [])
    asyncio.run(OwnHostOnly(page)({"type": "http", "headers": headers}, None, send))
    assert bool(reached) is passes
    assert [each.get("status") for each in sent[:1]] == ([] if passes else [403])


def lose_no_outer_limit() -> None:
    with guarded_build("outer", seconds=0.2):
        with guarded_build("inner", seconds=30):
            pass
        threading.Event().wait(20)


def test_a_limit_within_a_limit_leaves_the_outer_one() -> None:
    with pytest.raises(BadInput, match="outer"):
        lose_no_outer_limit()
