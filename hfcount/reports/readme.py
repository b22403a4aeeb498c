"""A section between two markers in a README.md: found, compared and replaced, with all else left byte for byte.

A marker is an HTML comment on a line of its own, outside of code and of the front matter, as CommonMark reads them.
The section's last part, from `PROVENANCE` on, has the versions and the command; sections that differ there alone say
the same.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Literal

from hfcount.errors import BadInput
from hfcount.reports.files import check_within, check_writable, write_bytes
from hfcount.sources.front_matter import split_front_matter
from hfcount.sources.regular_file import read_regular
from hfcount.visible import visible

BEGIN, END = "<!-- hfcount:begin -->", "<!-- hfcount:end -->"
PROVENANCE = "### How it was counted"

_MARKER = re.compile(r"<!--[ \t]*hfcount:(?P<which>begin|end)[ \t]*-->")
_MARKERS_ALONE = re.compile(rf"[ \t]*(?:{_MARKER.pattern.replace('?P<which>', '?:')}[ \t]*)+")
_NEWLINE = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_MOST_DIFFERENCES = 40  # lines of a difference that are shown
_MOST_COMPARED = 5_000  # lines of a section; one of ours has some hundred

MAX_README_BYTES = 2 * 2**20
"""Twenty times the longest front matter that is published; what is larger is something else."""


State = Literal["written", "unchanged", "current", "outdated"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a README.

    Attributes:
        readme: its path.
        state: "written" or "unchanged" where the section was to be written, "current" or "outdated" where it was to be
            checked.
        differences: what the section that was there lacks or has too much, a line each.
    """

    readme: Path
    state: State
    differences: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Marker:
    """A marker of a text: which, the number of its line, the offsets of its beginning and end."""

    which: str
    line: int
    start: int
    end: int


def check_readme(path: Path, *, to_write: bool) -> None:
    """Raise BadInput before any work is done if `path` could not take a section, or could not be written."""
    if to_write:
        check_writable(path)
        check_within(path, repository_of(path))
    section_of(read_readme(path), str(path))


def write_section(path: Path, section: str) -> Outcome:
    """Put `section` into the file at `path`, made where there is none, untouched where it says the same.

    A link is followed within the repository alone. Owner, permissions and hard links stay.
    """
    check_within(path, repository_of(path))
    old = read_readme(path)
    new = spliced(old, section, str(path))
    if new == old:
        return Outcome(readme=path, state="unchanged")
    write_bytes(path, new.encode("utf-8"))
    return Outcome(readme=path, state="written", differences=differences(section_of(old, str(path)), section))


def compare_section(path: Path, section: str) -> Outcome:
    """Whether the file at `path` has a section that says what `section` says."""
    old = section_of(read_readme(path), str(path))
    if old is not None and same_figures(old, section):
        return Outcome(readme=path, state="current")
    return Outcome(readme=path, state="outdated", differences=differences(old, section))


def repository_of(path: Path) -> Path:
    """Return the folder that a README.md at `path` belongs to: the nearest with a .git, else its own."""
    folder = path.absolute().parent  # as typed, whatever its folders link to
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def read_readme(path: Path) -> str:
    """The text of `path` as it stands, its line ends included; "" where there is no such file.

    Raises BadInput where it cannot be read, or is not UTF-8, as a model card has to be.
    """
    try:
        data = read_regular(path, MAX_README_BYTES)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_README_BYTES:
        raise BadInput(f"{path}: larger than {MAX_README_BYTES // 2**20} MiB, which no README.md is")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: is not UTF-8 text (byte {error.start:,}); save it as UTF-8 first") from error


def section_of(text: str, where: str) -> str | None:
    """What stands between the markers of `text`, with `\\n` for line ends; None where it has no markers.

    Raises BadInput, naming `where` and the lines, for markers that do not make one section.
    """
    found = _section(text, where)
    return None if found is None else _NEWLINE.sub("\n", text[slice(*found)]).strip("\n")


def same_figures(old: str, new: str) -> bool:
    """Whether two sections say the same, apart from how it was counted."""
    return _figures(old) == _figures(new)


