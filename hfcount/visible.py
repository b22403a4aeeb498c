"""Text that is not ours, made safe to look at: names of models and folders, cards, configs, headers, Hub messages.

What such a text may hold beside letters: terminal codes, marks that turn the direction of writing, line ends that fake
a line of ours, signs of no width, halves of characters. All of them become escapes that can be read.
"""

from __future__ import annotations

from collections.abc import Callable

_UNSEEN = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164), (0xFE00, 0xFE0D),
        (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)  # fmt: skip
"""Letters and marks that Python calls printable and that no font draws.

Source: Default_Ignorable_Code_Point in the Unicode Character Database, DerivedCoreProperties.txt, less what is not
printable anyway and the two selectors that choose between an emoji and its text form.
"""


def _python_escape(sign: str) -> str:
    return ascii(sign)[1:-1]


def visible(text: str, *, keep: str = "", escape: Callable[[str], str] = _python_escape) -> str:
    r"""Return `text` on one line, each sign that cannot be seen as an escape, save for those in `keep`.

    >>> print(visible("gpt2\x1b[2J\u202e\n\ud800"))
    gpt2\x1b[2J\u202e\n\ud800
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign if sign in keep or (sign.isprintable() and sign not in _UNSEEN) else escape(sign) for sign in text
    )
