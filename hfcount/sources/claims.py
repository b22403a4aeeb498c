"""The claims in a model card: the `hfcount:` key in the YAML front matter of a README.md.

    hfcount:
      aliases: [gpt2, gpt-2]
      provenance: {kind: verbatim, source: ...}
      claims:
      - {claim: 124M, approx: 124000000, kind: total, source: ...}

Read with PyYAML itself, as huggingface_hub reads the same block: importing its `ModelCard` costs ten times
the parsing. Anybody writes a README.md, so what is read of it has limits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

from hfcount.deadline import in_time
from hfcount.errors import BadInput
from hfcount.sources.front_matter import split_front_matter
from hfcount.sources.source import Claim

MAX_FRONT_MATTER = 2 * 2**20
"""Signs; the longest published blocks, results of benchmarks, have some 100,000 of them."""

MAX_DEPTH = 64
MAX_VALUES = 100_000
"""With the aliases written out: a few lines of YAML can stand for any number of values."""

MAX_BASE_60 = 500
"""Signs of `1:1:1:...`, a number in base 60 to PyYAML: each digit costs as much as all before it."""

MAX_KEY_DIGITS = 18
"""Of a number that is a key: Python hashes integers modulo 2^61 - 1, so larger ones can all be made to collide."""

MAX_FIGURE = 10**18
MAX_INTEGER = 10**100

_FIELDS = ("claim", "value", "approx", "kind", "source")


def front_matter(readme: str, where: str = "README.md") -> dict[str, Any]:
    """The YAML front matter of a model card's text; {} where there is none.

    Raises BadInput, naming `where`, if the block is not a YAML mapping.
    """
    import yaml

    block, _ = split_front_matter(readme)
    if not block:
        return {}
    try:
        data = _load(block, where)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{where}: the front matter is not valid YAML ({reason})") from error
    except (ValueError, ArithmeticError, AttributeError, TypeError) as error:  # a date or a number that is none
        raise BadInput(f"{where}: the front matter has a value that YAML cannot read ({error})") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadInput(f"{where}: the front matter is a {type(data).__name__}, a mapping was expected")
    return data


def _load(text: str, where: str) -> Any:
    """Return what the YAML in `text` says; what would take more than a pass over it is refused before it is built."""
    import yaml

    if len(text) > MAX_FRONT_MATTER:
        raise BadInput(f"{where}: the front matter has more than {MAX_FRONT_MATTER:,} signs")
    _check_events(yaml.parse(text, Loader=_loader()), where)
    return yaml.load(text, Loader=_loader())


def _check_events(events: Iterable[Any], where: str) -> None:
    """Raise BadInput for what is nested absurdly deep, which would exhaust the stack of libyaml's loader, and for more
    than MAX_VALUES values: an alias counts as all that it stands for, since a merge (`<<`) copies it."""
    written_out: dict[str, int] = {}
    open_collections: list[tuple[str | None, int]] = []
    found = 0
    for event in in_time(events):
        kind = type(event).__name__
        if kind == "AliasEvent":
            found += written_out.get(event.anchor, MAX_VALUES)  # within itself it has no end
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            open_collections.append((event.anchor, found))
            found += 1
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            anchor, before = open_collections.pop()
            if anchor is not None:
                written_out[anchor] = found - before
        elif kind == "ScalarEvent":
            found += 1
            if event.anchor is not None:
                written_out[event.anchor] = 1
        if len(open_collections) > MAX_DEPTH:
            raise BadInput(f"{where}: the front matter is nested too deeply")
        if found > MAX_VALUES:
            raise BadInput(f"{where}: the front matter holds more than any claims do ({MAX_VALUES:,} values)")


@functools.cache
def _loader() -> Any:
    """Return PyYAML's safe loader, libyaml's where it is there, that refuses numbers which are none."""
    import yaml

    safe = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    integer, real = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"

    class Loader(safe):  # type: ignore[misc, valid-type]
        def construct_scalar(self, node: Any) -> Any:
            if node.tag in (integer, real) and ":" in node.value and len(node.value) > MAX_BASE_60:
                raise ValueError(f"a number in base 60 of {len(node.value):,} signs")
            return super().construct_scalar(node)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            for key, _ in node.value:
                if key.tag == integer and len(key.value) > MAX_KEY_DIGITS:
                    raise ValueError(f"a key that is a number of {len(key.value):,} signs")
            return super().construct_mapping(node, deep=deep)

    return Loader


def hfcount_block(front: Mapping[str, Any], where: str = "README.md") -> Mapping[str, Any]:
    """The `hfcount:` mapping of a front matter; {} where the card has none."""
    block = front.get("hfcount") or {}
    if not isinstance(block, Mapping):
        raise BadInput(f"{where}: `hfcount:` is a {type(block).__name__}, a mapping was expected")
    _check_values(block, where)
    return block


def _check_values(block: Mapping[str, Any], where: str) -> None:
    """Raise BadInput for more than MAX_VALUES values, each counted as often as it is reached, and for integers that
    Python reads in hexadecimal and then cannot print."""
    left: list[object] = [block]
    found = 0
    while left:
        each = left.pop()
        found += 1
        if found > MAX_VALUES or (isinstance(each, int) and abs(each) > MAX_INTEGER):
            raise BadInput(f"{where}: `hfcount:` holds more than any claims do")
        if isinstance(each, Mapping):
            left += each.values()
        elif isinstance(each, list | tuple | set):
            left += each


def claims_in(front: Mapping[str, Any], where: str = "README.md") -> tuple[Claim, ...]:
    """The claims that a front matter makes under `hfcount: claims:`, in its order.

    Raises BadInput, naming `where` and the claim's place, if one has no text or a figure that is no number.
    """
    entries = hfcount_block(front, where).get("claims") or []
    if not isinstance(entries, list):
        raise BadInput(f"{where}: `hfcount: claims:` is a {type(entries).__name__}, a list was expected")
    return tuple(_claim(entry, f"{where}: claim {place}") for place, entry in enumerate(entries, start=1))


def _claim(entry: object, where: str) -> Claim:
    if not isinstance(entry, Mapping) or "claim" not in entry:
        raise BadInput(f"{where}: a mapping with a `claim` was expected, found {entry!r}")
    value, approx = entry.get("value"), entry.get("approx")
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise BadInput(f"{where}: `value` must be an integer without separators, found {value!r}")
    if approx is not None and (not isinstance(approx, int | float) or isinstance(approx, bool)):
        raise BadInput(f"{where}: `approx` must be a number, found {approx!r}")
    for name, figure in (("value", value), ("approx", approx)):
        if figure is not None and not (math.isfinite(figure) and abs(figure) <= MAX_FIGURE):
            raise BadInput(f"{where}: `{name}` is no figure of a model; at most {MAX_FIGURE:,}")
    return Claim(
        claim=str(entry["claim"]),
        value=value,
        approx=approx,
        kind=str(entry.get("kind", "total")),
        source=str(entry.get("source", "")),
        details={key: item for key, item in entry.items() if key not in _FIELDS},
    )
