"""Attack hfcount from outside as a hostile repository, Hub, visitor or file system would; print what it did.

Each attack runs real commands against a Hub on loopback and says in one row what should come out and what did. Exit code
1 where one got through. No attack leaves this machine, and all files lie in a temporary folder.

    python scripts/attack.py                 # all of them, under five minutes on two cores
    python scripts/attack.py code forms      # those whose name begins so
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from foreign_text import PAYLOADS  # noqa: E402
from sources.hub_server import HubServer, Trouble  # noqa: E402

PATIENCE = 100
"""Seconds after which a command counts as hanging."""

GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 99,
}


class Ran(NamedTuple):
    """How a command ended; `code` is None for one that did not."""

    code: int | None
    out: str
    err: str


class Row(NamedTuple):
    """What an attack was to give and what it gave."""

    what: str
    wanted: str
    found: str
    held: bool


class Field:
    """A Hub on loopback, a folder for files, and commands that know no other Hub, home or token."""

    def __init__(self, hub: HubServer, folder: Path) -> None:
        self.hub, self.folder = hub, folder

    def config(self, name: str, config: Any, **files: str) -> Path:
        """Write a model's folder with this config.json and return it."""
        home = self.folder / name
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.json").write_text(json.dumps(config) if not isinstance(config, str) else config)
        for file, text in files.items():
            (home / file.replace("__", ".")).write_text(text)
        return home

    def run(self, *line: object, typed: str = "", seconds: float = PATIENCE, **how: Any) -> Ran:
        """Run `hfcount LINE`; `typed` stands on its stdin, `how` may hold env, cwd, stdout."""
        environment = self.hub.environment(self.folder / "home", **how.pop("env", {}))
        environment |= {"PYTHONPATH": str(ROOT), "HFCOUNT_CACHE": str(self.folder / "cache"), "COLUMNS": "100"}
        how = {"stdout": subprocess.PIPE, "cwd": self.folder, **how}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "hfcount", *map(str, line)], env=environment, input=typed, timeout=seconds,
                stderr=subprocess.PIPE, text=True, errors="replace", check=False, **how,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return Ran(None, "", f"still running after {seconds:g} s")
        return Ran(done.returncode, done.stdout or "", done.stderr or "")


def one_line(ran: Ran, *codes: int) -> bool:
    """Say whether a command ended with one of the codes and, where that is an error, with one line of its own."""
    lines = ran.err.strip().splitlines()
    said = not lines if ran.code == 0 else len(lines) == 1 and lines[0].startswith("hfcount: ")
    return ran.code in codes and said and "a fault in hfcount" not in ran.err


def shown(ran: Ran) -> str:
    """Return the exit code and the last line of what was printed."""
    last = (ran.err.strip() or ran.out.strip()).splitlines()[-1:] or [""]
    return f"{'hangs' if ran.code is None else ran.code}: {ascii(last[0])[1:-1][:90]}"


# --- what a repository says ---------------------------------------------------------------------------------------


