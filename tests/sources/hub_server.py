"""A Hugging Face Hub on loopback, for the real client: the part of its protocol that reading a file takes.

    with HubServer() as hub:
        hub.add("owner/name", {"config.json": b"{}"})
        run_client(hub.environment(tmp_path), ...)      # HF_ENDPOINT, HF_HOME
        hub.paths                                       # what was asked for

The client reads its environment once, at import, so tests run it in a process of its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
import time
import urllib.parse
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Literal

Fault = Literal["limited", "limited-download", "broken", "slow", "cut", "cut-download", "drip", "no-hub", "forbidden"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RETRY_AFTER = "3600"


@dataclasses.dataclass(kw_only=True)
class Repo:
    """A repository: its files at every revision, who may read it, and what is wrong with its server."""

    files: Mapping[str, bytes]
    revisions: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False
    private: bool = False
    renamed_to: str | None = None
    on_cdn: bool = False
    fault: Fault | None = None


@dataclasses.dataclass(frozen=True)
class Asked:
    """A request that came in."""

    method: str
    path: str
    host: str
    authorization: str | None


class HubServer:
    """The server; `repos` may be changed while it runs, `asked` is its log."""

    def __init__(self, *, token: str = "hf_secretsecretsecret", patience: float = 30.0) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[Asked] = []
        self.token = token
        self.patience = patience
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def cdn(self) -> str:
        """The same server by another name: to the client it is another host, as the Hub's CDN is."""
        return f"http://localhost:{self._server.server_port}"

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def add(self, repo_id: str, files: Mapping[str, bytes], **how: object) -> Repo:
        repo = self.repos[repo_id] = Repo(files=files, **how)  # type: ignore[arg-type]
        return repo

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """The environment in which the client asks this server and keeps its cache in `home`."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("HF_") and not key.lower().endswith("_proxy")
        }
        asks = {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return {**kept, **asks, **more}

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.hub = hub
    return Handler


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log is `hub.asked`."""

    def _answer(self) -> None:
        asked = Asked(self.command, self.path, self.headers["Host"], self.headers.get("Authorization"))
        self.hub.asked.append(asked)
        head, found, tail = self.path.strip("/").partition("/resolve/")
        revision, _, name = tail.partition("/")
        if not found:
            self._send(404)
            return
        repo = self.hub.repos.get(head)
        if repo is not None and repo.fault is not None and self._fault(repo.fault):
            return
        self._resolve(repo, urllib.parse.unquote(revision), name)

    def _resolve(self, repo: Repo | None, revision: str, name: str) -> None:
        """What the Hub answers, in the order in which it looks."""
        knows_token = self.headers.get("Authorization") == f"Bearer {self.hub.token}"
        at_cdn = (self.headers["Host"] or "").startswith("localhost")
        if repo is None or (repo.private and not knows_token):
            self._refuse(404 if knows_token else 401, "RepoNotFound", "Repository not found")
            return
        if repo.gated and not knows_token:
            self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo", "Access is restricted")
            return
        if repo.renamed_to:
            self._send(307, {"Location": f"/{repo.renamed_to}/resolve/{revision}/{name}"})
            return
        commit = revision if revision in repo.revisions.values() else repo.revisions.get(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        if name not in repo.files:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        body = repo.files[name]
        etag = hashlib.sha256(body).hexdigest()
        if repo.on_cdn and not at_cdn:
            linked = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body))}
            self._send(302, {**linked, "Location": f"{self.hub.cdn}{self.path}"})
            return
        self._send(200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Content-Type": "text/plain"}, body)

    def _fault(self, fault: Fault) -> bool:
        """Play a fault; whether the request has been answered (or dropped) by that."""
        downloading = self.command == "GET"
        if fault == "limited" or (fault == "limited-download" and downloading):
            self._send(429, {"Retry-After": RETRY_AFTER})
        elif fault == "broken":
            self._send(500)
        elif fault == "forbidden":
            self._send(403)
        elif fault == "no-hub":
            self._send(200, {"Content-Type": "text/html"}, b"<html>A captive portal</html>")
        elif fault == "slow":
            self.hub.closing.wait(self.hub.patience)
        elif fault == "cut":
            self.close_connection = True
        elif fault in ("cut-download", "drip") and downloading:
            self._begin_only(drip=fault == "drip")
        else:
            return False
        return True

    def _begin_only(self, *, drip: bool) -> None:
        """Promise a file and send its beginning, then nothing or a byte now and then."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"model_type": ')
        deadline = time.monotonic() + (self.hub.patience if drip else 0)
        try:
            while time.monotonic() < deadline and not self.hub.closing.wait(0.2):
                self.wfile.write(b" ")
                self.wfile.flush()
        except OSError:
            pass  # the client has hung up
        self.close_connection = True

    def _refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._send(status, {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})

    def _send(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
