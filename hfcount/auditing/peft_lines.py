"""A line that PEFT printed ("trainable params: ... || all params: ...") held against PEFT on the model built empty."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hfcount.auditing.bare_lines import judge_bare
from hfcount.auditing.finding import Finding, Verdict
from hfcount.auditing.peft_conventions import RENAMED, Case, Way, ways
from hfcount.auditing.peft_methods import (
    Adapted,
    BaseConfig,
    Unattached,
    adapt,
    base_skeleton,
    load_base,
    named_base,
)
from hfcount.auditing.stating import found
from hfcount.auditing.stored_adapters import shapes_stored, sizes_stored
from hfcount.configs import LoadedConfig
from hfcount.conventions.figures import MOST
from hfcount.errors import BadInput
from hfcount.lora.count import totals
from hfcount.sources.described import Described
from hfcount.sources.source import Claim

KIND = "trainable (PEFT printed)"

_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d+)"
_PRINTED = re.compile(
    rf"trainable params:\s*{_NUMBER}\s*\|\|\s*all params:\s*{_NUMBER}(?:\s*\|\|\s*trainable%:\s*(\d+(?:\.\d+)?))?",
    re.IGNORECASE,
)

_PERCENT = re.compile(r"\d{1,3}(?:\.\d{1,30})?(?:e-\d{1,2})?")


@dataclasses.dataclass(frozen=True)
class Line:
    """The figures of a printed line; `percent` as printed, None where it is not there."""

    trainable: int
    all: int
    percent: str | None = None

    @property
    def base(self) -> int:
        """What is not trained."""
        return self.all - self.trainable

    def percent_holds(self) -> bool:
        """Whether the percent is 100·trainable/all, rounded to the places that are printed."""
        if self.percent is None:
            return True
        if not _PERCENT.fullmatch(self.percent):
            return False
        printed = Decimal(self.percent)
        places = -int(printed.as_tuple().exponent)
        half = Decimal(1).scaleb(-min(places, 12)) / 2  # a float is printed to more places than it is exact to
        return abs(Decimal(100 * self.trainable) / Decimal(self.all) - printed) <= half * Decimal("1.01")


def printed_line(claim: Claim) -> Line | None:
    """The figures of `claim`: those in its details, else those in its text; None where it has not both."""
    found = _PRINTED.search(claim.claim)
    trainable, everything = claim.value, claim.details.get("all_params")
    percent = claim.details.get("trainable_pct")
    if found:
        trainable = trainable if trainable is not None else _integer(found[1])
        everything = everything if everything is not None else _integer(found[2])
        percent = percent if percent is not None else found[3]
    if not isinstance(trainable, int) or not isinstance(everything, int) or not 0 < everything <= MOST:
        return None
    return Line(trainable, everything, None if percent is None else str(percent))


def _integer(text: str) -> int:
    return int(text.replace(",", ""))


def judge_peft(claim: Claim, described: Described, *, base_config: BaseConfig | None = None) -> Finding:
    """What became of a printed line: `expected` is what PEFT trains today, `delta` the claimed trainable less that.

    "ok" where both figures and the percent are PEFT's; "explained" where a convention of peft_conventions gives both;
    "mismatch" where none does; "unverifiable" where the model, or what was attached to it, is not known.
    """
    line = printed_line(claim)
    if line is None:
        return _finding(claim, described, "unverifiable", "a line with both figures, trainable and all, was expected")
    peft = claim.details.get("peft")
    settings = peft.get("model_kwargs") if isinstance(peft, Mapping) else None
    base = (described.model, described.config)
    if not isinstance(peft, Mapping) and described.adapter_config is not None:
        peft = described.adapter_config
        base = named_base(peft, base_config) or base
    if base[1] is None:
        return _finding(claim, described, "unverifiable", "no config.json of the base to hold it against")
    try:
        loaded = load_base(base[0], base[1], settings if isinstance(settings, Mapping) else None)
        if not isinstance(peft, Mapping):
            return judge_bare(claim, described, line, loaded)
        if peft is described.adapter_config:
            with contextlib.suppress(Unattached):  # the verdict below says why
                loaded = load_base(base[0], base[1], sizes_stored(loaded, peft, shapes_stored(described)))
        return _judge(claim, described, line, loaded, peft)
    except BadInput as error:
        return _finding(claim, described, "unverifiable", f"the base cannot be built: {error}")


def _judge(claim: Claim, described: Described, line: Line, loaded: LoadedConfig, peft: Mapping[str, Any]) -> Finding:
    try:
        adapted = adapt(loaded, peft)
    except Unattached as reason:
        return _judge_base(claim, described, line, loaded, peft, str(reason))
    counted = f"{_method(peft)} on {adapted.model_class}: {adapted.trainable:,} of {adapted.all:,}"
    if (adapted.trainable, adapted.all) == (line.trainable, line.all):
        return _of_equal(claim, described, line, adapted, counted)
    note = str(claim.details.get("note") or "")
    case = Case(loaded=loaded, peft=peft, adapted=adapted, note=note, others=_others(claim, described, peft))
    for way in ways(case):
        if (way.trainable, way.all) == (line.trainable, line.all):
            return _of_way(claim, described, line, adapted, way, counted)
    why = f"{counted}; the line differs by {_delta(line, adapted)}, which no convention gives"
    return _finding(claim, described, "mismatch", why, adapted.trainable)


def _of_equal(claim: Claim, described: Described, line: Line, adapted: Adapted, counted: str) -> Finding:
    """Both figures are PEFT's own: ok, or explained where targets had to be renamed."""
    if not line.percent_holds():
        why = f"{counted}; but {line.percent} % is not 100·trainable/all"
        return _finding(claim, described, "mismatch", why, adapted.trainable)
    if adapted.renamed:
        return _finding(claim, described, "explained", f"{counted}; {_new_names(adapted)}", adapted.trainable, RENAMED)
    return _finding(claim, described, "ok", counted, adapted.trainable)


