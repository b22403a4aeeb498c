"""A sealed thread reaches nothing outside it, whatever is tried; the others are as free as before."""

from __future__ import annotations

import io
import json
import pickle
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from sources.hub_server import HubServer
from transformers.dynamic_module_utils import get_class_in_module

from hfcount.limits import guarded_build
from hfcount.sealed import is_own_code, sealed


@pytest.fixture
def listening() -> socket.socket:
    """A server on loopback that counts nobody: whoever connects waits in its queue."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    return server


def reached(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


def test_no_connection(listening: socket.socket) -> None:
    host, port = listening.getsockname()
    for ask in (
        lambda: socket.create_connection((host, port), timeout=5),
        lambda: urllib.request.urlopen(f"http://{host}:{port}/", timeout=5),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (host, port)),
        lambda: socket.getaddrinfo("localhost", port),
        lambda: socket.gethostbyname("localhost"),
    ):
        with sealed(), pytest.raises(OSError, match="the network is shut"):
            ask()
    assert not reached(listening)
    socket.create_connection((host, port), timeout=5).close()
    assert reached(listening)


def test_other_threads_are_free(listening: socket.socket) -> None:
    """A server's threads go on answering while one of them builds."""
    with sealed():
        other = threading.Thread(target=lambda: socket.create_connection(listening.getsockname()).close())
        other.start()
        other.join()
    assert reached(listening)


def test_guards_inside_each_other(listening: socket.socket) -> None:
    with guarded_build("lab/model"):
        with guarded_build("lab/model", own_code=True):
            pass
        with pytest.raises(OSError, match="shut"), sealed(own_code=True):
            socket.create_connection(listening.getsockname())
    socket.create_connection(listening.getsockname()).close()


def test_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a repository whose code is trusted: transformers asks with `input`."""
    answers = io.StringIO("y\ny\n")
    monkeypatch.setattr(sys, "stdin", answers)
    for own_code in (False, True):
        with pytest.raises(EOFError), sealed(own_code=own_code):
            input()
    assert answers.tell() == 0
    assert input() == "y"


def test_no_pickle() -> None:
    data = pickle.dumps(threading.Thread)  # a class, to be found by its name
    for load in (lambda: pickle.loads(data), lambda: pickle.Unpickler(io.BytesIO(data)).load()):
        with pytest.raises(pickle.UnpicklingError), sealed():
            load()
        assert load() is threading.Thread


def test_no_code_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even what lies in transformers' cache of modules since it was trusted once."""
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path))
    path = "transformers_modules/lab/own.py"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Own:\n    pass\n")
    with pytest.raises(OSError, match="--trust-remote-code"), sealed():
        get_class_in_module("Own", path)
    assert not (tmp_path / "ran").exists()
    with sealed(own_code=True):
        found = get_class_in_module("Own", path)
    assert (tmp_path / "ran").exists()
    assert is_own_code(found)
    assert not is_own_code(HfApi)


def hub_offline(act: Callable[[], object]) -> object:
    with sealed():
        return act()


def test_the_hub_is_offline_on_a_sealed_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert hub_offline(constants.is_offline_mode)
    assert not hub_offline(lambda: HfApi().repo_exists("lab/model"))
    assert not constants.is_offline_mode()


BACKBONES = {
    "lab/plain": {"model_type": "mask2former", "backbone": "resnet50", "use_timm_backbone": True},
    "lab/elsewhere": {"model_type": "detr", "backbone": "lab/other", "use_timm_backbone": False},
    "lab/scheme": {"model_type": "timm_wrapper", "architecture": "hf-hub:lab/other"},
    "lab/inside": {"model_type": "upernet", "backbone_config": {"model_type": "dpt", "backbone": "other"}},
    "lab/code": {
        "model_type": "llava",
        "text_config": {"model_type": "own", "auto_map": {"AutoConfig": "lab/other--configuration.Own"}},
    },
}


def test_the_hub_is_asked_for_what_was_typed_alone(tmp_path: Path) -> None:
    """One process that keeps its connections open, with a token; the server names each repository it was asked for."""
    code = "import sys\nfrom hfcount.cli.app import run\nprint([run(line.split()) for line in sys.argv[1:]])"
    lines = [*BACKBONES, "lab/plain --fast", "lab/code --fast", "lab/plain --offline", "lab/elsewhere --offline"]
    with HubServer() as hub:
        for name, config in BACKBONES.items():
            hub.add(name, {"config.json": json.dumps(config).encode()})
        hub.add("lab/other", {"config.json": b'{"model_type": "resnet"}', "configuration.py": b"raise SystemExit(9)"})
        hub.add("other", {"config.json": b'{"model_type": "resnet"}'})
        done = subprocess.run(
            [sys.executable, "-c", code, *lines],
            input="y\n" * 100, capture_output=True, text=True, check=False, timeout=300,
            env=hub.environment(tmp_path, HF_TOKEN=hub.token),
        )  # fmt: skip
        assert (done.stdout, done.returncode) == (f"{[2] * len(lines)}\n", 0), done.stdout + done.stderr
        strangers = [path for path in hub.paths if not any(f"/{name}/" in f"{path}/" for name in BACKBONES)]
    assert strangers == []
    assert hub.connections >= 1
    assert "a fault in hfcount" not in done.stderr