def code_in_nested_configs(field: Field) -> Iterator[Row]:
    """auto_map inside text_config, with "y" on stdin."""
    marker = field.folder / "code-ran"
    code = f"open({str(marker)!r}, 'w')\nfrom transformers import LlamaConfig\nclass Lure(LlamaConfig):\n    pass\n"
    inner = {**SMALL, "model_type": "lure", "auto_map": {"AutoConfig": "evil/nested--lure.Lure"}}
    config = {"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "text_config": inner}
    field.hub.add("evil/nested", {"config.json": json.dumps(config).encode(), "lure.py": code.encode()})
    for line in (["evil/nested"], ["evil/nested", "--fast"], ["memory", "evil/nested"], ["formula", "evil/nested"]):
        ran = field.run(*line, typed="y\ny\ny\n")
        yield Row(" ".join(line), "no code runs", shown(ran), not marker.exists() and one_line(ran, 0, 2))
    asked = [path for path in field.hub.paths if path.endswith("lure.py")]
    yield Row("files asked for", "no lure.py", f"{len(asked)} times", not asked)


def files_named_by_a_config(field: Field) -> Iterator[Row]:
    """timm_wrapper's checkpoint_path, to a file that is there and to one that is not."""
    there = field.folder / "secret.pth"
    there.write_bytes(b"\x80\x04}.")
    answers = []
    for path in (there, field.folder / "not-there.pth"):
        config = {"model_type": "timm_wrapper", "architectures": ["TimmWrapperModel"], "architecture": "resnet18",
                  "model_args": {"checkpoint_path": str(path)}}  # fmt: skip
        ran = field.run(field.config("timm", config))
        answers.append((ran.code, ran.out.replace(str(path), ""), ran.err.replace(str(path), "")))
    yield Row("timm_wrapper", "the same for both", f"{answers[0][0]}, {answers[1][0]}", answers[0] == answers[1])


def requests_beyond_the_id(field: Field) -> Iterator[Row]:
    """A DETR's backbone on the Hub, offline and not."""
    config = {"model_type": "detr", "architectures": ["DetrModel"], "backbone": "evil/backbone",
              "use_timm_backbone": False, "use_pretrained_backbone": True}  # fmt: skip
    field.hub.add("evil/detr", {"config.json": json.dumps(config).encode()})
    folder = field.config("detr", config)
    field.hub.asked.clear()
    ran = field.run(folder, "--offline", env={"HF_TOKEN": field.hub.token})
    yield Row("a folder, --offline", "no request", f"{len(field.hub.paths)} requests", not field.hub.paths)
    ran = field.run("evil/detr", env={"HF_TOKEN": field.hub.token})
    others = [path for path in field.hub.paths if "evil/detr" not in path]
    yield Row("evil/detr", "none for another id", f"{len(others)} for others; {shown(ran)}", not others)


def foreign_text(field: Field) -> Iterator[Row]:
    """Escapes, formulas, pipes and links in a folder's name, a card and a config."""
    name = "=cmd|' !A0 \x1b[2J\u202e[x](javascript:a)"
    texts = [text.encode("utf-8", "replace").decode() for text in PAYLOADS.values()]
    card = "# Model\n\n" + "\n\n".join(f"{text} has 999M parameters {text}" for text in texts)
    folder = field.config(name, GPT2, README__md=card)
    for line in ([folder, "--fast"], ["audit", folder, "--workers", "0"], ["card", folder, "--fast", "--no-lora"]):
        ran = field.run(*line)
        bad = {sign for sign in ran.out + ran.err if not sign.isprintable() and sign != "\n"}
        yield Row(f"{line[0] if isinstance(line[0], str) else 'count'}, terminal", "no control character",
                  f"{len(bad)}; exit {ran.code}", not bad and ran.code in (0, 1))  # fmt: skip
    table = field.run("audit", folder, "--workers", "0", "--format", "csv").out
    cells = [cell for row in csv.reader(io.StringIO(table)) for cell in row]
    formulas = [each for each in cells if re.match(r"\s*[=+@]|\s*-\D", each)]
    yield Row("audit, csv", "no formula", f"{len(formulas)} of {len(cells)} cells", bool(cells) and not formulas)
    from markdown_it import MarkdownIt

    text = field.run("audit", folder, "--workers", "0", "--format", "markdown").out
    tokens = [
        inner for token in MarkdownIt().enable("table").parse(text) for inner in (token, *(token.children or ()))
    ]
    bad_kinds = {token.type for token in tokens} & {"link_open", "image", "html_inline", "html_block"}
    yield Row("audit, markdown", "no link or HTML", f"{sorted(bad_kinds)}", bool(text) and not bad_kinds)


def slow_text(field: Field) -> Iterator[Row]:
    """Front matter, YAML and cards that cost more than their length."""
    texts = {
        "front matter of blank lines": "---\n" + "\n" * 6000,
        "YAML base 60": f"---\nlicense: {':'.join(['1'] * 40000)}\n---\n",
        "YAML aliases": "---\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" if n else "a0: &a0 [x]\n"
                                          for n in range(12)) + "---\n",
        "a long line": "# Model\n" + "`" * 60000 + "| " * 30000,
    }  # fmt: skip
    for name, text in texts.items():
        folder = field.config("slow", GPT2, README__md=text)
        for line in (["card", folder, "--check", "--fast"], ["audit", folder, "--workers", "0"]):
            ran = field.run(*line, seconds=40)
            yield Row(f"{line[0]}: {name}", "ends", shown(ran), ran.code is not None and "fault" not in ran.err)


