"""A Hugging Face Hub on loopback, for the real client: files, lists of models, and what can go wrong with them.

    with HubServer() as hub:
        hub.add("owner/name", {"config.json": b"{}"})
        hub.add("owner/flaky", files, troubles={"config.json": Trouble("broken", times=1)})
        run_client(hub.environment(tmp_path), ...)      # HF_ENDPOINT, HF_HOME
        hub.paths                                       # what was asked for

The client reads its environment once, at import, so tests run it in a process of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

from sources.hub_repos import COMMIT, RETRY_AFTER, AnswerFault, Asked, Fault, Repo, Sparse, Trouble

__all__ = ["COMMIT", "RETRY_AFTER", "SIGNATURE", "HubServer", "Repo", "Sparse", "Trouble"]

SIGNATURE = "signature-of-the-cdn"
CHUNK = 64 * 1024
MOST = 64 * 2**20  # bytes of a body that does not end: a client that takes them all fails, and the test ends


class HubServer:
    """The server; `repos` may be changed while it runs, `asked` is its log."""

    def __init__(self, *, token: str = "hf_secretsecretsecret", patience: float = 30.0) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[Asked] = []
        self.token = token
        self.patience = patience
        self.page_size = 1000
        self.sent: Counter[str] = Counter()  # bytes of bodies, by the name of the file
        self.connections = 0
        self.echoes = False  # whether refusals repeat the token, in their headers and bodies
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
    trouble: Trouble | None = None

    def setup(self) -> None:
        self.hub.connections += 1
        super().setup()

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log is `hub.asked`."""

    def _answer(self) -> None:
        self.trouble = None
        headers = self.headers
        asked = Asked(
            self.command, self.path, headers["Host"], headers["Authorization"], headers["Range"], time.monotonic()
        )
        self.hub.asked.append(asked)
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path == "/api/models":
            self._list()
        elif path.startswith("/api/models/"):
            repo_id, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            self._play(repo_id, revision or "main", "api")
        elif "/resolve/" in path:
            repo_id = path.strip("/").partition("/resolve/")[0]
            quoted, _, name = self.path.partition("/resolve/")[2].partition("?")[0].partition("/")
            self._play(repo_id, urllib.parse.unquote(quoted), urllib.parse.unquote(name))
        else:
            self._send(404)

    def _play(self, repo_id: str, revision: str, name: str) -> None:
        """Answer for one repository: its faults, then what there is."""
        repo = self.hub.repos.get(repo_id)
        if repo is not None and repo.fault is not None and self._fault(repo.fault):
            return
        if repo is not None and self.command == "GET" and (self._at_cdn or not repo.on_cdn):
            self.trouble = self._due(repo.troubles.get(name))
        if self.trouble is None or not self._spoil(self.trouble):
            self._resolve(repo, revision, name)

    @staticmethod
    def _due(trouble: Trouble | None) -> Trouble | None:
        """The trouble if it is this request that meets it."""
        if trouble is None or trouble.times <= 0:
            return None
        if trouble.after > 0:
            trouble.after -= 1
            return None
        trouble.times -= 1
        return trouble

    @property
    def _at_cdn(self) -> bool:
        return (self.headers["Host"] or "").startswith("localhost")

    def _resolve(self, repo: Repo | None, revision: str, name: str) -> None:
        """What the Hub answers, in the order in which it looks."""
        knows_token = self.headers.get("Authorization") == f"Bearer {self.hub.token}" or self._at_cdn
        if repo is None or (repo.private and not knows_token):
            self._refuse(404 if knows_token else 401, "RepoNotFound", "Repository not found")
            return
        if repo.disabled:
            self._refuse(403, "", "Access to this resource is disabled.")
            return
        public = name == "api" or (name == "README.md" and repo.public_card)
        if repo.gated and not knows_token and not public:
            self._refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo", "Access is restricted")
            return
        if repo.renamed_to:
            path = f"/api/models/{repo.renamed_to}?blobs=true" if name == "api" else None
            self._send(307, {"Location": path or f"/{repo.renamed_to}/resolve/{revision}/{name}"})
            return
        commit = revision if revision in repo.revisions.values() else repo.revisions.get(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif name == "api":
            self._send_info(repo, commit)
        elif name not in repo.files:
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        else:
            self._send_file(repo, commit, name)

    def _send_file(self, repo: Repo, commit: str, name: str) -> None:
        body = repo.files[name]
        etag = hashlib.sha256(body if isinstance(body, bytes) else body.head).hexdigest()
        if repo.on_cdn and not self._at_cdn:
            linked = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(body))}
            self._send(302, {**linked, "Location": f"{self.hub.cdn}{self.path}?sig={SIGNATURE}"}, b"Found")
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Content-Type": "text/plain"}
        fault = self.trouble.fault if self.trouble else None
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if found is None or fault == "ignores-range":
            self._send(200, headers, body, name)
            return
        start, stop = int(found[1]), min(int(found[2]) + 1, len(body))
        if start >= len(body):
            self._send(416, {"Content-Range": f"bytes */{len(body)}"})
            return
        start += fault == "wrong-range"
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        self._send(206, headers, body[start:stop], name)

    def _send_info(self, repo: Repo, commit: str) -> None:
        repo_id = next(name for name, each in self.hub.repos.items() if each is repo)
        sizes = "blobs=true" in self.path
        info = {
            "id": repo_id,
            "sha": commit,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "siblings": [
                {"rfilename": name, **({"size": len(body)} if sizes else {})} for name, body in repo.files.items()
            ],
            **({"safetensors": repo.safetensors} if repo.safetensors else {}),
            **repo.info,
        }
        self._send(200, {"Content-Type": "application/json"}, json.dumps(info).encode(), "api")

    def _list(self) -> None:
        """A page of the list of models, and where the next is."""
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        author, search = asked.get("author"), asked.get("search", "").lower()
        names = [
            name for name in self.hub.repos if (not author or name.split("/")[0] == author) and search in name.lower()
        ]
        start = int(asked.get("cursor", 0))
        stop = start + min(int(asked.get("limit", self.hub.page_size)), self.hub.page_size)
        headers = {"Content-Type": "application/json"}
        if stop < len(names):
            query = urllib.parse.urlencode({**asked, "cursor": stop})
            headers["Link"] = f'<{self.hub.url}/api/models?{query}>; rel="next"'
        self._send(200, headers, json.dumps([{"id": name} for name in names[start:stop]]).encode(), "list")

    def _spoil(self, trouble: Trouble) -> bool:
        """Play the trouble of one answer; whether the request has been answered (or dropped) by that."""
        wait = {"Retry-After": trouble.retry_after} if trouble.retry_after is not None else {}
        fault = trouble.fault
        status = {"limited": 429, "broken": 500, "unavailable": 503, "forbidden": 403, "gone": 404}.get(fault)
        if status is not None:
            self._refuse(status, "", "", wait if status in (429, 503) else {})
        elif fault == "no-hub":
            self._send(200, {"Content-Type": "text/html"}, b"<html>A captive portal</html>")
        elif fault == "slow":
            self.hub.closing.wait(self.hub.patience)
        elif fault == "cut":
            self.close_connection = True
        elif fault == "loop":
            self._send(307, {"Location": self.path})
        elif fault == "drip":
            self._begin_only(drip=True)
        elif fault in ("drip-headers", "endless"):
            self._go_on(fault)
        else:
            return False  # the body is what is wrong
        return True

    def _go_on(self, fault: AnswerFault) -> None:
        """Send a header that does not end, slowly, or a body that does not end, fast."""
        self.close_connection = True
        self.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"X-Slow: " if fault == "drip-headers" else b"\r\n"))
        deadline, sent = time.monotonic() + self.hub.patience, 0
        try:
            while time.monotonic() < deadline and not self.hub.closing.is_set() and sent < MOST:
                self.wfile.write(b"x" if fault == "drip-headers" else b" " * CHUNK)
                self.wfile.flush()
                self.hub.sent["endless"] += CHUNK
                sent += CHUNK
                self.hub.closing.wait(0.1 if fault == "drip-headers" else 0)
        except OSError:
            pass  # the client has hung up

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
        secret = f" {self.headers['Authorization']} {self.hub.token}" if self.hub.echoes else ""
        told = {"X-Error-Code": code, "X-Error-Message": message, **({"X-Request-Id": secret} if secret else {})}
        self._send(status, {**told, **(headers or {})}, json.dumps({"error": message + secret}).encode())

    def _send(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes | Sparse = b"", name: str = ""
    ) -> None:
        fault = self.trouble.fault if self.trouble is not None and status < 300 else None
        length: int | None = len(body)
        if fault == "gzip":
            body = gzip.compress(b" " * 32_000_000)
            length, headers = len(body), {**(headers or {}), "Content-Encoding": "gzip"}
        half = body[: len(body) // 2]
        if fault in ("cut-body", "truncated", "short-length"):
            body = half
        if fault != "cut-body":
            length = {"truncated": None, "short-length": len(body), "long-length": len(body) + 1000}.get(
                fault, len(body)
            )
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if fault in ("cut-body", "truncated", "long-length"):
            self.close_connection = True
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self._write(body, name)

    def _write(self, body: bytes | Sparse, name: str) -> None:
        """Send the body piece by piece, and count what has gone out, until the client has hung up."""
        try:
            for start in range(0, len(body), CHUNK):
                piece = body[start : start + CHUNK]
                self.wfile.write(piece)
                self.hub.sent[name] += len(piece)
        except OSError:
            self.close_connection = True
