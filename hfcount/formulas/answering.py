"""The verified form for a model: from the catalogue, from the local cache, or traced and proven now.

However it comes, it is held against the real class at the model's own config before it is given.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from hfcount.deadline import uncounted
from hfcount.errors import BadInput
from hfcount.formulas import catalogue
from hfcount.formulas.form import Form
from hfcount.sealed import is_own_code, sealed
from hfcount.sources.source import Source

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """What `--check N` found: how many drawn configs agreed of how many asked, and what the first other one said."""

    asked: int
    agreed: int
    failed: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    """A model's form, or why it has none.

    Attributes:
        form: the verified form, or None.
        raw: the config.json that it was asked for, overrides included.
        model_class, model_type: what was built.
        total: the real class's parameters, counted.
        reason: why there is no form; "" where there is one.
        drawn: what drawing more configs found, where that was asked.
        notes: what was chosen on the way, a line each.
    """

    form: Form | None
    raw: Mapping[str, Any]
    model_class: str
    model_type: str
    total: int
    reason: str = ""
    drawn: Drawn | None = None
    notes: tuple[str, ...] = ()


def answered(
    source: Source,
    settings: Sequence[str] = (),
    *,
    class_name: str | None = None,
    trust_remote_code: bool = False,
    check: int = 0,
) -> Answered:
    """The verified form for `source` with `settings` laid over its config; `check` more random configs are drawn.

    Raises BadInput where the config makes no model. A form that was traced here goes into the local cache.
    """
    from hfcount.classes import model_class_for
    from hfcount.configs import load_config
    from hfcount.formulas.tracing.reality import built, difference, reality_of
    from hfcount.formulas.tracing.search import NoForm, Subject

    loaded = load_config(source, settings, trust_remote_code=trust_remote_code)
    with uncounted():  # as in load_config
        model_class, notes = model_class_for(
            loaded.config, loaded.raw, where=loaded.where, class_name=class_name, own_code=loaded.own_code
        )
    subject = Subject(raw=loaded.raw, config_class=type(loaded.config), model_class=model_class)
    real = reality_of(built(loaded.raw, subject.config_class, model_class, where=loaded.where))
    form, reason = catalogue.find(loaded.raw, model_class.__name__), ""
    if form is not None and (wrong := difference(form, loaded.raw, real)) is not None:
        logger.warning("the catalogue's form of %s is wrong here (%s); traced anew", model_class.__name__, wrong)
        form = None
    if form is None:
        try:
            form = _traced(subject, source)
        except NoForm as error:
            reason = str(error)
    drawn = _drawn(form, subject, check) if form is not None and check else None
    return Answered(
        form=form,
        raw=loaded.raw,
        model_class=model_class.__name__,
        model_type=str(loaded.raw.get("model_type") or loaded.config.model_type),
        total=real.total,
        reason=reason,
        drawn=drawn,
        notes=(*source.notes, *loaded.notes, *notes),
    )


def form_for(source: Source, settings: Sequence[str] = (), **how: Any) -> Form | None:
    """The verified form for `source`, or None; `how` is as in `answered`."""
    return answered(source, settings, **how).form


def _traced(subject: Any, source: Source) -> Form:
    from hfcount.formulas.tracing.conditions import conditioned
    from hfcount.formulas.tracing.search import find_form

    logger.info("tracing the closed form of %s", subject.model_class.__name__)
    example = {"card": source.model} if source.kind == "card" else None
    with sealed(own_code=is_own_code(subject.model_class)):
        form = find_form(subject.raw, subject.config_class, subject.model_class, example=example)
        form = conditioned(form, subject, thorough=False)
    if not subject.model_class.__module__.startswith(("transformers.", "hfcount.")):
        return form  # a repository's own code is known by no version: its form is good for this run
    try:
        catalogue.remember(form)
    except OSError as error:
        logger.info("the form was not kept in the local cache: %s", error)
    return form


def _drawn(form: Form, subject: Any, check: int) -> Drawn:
    from hfcount.formulas.tracing.search import check_more

    with sealed(own_code=is_own_code(subject.model_class)):
        found = check_more(form, subject, draws=check, seed=random.SystemRandom().randrange(2**31))
    failed = found.failed or ("its buffers are others" if found.buffers_wrong is not None else None)
    if failed is None and found.agreed == 0:
        raise BadInput(f"--check {check}: no drawn config could be built")
    return Drawn(asked=check, agreed=found.agreed, failed=failed)