def files_written(field: Field) -> Iterator[Row]:
    """card --write on a link out of the repository, and on a pipe."""
    outside = field.folder / "outside.md"
    outside.write_text("# Mine\n")
    home = field.config("linked", GPT2)
    (home / "README.md").symlink_to(outside)
    ran = field.run("card", home, "--write", home / "README.md", "--fast", "--no-lora")
    yield Row("README.md is a link", "outside stays", shown(ran), outside.read_text() == "# Mine\n")
    home = field.config("piped", GPT2)
    os.mkfifo(home / "README.md")
    ran = field.run("card", home, "--write", home / "README.md", "--fast", "--no-lora", seconds=40)
    yield Row("README.md is a pipe", "one line", shown(ran), one_line(ran, 2))


def endless_download(field: Field) -> Iterator[Row]:
    """A config.json without a length that does not end; the Hub gives up after 64 MiB."""
    head = json.dumps(GPT2).encode()
    trouble = Trouble(fault="endless")
    field.hub.add("evil/endless", {"config.json": head}, troubles={"config.json": trouble})
    ran = field.run("evil/endless", "--fast")
    sent = field.hub.sent["endless"]
    yield Row("evil/endless", "one line, few MB", f"{sent / 1e6:,.0f} MB; {shown(ran)}",
              0 < sent < 50e6 and one_line(ran, 2, 3))  # fmt: skip


# --- figures --------------------------------------------------------------------------------------------------------


def forms_that_ignored_a_field(field: Field) -> Iterator[Row]:
    """Fields that a packaged form once did not know: what the class builds."""
    cases: dict[str, tuple[dict[str, Any], int | None]] = {
        "cohere2, head_dim 256": ({"model_type": "cohere2", "head_dim": 256}, 45718249472),
        "bros, dim_bbox_projection 48": ({"model_type": "bros", "dim_bbox_projection": 48}, None),
        "cohere_asr, subsampling_factor 4": (
            {"model_type": "cohere_asr", "encoder_config": {"subsampling_factor": 4}}, None),
    }  # fmt: skip
    for name, (config, wanted) in cases.items():
        folder = field.config("form", config)
        fast, slow = (field.run(folder, "-q", *more) for more in (["--fast"], []))
        held = fast.code == slow.code == 0 and fast.out == slow.out
        held = held and (wanted is None or fast.out.strip() == str(wanted))
        yield Row(name, f"{wanted or 'the same with --fast'}", f"{fast.out.strip()}, {slow.out.strip()}", held)


def numbers_where_the_class_refuses(field: Field) -> Iterator[Row]:
    """8.5 heads, null truths, widths that heads do not divide: the emitted function and --fast."""
    source = field.run("formula", "gpt2", "--fast", "--format", "python").out
    names: dict[str, Any] = {}
    exec(source, names)
    for change in ({"n_head": 8.5}, {"n_head": 7}, {"tie_word_embeddings": None}, {"n_layer": "2"}, {"n_embd": True}):
        try:
            said: object = names["parameters"]({**GPT2, **change})
        except ValueError as error:
            said = error
        yield Row(f"function, {change}", "ValueError", str(said), isinstance(said, ValueError))
        ran = field.run(field.config("refused", {**GPT2, **change}), "--fast", "-q")
        yield Row(f"--fast, {change}", "one line", shown(ran), one_line(ran, 2))


def configs_that_are_none(field: Field) -> Iterator[Row]:
    """text_config that is no config, and models whose memory is no text model's."""
    for value in ("x", 3, [1]):
        ran = field.run(field.config("none", {"model_type": "llava", "text_config": value}))
        yield Row(f"text_config: {value!r}", "one line", shown(ran), one_line(ran, 2))
    for model_type in ("clip", "wav2vec2"):
        ran = field.run("memory", field.config(model_type, {"model_type": model_type}), "-q")
        held = ran.code == 0 or one_line(ran, 2)
        yield Row(f"memory {model_type}", "figures or one line", shown(ran), held)


