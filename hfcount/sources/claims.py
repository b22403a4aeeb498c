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

import math
import re
from collections.abc import Mapping
from typing import Any

from hfcount.errors import BadInput
from hfcount.sources.source import Claim

# What huggingface_hub.repocard.REGEX_YAML_BLOCK takes: the text between two `---` lines at the beginning.
_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
MAX_FRONT_MATTER = 2 * 2**20
"""Signs; the longest published blocks, results of benchmarks, have some 100,000 of them."""

MAX_DEPTH = 64
MAX_VALUES = 100_000
"""In the `hfcount:` block with its aliases written out: a few lines of YAML can stand for any number of values."""

MAX_FIGURE = 10**18
MAX_INTEGER = 10**100

_FIELDS = ("claim", "value", "approx", "kind", "source")


def front_matter(readme: str, where: str = "README.md") -> dict[str, Any]:
    """The YAML front matter of a model card's text; {} where there is none.

    Raises BadInput, naming `where`, if the block is not a YAML mapping.
    """
    import yaml

    block = _FRONT_MATTER.match(readme)
    if block is None:
        return {}
    try:
        data = _load(block.group(1), where)
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
    """The YAML in `text`; what is nested absurdly deep is refused before it is built, since libyaml's loader would
    exhaust the stack of the process."""
    import yaml

    if len(text) > MAX_FRONT_MATTER:
        raise BadInput(f"{where}: the front matter has more than {MAX_FRONT_MATTER:,} signs")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise BadInput(f"{where}: the front matter is nested too deeply")
    return yaml.load(text, Loader=loader)


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