def _of_way(claim: Claim, described: Described, line: Line, adapted: Adapted, way: Way, counted: str) -> Finding:
    if not line.percent_holds():
        why = f"{way.name}: {way.why}; but {line.percent} % is not 100·trainable/all"
        return _finding(claim, described, "mismatch", why, adapted.trainable)
    also = f"; {_new_names(adapted)}" if adapted.renamed else ""
    why = f"{counted}; the line differs by {_delta(line, adapted)}. {way.why}{also}"
    return _finding(claim, described, "explained", why, adapted.trainable, way.name)


def _new_names(adapted: Adapted) -> str:
    names = ", ".join(f"{old} as {new}" for old, new in adapted.renamed.items())
    return f"transformers 5 has {names}"


def _delta(line: Line, adapted: Adapted) -> str:
    return f"{line.trainable - adapted.trainable:+,} trainable and {line.all - adapted.all:+,} in all"


def _method(peft: Mapping[str, Any]) -> str:
    """The method with its rank or number of virtual tokens, for a reader."""
    sizes = (f"{name} = {peft[name]}" for name in ("r", "num_virtual_tokens") if peft.get(name) is not None)
    return " ".join([str(peft.get("peft_type")), *sizes])


def _judge_base(
    claim: Claim, described: Described, line: Line, loaded: LoadedConfig, peft: Mapping[str, Any], reason: str
) -> Finding:
    """The verdict where PEFT attaches nothing: the base, which is all less trainable, can still be held."""
    _, base = totals(base_skeleton(loaded, peft).model)
    if line.base == base:
        why = f"all less trainable is the base's {base:,}, as it should; what was attached cannot be told: {reason}"
        return _finding(claim, described, "unverifiable", why)
    if peft.get("peft_type") != "LORA":  # other methods may keep frozen parameters of their own
        return _finding(claim, described, "unverifiable", f"what was attached cannot be told: {reason}")
    why = f"all less trainable is {line.base:,}, and the base has {base:,}, {line.base - base:+,}; {reason}"
    return _finding(claim, described, "mismatch", why)


def _others(claim: Claim, described: Described, peft: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The configurations of the other printed lines about the same model, class and settings."""
    same = ("model_class", "model_kwargs")
    others = (each.details.get("peft") for each in described.claims if each.kind == KIND and each != claim)
    return tuple(
        each for each in others if isinstance(each, Mapping) and all(each.get(key) == peft.get(key) for key in same)
    )


def _finding(
    claim: Claim,
    described: Described,
    verdict: Verdict,
    explanation: str,
    expected: int | None = None,
    convention: str | None = None,
) -> Finding:
    line = printed_line(claim)
    claimed = None if line is None else line.trainable
    return found(
        described.model, claim, verdict, explanation, expected=expected, claimed=claimed, convention=convention
    )