# --- what surrounds a run -------------------------------------------------------------------------------------------


def outages(field: Field) -> Iterator[Row]:
    """A Hub that is down for some models, then back."""
    files = {"config.json": json.dumps({**GPT2, "n_layer": 1}).encode(), "README.md": b"# Model\n"}
    names = [f"lab/{number}" for number in range(6)]
    for name in names:
        field.hub.add(name, files)
    for name in names[2:4]:
        field.hub.add(name, files, troubles={"api": Trouble(fault="limited", times=1, retry_after="100000")})
    line = ("audit", *names, "--no-headers", "--workers", "0", "-o", field.folder / "found.jsonl", "-q")
    first, second = field.run(*line), field.run(*line, "--resume")
    rows = [json.loads(each) for each in (field.folder / "found.jsonl").read_text().splitlines()]
    wrong = [row for row in rows if row.get("verdict") == "error"]
    yield Row("rate limit for two of six", "exit 3, then 0", f"{first.code}, then {second.code}",
              (first.code, second.code) == (3, 0) and not wrong)  # fmt: skip


def output_that_vanishes(field: Field) -> Iterator[Row]:
    """The store is moved away while the third model is read."""
    out = field.folder / "lost" / "found.jsonl"
    out.parent.mkdir()
    files = {"config.json": json.dumps({**GPT2, "n_layer": 1}).encode(), "README.md": b"# Model\n"}

    class Thief(dict[str, bytes]):
        def __getitem__(self, name: str) -> bytes:
            if name == "config.json" and out.exists():
                out.rename(out.with_suffix(".moved"))
            return super().__getitem__(name)

    for number in range(6):
        field.hub.add(f"vanish/{number}", files)
    field.hub.add("vanish/3", Thief(files))
    line = ("audit", *(f"vanish/{number}" for number in range(6)), "--no-headers", "--workers", "0", "-q", "-o", out)
    ran = field.run(*line)
    yield Row("store moved away", "one line", shown(ran), ran.code not in (0, None) and "fault in" not in ran.err)


def broken_surroundings(field: Field) -> Iterator[Row]:
    """Closed and full streams, no stdin, odd endpoints, a folder that is gone, forms that are broken, time."""
    command = f"{sys.executable} -m hfcount gpt2 --fast"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HFCOUNT_CACHE": str(field.folder / "streams")}
    for redirect, codes in ((">&-", (0, 1, 2, 3, 74)), ("2>&-", (0,)), ("<&-", (0,)), (">/dev/full", (1, 2, 3, 74))):
        done = subprocess.run(["sh", "-c", f"{command} {redirect}"], env=environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)  # fmt: skip
        clean = "Traceback" not in done.stderr and "fault in" not in done.stderr and "Exception" not in done.stderr
        yield Row(f"gpt2 {redirect}", "no traceback", shown(Ran(done.returncode, "", done.stderr)),
                  clean and done.returncode in codes)  # fmt: skip
    ran = field.run("lab/any", "--fast", env={"HF_ENDPOINT": "http://[::1"})
    yield Row("HF_ENDPOINT=http://[::1", "one line", shown(ran), one_line(ran, 2, 3))
    gone = field.folder / "gone"
    gone.mkdir()
    done = subprocess.run(["sh", "-c", f"cd {gone} && rmdir {gone} && {command} -q"], env=environment, text=True,
                          capture_output=True, timeout=PATIENCE, check=False)  # fmt: skip
    ran = Ran(done.returncode, done.stdout, done.stderr)
    yield Row("working folder gone", "an answer or one line", shown(ran), ran.code == 0 or one_line(ran, 2))
    out = field.folder / "total.txt"
    ran = field.run("gpt2", "--fast", "-q", "-o", out)
    text = out.read_text() if out.exists() else ""
    yield Row("-q -o FILE", "124439808", text.strip() or shown(ran), text.strip() == "124439808")
    deep = field.config("deep", {**GPT2, "n_layer": 4000, "n_embd": 64, "n_head": 4})
    start = time.monotonic()
    ran = field.run("memory", deep, "--simulate", "--regime", "lora", "--timeout", "5", "-q", seconds=60)
    yield Row("4,000 layers, --timeout 5", "ends in time", f"{time.monotonic() - start:.0f} s, {shown(ran)}",
              ran.code is not None and "fault in" not in ran.err)  # fmt: skip


