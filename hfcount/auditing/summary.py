"""A run at a glance: how many findings of each verdict, the largest discrepancies, what a chart needs.

Worked out from the rows one after the other, so that a store of millions takes no more memory than one of ten.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hfcount.auditing.finding import VERDICTS
from hfcount.auditing.stores.rows import is_passing

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What a store of findings comes to.

    Attributes:
        models: how many were audited.
        unreached: of these, how many the source gave no answer for (offline, too many requests, a broken connection):
            their rows are no results, and a run that is resumed asks for them again.
        verdicts: verdict -> findings, each verdict in its order, 0 where there is none.
        kinds: (kind of claim, verdict) -> findings.
        conventions: convention -> how many figures it explains, the most frequent first.
        off: (verdict, decade) -> findings whose figure differs from the expected by up to 10^decade of it: -2 is from
            0.1 % to 1 %, 0 from 10 % to 100 %.
        largest: the rows of the mismatches that differ most, relative to the expected figure, the largest first.
    """

    models: int
    unreached: int
    verdicts: Mapping[str, int]
    kinds: Mapping[tuple[str, str], int]
    conventions: Mapping[str, int]
    off: Mapping[tuple[str, int], int]
    largest: tuple[Mapping[str, Any], ...]

    def to_dict(self) -> dict[str, int]:
        """The models, the findings by verdict, and `unreached` where there are such models."""
        return {"models": self.models, **self.verdicts, **({"unreached": self.unreached} if self.unreached else {})}

    def verdict_frame(self) -> pd.DataFrame:
        """A row for each kind of claim, a column for each verdict: what a stacked bar chart draws."""
        import pandas as pd

        kinds = sorted({kind for kind, _ in self.kinds}, key=lambda kind: (-self._of_kind(kind), kind))
        rows = [[self.kinds.get((kind, verdict), 0) for verdict in VERDICTS] for kind in kinds]
        return pd.DataFrame(rows, index=pd.Index(kinds, name="kind"), columns=list(VERDICTS))

    def off_frame(self) -> pd.DataFrame:
        """A row for each decade of the relative difference, a column for each verdict: what a histogram draws."""
        import pandas as pd

        decades = sorted({decade for _, decade in self.off})
        decades = list(range(decades[0], decades[-1] + 1)) if decades else []
        rows = [[self.off.get((verdict, decade), 0) for verdict in VERDICTS] for decade in decades]
        return pd.DataFrame(rows, index=pd.Index(decades, name="decade"), columns=list(VERDICTS))

    def _of_kind(self, kind: str) -> int:
        return sum(self.kinds.get((kind, verdict), 0) for verdict in VERDICTS)


def summarize(rows: Iterable[Mapping[str, Any]], *, largest: int = LARGEST) -> Summary:
    """The summary of a store's `rows`, those of a target together."""
    models = unreached = 0
    missed = None  # the target that was last found not to be reached
    verdicts, kinds, conventions, off = Counter[str](), Counter[Any](), Counter[str](), Counter[Any]()
    worst: list[tuple[float, int, Mapping[str, Any]]] = []
    order = itertools.count(0, -1)  # of two that are as far off, the first stays
    for row in rows:
        verdict = row["verdict"]
        models += row["nth"] == 1
        if is_passing(row) and row["target"] != missed:
            missed = row["target"]
            unreached += 1
        verdicts[verdict] += 1
        kinds[row["kind"], verdict] += 1
        if row["convention"] and verdict == "explained":
            conventions[row["convention"]] += 1
        share = relative(row)
        if share:
            off[verdict, math.ceil(math.log10(share))] += 1
        if share and verdict == "mismatch":
            heapq.heappush(worst, (share, next(order), row))
            if len(worst) > largest:
                heapq.heappop(worst)
    return Summary(
        models=models,
        unreached=unreached,
        verdicts={verdict: verdicts[verdict] for verdict in VERDICTS},
        kinds=dict(kinds),
        conventions=dict(conventions.most_common()),
        off=dict(off),
        largest=tuple(row for _, _, row in sorted(worst, key=lambda each: each[:2], reverse=True)),
    )


def relative(row: Mapping[str, Any]) -> float | None:
    """|delta| as a share of the expected figure; None where one of them is not there."""
    expected, delta = row["expected"], row["delta"]
    return abs(delta) / abs(expected) if expected and delta is not None else None
