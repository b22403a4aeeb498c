"""The house's own rules, held by reading its source: imports run downwards, the public import is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hfcount

PACKAGE = Path(hfcount.__file__).parent

# From the bottom up. A module imports from lower floors only; modules on one floor do not import each other,
# except within one package or where a floor is marked as a staircase (its modules form one small stack).
FLOORS: tuple[tuple[str, ...], ...] = (
    ("visible",),
    ("_version", "errors"),
    ("dtypes", "deadline", "minigpt", "parts", "quiet", "shown"),
    ("sources",),
    ("sealed", "foreign_config", "limits", "classes", "overrides", "configs"),
    ("skeleton",),
    ("components", "experts", "inventory"),
    ("formulas", "conventions", "lora", "quantization", "budget", "breakdown"),
    ("result", "records"),
    ("fast",),
    ("formula_answer",),
    ("environment", "api", "live"),
    ("solving", "memory_answer", "workbench"),
    ("simulation",),
    ("facts",),
    ("budgeting",),
    ("simulating",),
    ("fitting",),
    ("costing",),
    ("auditing",),
    ("reports",),
    ("app",),
    ("cli",),
    ("__main__", ""),
)
STAIRCASES = (
    {"sealed", "foreign_config", "limits", "classes", "overrides", "configs"},
    {"components", "experts", "inventory"},
)


def room_of(module: str) -> str:
    """The part of the house of a dotted name: "hfcount.sources.cards" is in "sources", the package itself in ""."""
    return module.split(".")[1] if "." in module else ""


def floor_of(room: str) -> int:
    return next(index for index, rooms in enumerate(FLOORS) if room in rooms)


def imports_of(path: Path) -> set[str]:
    """The hfcount modules that the file imports, at the top or inside a function, save for type checking alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module} if node.module != "hfcount" else {f"hfcount.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("hfcount.")}  # `import hfcount` asks where it lies, no more


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    room = "" if parts == ("__init__",) else parts[0]
    for imported in imports_of(path):
        other = room_of(imported)
        if other == room or any({room, other} <= stairs for stairs in STAIRCASES):
            continue
        assert floor_of(other) < floor_of(room), f"{'/'.join(parts)} imports {imported}, which is not below it"


def test_every_module_has_a_floor() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    placed = {room for floor in FLOORS for room in floor}
    assert rooms <= placed, f"no floor for {sorted(rooms - placed)}"


def named_imports_of(path: Path) -> set[str]:
    """The hfcount modules that the file imports by name: texts in it that begin with "hfcount." and say a room."""
    if "import_module" not in path.read_text(encoding="utf-8"):
        return set()
    texts = (
        node.value for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Constant)
    )
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"hfcount(\.\w+)+", text)}


def test_one_place_alone_reaches_upwards_by_name() -> None:
    """An answer shows itself through the reports, which stand above it: in shown.py, and nowhere else."""
    upwards = {}
    for path in FILES:
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = "" if parts == ("__init__",) else parts[0]
        for named in named_imports_of(path):
            if floor_of(room_of(named)) > floor_of(room):
                upwards["/".join(parts)] = named
    assert upwards == {"shown": "hfcount.reports.views"}


ANSWERS = ("formulas", "conventions", "lora", "quantization", "budget")


@pytest.mark.parametrize("room", ANSWERS)
def test_answers_do_not_import_each_other(room: str) -> None:
    others = set(ANSWERS) - {room}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        assert not {room_of(name) for name in imports_of(path)} & others, f"{path.name} imports another answer"


HEAVY = ("torch", "transformers", "peft", "accelerate", "pandas", "numpy", "sympy", "matplotlib", "bitsandbytes")


@pytest.mark.parametrize(
    "code",
    [
        "import hfcount",
        "import hfcount.cli",
        "import hfcount.formulas",
        "from hfcount.cli.app import run; run(['--help'])",
        "from hfcount.cli.app import run; run(['count', '--help'])",
        "from hfcount.cli.app import run; run(['--version'])",
        "from hfcount.sources.cards import load_card; load_card('gpt2')",
        "from hfcount.cli.app import run; run(['gpt2', '--lora-r', '0'])",
        "from hfcount.cli.app import run; run(['gpt2', '--output', '/nowhere/at/all'])",
    ],
)
def test_light_paths_load_nothing_heavy(code: str) -> None:
    probe = f"{code}\nimport sys\nfound = [m for m in {HEAVY!r} if m in sys.modules]\nassert not found, found"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_completion_loads_no_torch() -> None:
    code = (
        "import os, sys\n"
        "os.environ.update(_HFCOUNT_COMPLETE='complete_bash', COMP_WORDS='hfcount ex', COMP_CWORD='1')\n"
        "from hfcount.cli.app import run\n"
        "try:\n    run([])\nexcept SystemExit:\n    pass\n"
        f"assert not [m for m in {HEAVY!r} if m in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert "explain" in done.stdout


def test_no_dumping_ground_and_no_long_files() -> None:
    for path in FILES:
        assert path.stem not in ("utils", "helpers", "common", "misc"), path
        lines = len(path.read_text(encoding="utf-8").splitlines())
        limit = 600 if path.parent.name == "minigpt" else 450  # a model file is read from top to bottom in one piece
        assert lines <= limit, f"{path.name} has {lines} lines: two ideas in it?"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_bitsandbytes_is_imported_quietly(path: Path) -> None:
    """On a CPU with AVX512-BF16 its import warns of a kernel that nothing here needs."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    within = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and "quiet_bitsandbytes" in ast.unparse(node.items[0])
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and re.match(
            r"(from|import) bitsandbytes\b", ast.unparse(node)
        ):
            assert id(node) in within, f"line {node.lineno}"
