"""A published figure as printed, and the counts that it stands for."""

from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction

from hfcount.errors import BadInput

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_WORDS = {"thousand": "k", "million": "m", "mil": "m", "mn": "m", "billion": "b", "bn": "b", "trillion": "t"}
_FIGURE = re.compile(
    r"^(?P<about>[~≈∼]|about\b|approximately\b|around\b|roughly\b)?\s*"
    r"(?P<whole>\d{1,3}(?:[,_ ]\d{3})+|\d+)(?:\.(?P<part>\d+))?(?:e\+?(?P<power>\d{1,2}))?\s*"
    r"(?P<unit>k|m|b|t|thousand|million|mil|mn|billion|bn|trillion)?(?:\s*(?:parameters|params|weights))?$",
    re.IGNORECASE,
)
MAX_SIGNS = 200
"""Of a figure: the longest that is printed with its unit has some forty."""
MOST = 10**16
"""Larger than any model by a factor of thousands: what is beyond is no count of parameters."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure as printed, and the whole numbers that round to it.

    Attributes:
        text: as printed, "117M".
        value: what it says, read literally: 117,000,000.
        low, high: the least and the largest count that is printed so, both included: 116,500,000 and 117,499,999.
    """

    text: str
    value: int
    low: int
    high: int

    def holds(self, parameters: int) -> bool:
        """Whether a count of `parameters` is printed as this figure."""
        return self.low <= parameters <= self.high


def parse_figure(text: str) -> Figure:
    """The figure in `text`: "117M", "1.5B", "124,439,808", "6.7e9", "117 million", "~50K".

    A digit that is printed is meant: "1542M" stands for 1,541,500,000 to 1,542,499,999. A number without a unit stands
    for itself alone. Where the figure says that it is approximate ("~50K"), zeros at its end are not meant: 45,000 to
    54,999. Raises BadInput for what is no figure.

    >>> parse_figure("117M").low, parse_figure("117M").high
    (116500000, 117499999)
    """
    found = _FIGURE.match(text.strip()) if len(text) <= MAX_SIGNS else None
    if found is None:
        raise BadInput(f"{text!r} is no figure; write it as 117M, 1.5B or 124439808")
    part, power = found["part"] or "", int(found["power"] or 0)
    unit = (found["unit"] or "").lower()
    scale = _UNITS[_WORDS.get(unit, unit)] * 10**power
    digits = re.sub(r"[,_ ]", "", found["whole"])
    step = Fraction(scale, 10 ** len(part))
    value = int(digits + part) * step
    if value <= 0 or value > MOST or value.denominator != 1:
        raise BadInput(f"{text!r} is no count of parameters; write it as 117M, 1.5B or 124439808")
    if found["about"]:
        step *= 10 ** (len(digits + part) - len((digits + part).rstrip("0")))
    if step <= 1:
        return Figure(text=text.strip(), value=int(value), low=int(value), high=int(value))
    return Figure(
        text=text.strip(),
        value=int(value),
        low=math.ceil(value - step / 2),
        high=math.ceil(value + step / 2) - 1,
    )
