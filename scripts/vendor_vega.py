"""Write the chart library that stands in each page: vega as npm publishes it, and its interpreter.

    python scripts/vendor_vega.py          # needs npm; writes hfcount/reports/html/vega/

vega compiles the expressions of a chart with `Function`, which a page's security policy forbids; its interpreter
evaluates them instead (https://vega.github.io/vega/usage/interpreter/). The interpreter is published as a module that
imports three names of vega, so its import and export lines are written as a script's; nothing else is changed.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "hfcount" / "reports" / "html" / "vega"
VEGA, INTERPRETER = "vega@6.4.0", "vega-interpreter@2.3.2"


def published(package: str, file: str) -> str:
    """The text of one file of a package on npm."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True
        )
        with tarfile.open(Path(folder) / done.stdout.strip()) as archive:
            found = archive.extractfile(f"package/{file}")
            assert found is not None, f"{package} has no {file}"
            return found.read().decode("utf-8")


def as_script(module: str) -> str:
    """The interpreter's module as a script that adds `expressionInterpreter` to `vega`."""
    body, imports = re.subn(r"(?m)^import (\{[^}]*\}) from 'vega-util';$", r"const \1 = vega;", module)
    body, exports = re.subn(
        r"(?m)^export \{ (\w+) as expressionInterpreter \};$", r"vega.expressionInterpreter = \1;", body
    )
    assert imports == exports == 1, "the interpreter is published in another form now"
    body = re.sub(r"(?m)^//# sourceMappingURL=.*\n?", "", body)
    return f"(() => {{\n{body.rstrip()}\n}})();\n"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    library = published(VEGA, "build/vega.min.js")
    assert "</script" not in library, "it would end the element that it stands in"
    (FOLDER / "vega.min.js").write_text(library, encoding="utf-8")
    interpreter = as_script(published(INTERPRETER, "build/vega-interpreter.js"))
    (FOLDER / "vega-interpreter.js").write_text(interpreter, encoding="utf-8")
    (FOLDER / "LICENSE").write_text(published(VEGA, "LICENSE"), encoding="utf-8")


if __name__ == "__main__":
    main()
