"""Write the output of every command that the documents show, so that each figure in them is the program's own.

A block in README.md or docs/*.md is two lines and a fence:

    <!-- $ hfcount gpt2 --lora-r 8 -->
    ```text
    ... written by this script ...
    ```

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
    """`text` with every block's body as its command prints it now."""

    def body(block: re.Match[str]) -> str:
        shown = f"$ hfcount {block['arguments']}\n" if block["language"] == "text" else ""
        return f"{block[1]}{shown}{output_of(block['arguments']).rstrip()}\n{block[5]}"

    return BLOCK.sub(body, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a document is stale")
    check = parser.parse_args().check
    stale = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        old = path.read_text(encoding="utf-8")
        new = renewed(old)
        if new != old:
            stale.append(path.relative_to(ROOT))
            if not check:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(f"{'stale' if check else 'renewed'}: {path}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
