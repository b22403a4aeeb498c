"""Where the front matter of a README.md ends: one scanner for all who read cards, a pass over the lines and no more.

The rule is huggingface_hub's (`repocard.REGEX_YAML_BLOCK`): a line `---` comes first, blanks aside, and a later one
closes the block, though not the very next. A pattern for this tries every end for every beginning: a card of 6 kB took
it minutes.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"([^\r\n]*)(\r\n|\r|\n|\Z)")


def split_front_matter(text: str) -> tuple[str, int]:
    """Return the block between the two `---` lines at the beginning of `text`, and the offset behind the second one.

    ("", 0) where there is none. Spaces and tabs may follow the dashes; a line ends in any of the three ways.
    """
    bom = text.startswith("\ufeff")
    begin = len(text) - len(text[bom:].lstrip())
    opening = _LINE.match(text, begin)
    if opening is None or opening[1].rstrip(" \t") != "---" or not opening[2]:
        return "", 0
    start = opening.end()
    for place, line in enumerate(_LINE.finditer(text, start)):
        if place and text.startswith("---", line.start()) and line[1].rstrip(" \t") == "---":
            return text[start : line.start()], line.end()
    return "", 0
