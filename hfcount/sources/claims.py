"""The claims in a model card: the `hfcount:` key in the YAML front matter of a README.md.

    hfcount:
      aliases: [gpt2, gpt-2]
      provenance: {kind: verbatim, source: ...}
      claims:
      - {claim: 124M, approx: 124000000, kind: total, source: ...}

Read with PyYAML itself, as huggingface_hub reads the same block: importing its `ModelCard` costs ten times
the parsing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hfcount.errors import BadInput
from hfcount.sources.source import Claim

# What huggingface_hub.repocard.REGEX_YAML_BLOCK takes: the text between two `---` lines at the beginning.
_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
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
        data = yaml.load(block.group(1), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{where}: the front matter is not valid YAML ({reason})") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadInput(f"{where}: the front matter is a {type(data).__name__}, a mapping was expected")
    return data


def hfcount_block(front: Mapping[str, Any], where: str = "README.md") -> Mapping[str, Any]:
    """The `hfcount:` mapping of a front matter; {} where the card has none."""
    block = front.get("hfcount") or {}
    if not isinstance(block, Mapping):
        raise BadInput(f"{where}: `hfcount:` is a {type(block).__name__}, a mapping was expected")
    return block


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
    return Claim(
        claim=str(entry["claim"]),
        value=value,
        approx=approx,
        kind=str(entry.get("kind", "total")),
        source=str(entry.get("source", "")),
        details={key: item for key, item in entry.items() if key not in _FIELDS},
    )
