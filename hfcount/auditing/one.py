"""The audit of one model: everything that is claimed of it, each held against what it is."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from hfcount.auditing.claimed.gather import claims_of
from hfcount.auditing.files import OF_FILES, joined, judge_elements, judge_of_files
from hfcount.auditing.finding import Finding
from hfcount.auditing.judge import judge
from hfcount.auditing.lora_figures import judge_lora
from hfcount.auditing.peft_lines import KIND as PEFT_LINE
from hfcount.auditing.peft_lines import BaseConfig, judge_peft
from hfcount.auditing.stored_adapters import judge_adapter
from hfcount.auditing.targets import Target
from hfcount.auditing.truth import Truth, Uncounted
from hfcount.deadline import deadline
from hfcount.errors import PASSING_KINDS, BadInput, SourceError
from hfcount.sources.cards import find_card
from hfcount.sources.claims import claims_in, front_matter
from hfcount.sources.described import Described, Fault
from hfcount.sources.describing import describe
from hfcount.sources.requests_budget import RequestBudget
from hfcount.sources.source import Claim


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reach:
    """How far an audit may go for one model.

    Attributes:
        revision: of repositories on the Hub.
        offline: nothing is asked of the network.
        timeout: seconds for each request, and for building a model.
        headers: whether checkpoints are opened.
        per_second: requests a second that may be made in all; None: no limit but the Hub's own.
    """

    revision: str | None = None
    offline: bool = False
    timeout: float | None = None
    headers: bool = True
    per_second: float | None = None


def audit_target(target: Target, reach: Reach = Reach()) -> tuple[Finding, ...]:
    """The findings on a target: described, then audited. Raises BadInput for what no model can be called."""
    return audit_described(described(target, reach), reach=reach)


def described(target: Target, reach: Reach) -> Described:
    """What is said of a target: as it was crawled, where the row has it, else read where it is."""
    if target.config is not None or target.card is not None:
        return _crawled(target)
    found = describe(
        target.folder or target.id,  # an id is text; the name of a folder may hold bytes that are none
        revision=reach.revision,
        offline=reach.offline,
        timeout=reach.timeout,
        headers=reach.headers,
        budget=_budget(reach.per_second),
    )
    return dataclasses.replace(found, model=target.name) if target.folder else found


def _crawled(target: Target) -> Described:
    """A row with its config.json, its README.md or both."""
    card = target.card or ""
    row = Described(model=target.name, where="row", location=target.location, config=target.config, card=card)
    try:
        return dataclasses.replace(row, claims=claims_in(front_matter(card)))
    except BadInput as error:
        return dataclasses.replace(row, faults=(Fault(what="README.md", reason=str(error), kind="card"),))


@functools.cache
def _budget(per_second: float | None) -> RequestBudget:
    """One for the process."""
    return RequestBudget(per_second=per_second)


def audit_described(model: Described, *, reach: Reach = Reach()) -> tuple[Finding, ...]:
    """The findings on a model: what could not be read, what is claimed, what its files hold, in that order."""
    base_config = functools.partial(_base_config, reach=reach, here=model.where in ("folder", "file"))
    return tuple(_findings(model, base_config, reach.timeout))


def _findings(model: Described, base_config: BaseConfig, seconds: float | None) -> Iterator[Finding]:
    for fault in model.faults:
        yield _error(model, fault.what, fault.kind, fault.reason)
    adapter = model.adapter_config is not None
    truth = Truth(_on_base(model, base_config) if adapter else model, seconds)
    if model.config is not None and isinstance(truth.answer, Uncounted) and truth.answer.fault:
        yield _error(model, "config.json", "config", truth.answer.reason)
    claims = claims_of(model)
    with deadline(seconds, model.model):
        result = joined(truth) if model.checkpoint is not None and not adapter else ""
    for claim in claims:
        if claim.kind == PEFT_LINE:
            yield judge_peft(claim, model, base_config=base_config)
        elif "(LoRA)" in claim.kind:
            yield judge_lora(claim, model)
        elif claim.kind in OF_FILES and model.checkpoint is not None:
            yield judge_of_files(claim, truth, result)
        else:
            yield judge(claim, truth, names=_names(claims))
    if adapter:
        stored = judge_adapter(model, base_config=base_config)
        yield from () if stored is None else (stored,)
    elif model.checkpoint is not None:
        yield judge_elements(truth, result)


def _names(claims: tuple[Claim, ...]) -> list[Claim]:
    return [claim for claim in claims if "nominal" in claim.kind]


def _on_base(model: Described, base_config: BaseConfig) -> Described:
    """An adapter's repository is called by its base's size and speaks of its parameters."""
    name = (model.adapter_config or {}).get("base_model_name_or_path")
    if model.config is not None or not isinstance(name, str):
        return model
    return dataclasses.replace(model, config=base_config(name))


def _base_config(name: str, *, reach: Reach, here: bool) -> Mapping[str, Any] | None:
    """config.json of the model that an adapter names; None where it cannot be had.

    An adapter that is not `here`, on this machine, is somebody's: it names a card or a repository, but no folder.
    Raises SourceError where its source was asked and gave no answer: that the base is unknown is no finding then.
    """
    if not here and not name.startswith(("card:", "hf:")):
        name = f"hf:{name}" if find_card(name) is None else f"card:{name}"
    try:
        found = describe(
            name, offline=reach.offline, timeout=reach.timeout, headers=False, budget=_budget(reach.per_second)
        )
    except BadInput:  # the trainer's own path, or no name at all
        return None
    for fault in found.faults:
        if fault.kind in PASSING_KINDS and not _offline(reach):
            raise SourceError(fault.reason, kind=fault.kind)
    return found.config


def _offline(reach: Reach) -> bool:
    from huggingface_hub import constants

    return reach.offline or constants.is_offline_mode()


def _error(model: Described, what: str, kind: str, reason: str) -> Finding:
    return Finding(
        model=model.model, claim=what, kind=kind, source=model.location, verdict="error", explanation=reason
    )
