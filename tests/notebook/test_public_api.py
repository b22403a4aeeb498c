"""The public API as a user's type checker and `help()` see it."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hfcount

FUNCTIONS = [name for name in hfcount.__all__ if inspect.isfunction(getattr(hfcount, name))]
CLASSES = [name for name in hfcount.__all__ if inspect.isclass(getattr(hfcount, name))]

SCRIPT = '''
"""What a user writes: every public function, its answer's type, and the views of it."""

import pandas as pd
import torch
from matplotlib.figure import Figure

import hfcount

counted: hfcount.Count = hfcount.count("gpt2", lora_r=[4, 8], settings={"n_layer": 6}, fast=True)
total: int = counted.sizes.total
rows: pd.DataFrame = counted.to_frame(by="layer")
ranks: pd.DataFrame = counted.lora.to_frame()
first: hfcount.LoraCount = counted.lora[0]
trained: int | None = first.trainable
chart: Figure = counted.plot()
text: str = counted.to_markdown()

explained: hfcount.Explained = hfcount.explain("gpt2", "117M")
count, explanation = explained
known: bool = explanation.explained
same: int = count.sizes.total

for each in hfcount.compare(["gpt2", "llama-7b"]):
    print(each.model, each.sizes.total)

form: hfcount.FormulaAnswer = hfcount.formula("gpt2")
values: pd.Series = form.evaluate(pd.DataFrame({"n_layer": [12]}))
memory: hfcount.Memory = hfcount.memory("gpt2", batch=4, precision="mixed-bf16")
byte: int | None = memory.full.total_bytes
audit: hfcount.Audit = hfcount.audit("gpt2")
solution: hfcount.Solution = hfcount.solve("gpt2", trainable="1%")

module = torch.nn.Linear(2, 2)
live: hfcount.LiveReport = hfcount.report(module, optimizer=torch.optim.SGD(module.parameters()))
groups: pd.DataFrame = live.by("dtype")
callback = hfcount.callback(print)

try:
    hfcount.count("gpt2", offline=True)
except hfcount.HfcountError as error:
    code: int = error.exit_code
'''
MISTAKES = """
import hfcount

words: str = hfcount.count("gpt2").sizes.total
hfcount.count(17)
hfcount.count("gpt2").to_frame(by="colour")
hfcount.compare(["gpt2"]).nothing
hfcount.nothing
"""


UNSEEN = ",".join(f"{name}.*" for name in ("transformers", "peft", "accelerate", "huggingface_hub", "sympy"))
"""No type of these stands in what a user writes; mypy would read them for half a minute."""


def checked(source: str, folder: Path) -> list[str]:
    """What mypy in its strict mode says of a script that uses the installed package, a line each."""
    script = folder / "script.py"
    script.write_text(source)
    how = ["--strict", "--no-error-summary", "--no-incremental", f"--config-file={folder / 'none.ini'}"]
    (folder / "none.ini").write_text(f"[mypy]\nfollow_imports = silent\n[mypy-{UNSEEN}]\nfollow_imports = skip\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *how, str(script)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode in (0, 1), done.stderr
    return [line for line in done.stdout.splitlines() if "error:" in line]


@pytest.mark.slow
def test_a_script_passes_strict_and_its_mistakes_do_not(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    errors = checked(SCRIPT + MISTAKES, tmp_path)
    lines = (SCRIPT + MISTAKES).splitlines()
    wrong = [lines[int(error.split(":")[1]) - 1] for error in errors]
    assert wrong == MISTAKES.strip().splitlines()[2:], "\n".join(errors)


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(hfcount.__file__).parent / "py.typed").is_file()


def test_it_is_small() -> None:
    assert set(FUNCTIONS) == {
        "audit", "callback", "compare", "count", "explain", "formula", "memory", "report", "solve",
    }  # fmt: skip
    assert set(dir(hfcount)) == set(hfcount.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hfcount.nothing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_and_gives(name: str) -> None:
    function = getattr(hfcount, name)
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())
    assert len(text.splitlines()) >= 3, f"{name}: what does it give, when does it refuse?"
    said = text + (inspect.getdoc(hfcount.count) or "") if "as in `count`" in " ".join(text.split()) else text
    missing = [each.name for each in signature.parameters.values() if f"`{each.name}`" not in said]
    assert not missing, f"{name} does not say what {missing} are"
    assert "Raises" in text or name == "callback"


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_what_its_fields_are(name: str) -> None:
    kind = getattr(hfcount, name)
    text = kind.__doc__ or ""
    assert text
    assert not text.startswith(f"{name}("), "this is what dataclasses write where nobody did"
    if dataclasses.is_dataclass(kind):
        missing = [
            each.name for each in dataclasses.fields(kind) if not each.name.startswith("_") and each.name not in text
        ]
        assert not missing, f"{name} does not say what {missing} are"
    own = [value for key, value in vars(kind).items() if not key.startswith("_") and is_own_code(value)]
    assert all(inspect.getdoc(each) for each in own)


def is_own_code(value: Any) -> bool:
    return isinstance(value, property) or inspect.isfunction(value)