def differences(old: str | None, new: str) -> tuple[str, ...]:
    """The lines of `old` that go (`-`) and those of `new` that come (`+`), at most a screenful, fit for a terminal."""
    before, after = _figures(old or "").splitlines(), _figures(new).splitlines()
    uncompared = len(before[_MOST_COMPARED:])  # difflib takes each line of one side with each of the other
    compared = difflib.unified_diff(before[:_MOST_COMPARED], after, n=0, lineterm="")
    shown = [visible(line) for line in compared if not line.startswith("@@")][2:]
    left = len(shown) + uncompared - _MOST_DIFFERENCES
    return (*shown[:_MOST_DIFFERENCES], *([f"... and {left:,} lines more"] if left > 0 else []))


def spliced(text: str, section: str, where: str) -> str:
    """`text` with `section` between its markers, or at its end where it has none; unchanged if it says the same.

    The section gets the line ends of the text. Raises BadInput as `section_of` does, and where the end of the text is
    no place for a section, since a code block is open there.
    """
    newline = _newline(text)
    body = f"\n\n{section.strip()}\n\n".replace("\n", newline)
    found = _section(text, where)
    if found is None:
        last = newline if not text or _NEWLINE.fullmatch(text[-1]) else ""
        new = f"{text}{_gap(text, newline)}{BEGIN}{body}{END}{last}"
    elif same_figures(text[slice(*found)], section):
        return text
    else:
        new = f"{text[: found[0]]}{body}{text[found[1] :]}"
    if section_of(new, where) != section.strip():
        raise BadInput(
            f"{where}: a code block is open at its end; close it, or put {BEGIN} and {END} where you want them"
        )
    return new


def _section(text: str, where: str) -> tuple[int, int] | None:
    """The offsets of what lies between the markers; None without markers.

    Raises BadInput unless they are one begin and one end, in this order.
    """
    markers = _markers(text, where)
    if not markers:
        return None
    if [marker.which for marker in markers] != ["begin", "end"]:
        seen = ", ".join(f"{marker.which} in line {marker.line:,}" for marker in markers[:6])
        raise BadInput(
            f"{where}: the markers do not make one section ({seen}); keep one {BEGIN} and one {END} after it"
        )
    return markers[0].end, markers[1].start


def _markers(text: str, where: str) -> list[_Marker]:
    """The markers of `text`, in order. BadInput for one in a list or a quotation, which a section would tear apart."""
    if "hfcount:" not in text:
        return []
    from markdown_it import MarkdownIt

    _, start = split_front_matter(text)
    before = len(_NEWLINE.findall(text[:start])) + 1
    lines = [match.span() for match in _LINE.finditer(text, start)]
    found = []
    for token in MarkdownIt("commonmark").disable("inline").parse(text[start:]):
        if token.type != "html_block" or token.map is None:
            continue
        for index in range(token.map[0], min(token.map[1], len(lines))):
            marks = _on_line(text[slice(*lines[index])], index + before, lines[index][0])
            if marks and token.level:
                raise BadInput(f"{where}: the marker in line {index + before:,} is in a list; put it outside of it")
            found += marks
    return found


def _on_line(line: str, number: int, offset: int) -> list[_Marker]:
    """The markers of a line that holds nothing else."""
    if not _MARKERS_ALONE.fullmatch(line.rstrip("\r\n")):
        return []
    return [
        _Marker(which=mark["which"], line=number, start=offset + mark.start(), end=offset + mark.end())
        for mark in _MARKER.finditer(line)
    ]


def _figures(section: str) -> str:
    """The section up to how it was counted."""
    return _NEWLINE.sub("\n", section).partition(f"\n{PROVENANCE}")[0].strip()


def _newline(text: str) -> str:
    """The line end that `text` begins with."""
    found = _NEWLINE.search(text)
    return found[0] if found else "\n"


def _gap(text: str, newline: str) -> str:
    """The line ends that put an empty line between `text` and what follows."""
    gap = ""
    while text and not _NEWLINE.sub("\n", text + gap).endswith("\n\n"):
        gap += newline
    return gap