def page(field: Field) -> Iterator[Row]:
    """The page with its owner's token: private repositories, other hosts, where it listens."""
    field.hub.add("lab/private", {"config.json": json.dumps(GPT2).encode()}, private=True)
    environment = field.hub.environment(field.folder / "home", HF_TOKEN=field.hub.token)
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "hfcount", "app", "--port", str(port)]
    with subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            if not _listens(port, server):
                yield Row("hfcount app", "starts", "did not start: is gradio installed?", False)
                return
            for name, headers, wanted in (
                ("own host", {}, 200),
                ("another Host", {"Host": "evil.example"}, 403),
                ("another Origin", {"Origin": "http://evil.example"}, 403),
            ):
                status = _status(f"http://127.0.0.1:{port}/", headers)
                yield Row(f"page, {name}", str(wanted), str(status), status == wanted)
        finally:
            server.terminate()
    ask = ("from hfcount.app.answers import source_of\nfrom hfcount.app.state import State\n"
           "print(source_of(State(model='lab/private')).model)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=False)
    yield Row("a visitor asks for a private model", "not found", done.stderr.strip().splitlines()[-1][:90],
              "NotFoundError" in done.stderr and not done.stdout)  # fmt: skip


def _listens(port: int, server: subprocess.Popen[bytes]) -> bool:
    for _ in range(PATIENCE * 4):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return True
        if server.poll() is not None:
            return False
        time.sleep(0.25)
    return False


def _status(url: str, headers: Mapping[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


ATTACKS: dict[str, Callable[[Field], Iterator[Row]]] = {
    "code in nested configs": code_in_nested_configs,
    "files named by a config": files_named_by_a_config,
    "requests beyond the id": requests_beyond_the_id,
    "page and visitors": page,
    "foreign text": foreign_text,
    "slow text": slow_text,
    "files written": files_written,
    "endless download": endless_download,
    "forms that ignored a field": forms_that_ignored_a_field,
    "numbers where the class refuses": numbers_where_the_class_refuses,
    "configs that are none": configs_that_are_none,
    "outages": outages,
    "output that vanishes": output_that_vanishes,
    "broken surroundings": broken_surroundings,
}


def attempted(name: str) -> tuple[list[Row], float]:
    """Run one attack on a field of its own; an attack that fails itself is a row that did not hold."""
    start, rows = time.monotonic(), list[Row]()
    with tempfile.TemporaryDirectory() as folder, HubServer() as hub:
        try:
            rows.extend(ATTACKS[name](Field(hub, Path(folder))))
        except Exception as error:
            rows.append(Row("the attack itself", "runs", f"{type(error).__name__}: {error}", False))
    return rows, time.monotonic() - start


def main() -> None:
    """Print a table of all attacks, two at a time; exit 1 where one got through."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks by the beginning of their names")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    wanted = [name for name in ATTACKS if not arguments.names or name.startswith(tuple(arguments.names))]
    start, tried, through = time.monotonic(), 0, 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name, (rows, seconds) in zip(wanted, pool.map(attempted, wanted), strict=True):
            print(f"\n{name} ({seconds:.0f} s)")
            for row in rows:
                mark = "held" if row.held else "THROUGH"
                print(
                    f"  {mark:8}{row.what[:42]:43} wanted: {row.wanted[:24]:25} found: {row.found[:100]}", flush=True
                )
            tried, through = tried + len(rows), through + sum(not row.held for row in rows)
    print(f"\n{tried} attacks, {through} got through, {time.monotonic() - start:.0f} s")
    raise SystemExit(1 if through else 0)


if __name__ == "__main__":
    main()
