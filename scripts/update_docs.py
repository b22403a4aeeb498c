"""Write the output of every command that the documents show, so that each figure in them is the program's own.

A block in README.md or docs/*.md is two lines and a fence:

    <!-- $ hfcount gpt2 --lora-r 8 -->
    ```text
    ... written by this script ...
    ```

A figure in a sentence is an expression and its value (see doc_figures.py), and what the reference takes from the program
itself stands between two comments (see doc_reference.py; the JSON Schema beside it is doc_schema.py's):

    GPT-2 has <!-- = count("gpt2").sizes.total -->124,439,808<!-- end --> parameters.

    python scripts/update_docs.py            # write
    python scripts/update_docs.py --check    # exit 1 if a block is not what the command prints
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shlex
import sys
from pathlib import Path

from doc_figures import BadFigure, with_figures
from doc_reference import with_reference
from doc_schema import PAGE as SCHEMA
from doc_schema import text as schema_text

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(<!-- \$ hfcount (?P<arguments>.+?) -->\n```(?P<language>\w+)\n)(?P<body>.*?)(^```$)", re.DOTALL | re.MULTILINE
)


def output_of(arguments: str) -> str:
    """What `hfcount ARGUMENTS` prints, its complaint included where it makes one."""
    from hfcount.cli.app import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        run(shlex.split(arguments))
    return out.getvalue() + err.getvalue()


def renewed(text: str) -> str:
    """`text` with every block's body as its command prints it now, and every figure as it is; BadFigure for no figure."""

    def body(block: re.Match[str]) -> str:
        shown = f"$ hfcount {block['arguments']}\n" if block["language"] == "text" else ""
        return f"{block[1]}{shown}{output_of(block['arguments']).rstrip()}\n{block[5]}"

    return with_figures(with_reference(BLOCK.sub(body, text), output_of))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a document is stale")
    parser.add_argument("paths", nargs="*", type=Path, help="these alone; README.md and all of docs/ if not given")
    given = parser.parse_args()
    check = given.check
    chosen = [path.resolve() for path in given.paths] or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    stale = []
    if not given.paths and SCHEMA.read_text(encoding="utf-8") != (schema := schema_text()):
        stale.append(SCHEMA.relative_to(ROOT))
        if not check:
            SCHEMA.write_text(schema, encoding="utf-8")
    for path in chosen:
        old = path.read_text(encoding="utf-8")
        try:
            new = renewed(old)
        except BadFigure as error:
            print(f"{path.relative_to(ROOT)}: {error}", file=sys.stderr)
            return 2
        if new != old:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(f"{'stale' if check else 'renewed'}: {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
