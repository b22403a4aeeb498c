"""The public functions: each goes the one way through the house, from a source to an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.configs import load_config
from hfcount.deadline import deadline
from hfcount.errors import BadInput
from hfcount.formulas.model_types import is_model_type, load_model_type
from hfcount.result import PACKAGES, Compared, Component, Count, Explained, components, versions
from hfcount.sources import Source, resolve

if TYPE_CHECKING:
    from hfcount.formula_answer import FormulaAnswer
    from hfcount.lora import LoraOptions

__all__ = [
    "PACKAGES",
    "Compared",
    "Component",
    "Count",
    "Explained",
    "compare",
    "components",
    "count",
    "explain",
    "formula",
    "versions",
]


def count(
    model: str,
    *,
    settings: Mapping[str, Any] | Sequence[str] = (),
    lora_r: int | Sequence[int] = (),
    lora_targets: str | Sequence[str] = "default",
    class_name: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    trust_remote_code: bool = False,
    fast: bool = False,
    detailed: bool = False,
    **lora_settings: Any,
) -> Count:
    """How many parameters `model` has and where, by which convention, and what LoRA would train.

    `model` is a folder with a config.json, a bundled card's name or alias, or a Hub id; of that `revision` is a
    branch, tag or commit, and `offline` asks the network nothing. `settings` overrides config fields (a mapping, or
    "KEY=VALUE" strings), `class_name` counts another architecture class than the config names, and
    `trust_remote_code` lets the repository's own code run where it needs that. `lora_r` is one rank or several;
    `lora_targets` is "default", "all-linear", "attention", "mlp", or module names. `lora_settings` are PEFT's
    settings that change the count: `modules_to_save`, `target_parameters`, `rank_pattern`, `use_dora`, `bias`.
    `timeout` is in seconds, for each request and for the work on the answer. `fast` answers from the catalogue of
    verified closed forms where it covers the config, without torch; `detailed` asks it for a row for each parameter
    (`parts`).
    Raises BadInput or SourceError.

    >>> count("gpt2").sizes.total
    124439808
    """
    adapters = _adapters((lora_r,) if isinstance(lora_r, int) else tuple(lora_r), lora_targets, lora_settings)
    return count_source(
        resolve(model, revision=revision, offline=offline, timeout=timeout),
        as_settings(settings),
        adapters,
        class_name=class_name,
        timeout=timeout,
        trust_remote_code=trust_remote_code,
        fast=fast,
        detailed=detailed,
    )


def count_source(
    source: Source,
    settings: Sequence[str] = (),
    adapters: Sequence[LoraOptions] = (),
    *,
    class_name: str | None = None,
    timeout: float | None = None,
    trust_remote_code: bool = False,
    fast: bool = False,
    detailed: bool = False,
) -> Count:
    """The count of a description at hand; the options are as in `count`, `settings` as "KEY=VALUE"."""
    with deadline(timeout, source.model):
        detour = None
        if fast:
            from hfcount.fast import NotCovered, fast_count

            try:
                return fast_count(source, settings, adapters, class_name=class_name, detailed=detailed)
            except NotCovered as reason:
                detour = f"not from the catalogue: {reason}; the model itself was counted"
        return _built(
            source, settings, adapters, detour=detour, class_name=class_name, trust_remote_code=trust_remote_code
        )


def _built(
    source: Source,
    settings: Sequence[str],
    adapters: Sequence[LoraOptions],
    *,
    detour: str | None,
    class_name: str | None,
    trust_remote_code: bool,
) -> Count:
    """The count of the class itself, built empty."""
    from hfcount.conventions import Subject, conventions
    from hfcount.formulas import closed_form
    from hfcount.formulas.verified import catalogued
    from hfcount.inventory import buffer_table, inventory, sizes, tied_head_size
    from hfcount.lora import count_lora
    from hfcount.parts import parts_of
    from hfcount.sealed import is_own_code
    from hfcount.skeleton import build_skeleton

    loaded = load_config(source, settings, trust_remote_code=trust_remote_code)
    claims = () if settings else source.claims  # what is published is not about a variant
    skeleton = build_skeleton(loaded, class_name=class_name)
    table = inventory(skeleton.model)
    parts = parts_of(table)
    totals = sizes(table, buffer_table(skeleton.model), tied_head=tied_head_size(skeleton.model))
    model_class = type(skeleton.model).__name__
    form, remark = closed_form(skeleton.config, model_class), None
    if form is None and not is_own_code(type(skeleton.model)):
        form, remark = catalogued(loaded.raw, model_class, totals.total)
    subject = Subject(parts=parts, sizes=totals, config=skeleton.config, model=source.model)
    return Count(
        model=source.model,
        model_class=model_class,
        model_type=skeleton.config.model_type,
        source=source,
        sizes=totals,
        components=components(parts, form),
        form=form,
        conventions=conventions(subject, claims=claims),
        lora=count_lora(lambda: build_skeleton(loaded, class_name=class_name).model, adapters),
        notes=(
            *(f"a variant: {setting}" for setting in settings),
            *source.notes,
            *skeleton.notes,
            *(each for each in (remark, detour) if each),
        ),
        versions=versions(),
        parts=parts,
        config=skeleton.config,
        table=table,
        detour=detour,
    )


def explain(model: str, figure: str, **how: Any) -> Explained:
    """Which convention gives the published `figure` ("117M") for `model`; `how` is as in `count`.

    The answer is the pair of the count and the explanation. Raises BadInput for what is no figure, or SourceError.

    >>> explain("gpt2", "117M", fast=True).explanation.explained
    False
    """
    from hfcount.conventions import Subject, parse_figure
    from hfcount.conventions import explain as search

    parse_figure(figure)  # refuse a bad figure before anything is built
    counted = count(model, **how)
    subject = Subject(parts=counted.parts, sizes=counted.sizes, config=counted.config, model=counted.model)
    return Explained(counted, search(figure, counted.conventions, subject))


def formula(
    model: str,
    *,
    settings: Mapping[str, Any] | Sequence[str] = (),
    class_name: str | None = None,
    revision: str | None = None,
    offline: bool = False,
    timeout: float | None = None,
    trust_remote_code: bool = False,
    fast: bool = False,
    check: int = 0,
) -> FormulaAnswer:
    """The closed form of `model`'s parameter count in the fields of its config.json, verified, and the count.

    The options are as in `count`; besides, a model type ("llama") stands for its default config. A form comes from
    the catalogue, from this machine's cache, or is traced and proven now; whichever it is, it is held against the real
    class at the model's own config, unless `fast` asks for the catalogue's word alone. `check` draws that many more
    random configs that meet the form's conditions and holds it against each. Raises BadInput or SourceError.

    >>> formula("gpt2").text
    'V*d + T*d + L*(12*d**2 + 13*d) + 2*d'
    """
    if check < 0 or (check and fast):
        raise BadInput(f"--check {check}: give a positive number, without --fast, since checking builds the models")
    if revision is None and is_model_type(model):
        source = load_model_type(model)
    else:
        source = resolve(model, revision=revision, offline=offline, timeout=timeout)
    asked, detour = as_settings(settings), None
    if fast:
        from hfcount.fast import NotCovered

        try:
            return _formula_alone(source, asked, class_name)
        except NotCovered as reason:
            detour = f"not from the catalogue: {reason}; the model itself was built"
    from hfcount.formula_answer import FormulaAnswer
    from hfcount.formulas.answering import answered

    with deadline(timeout, source.model):
        found = answered(source, asked, class_name=class_name, trust_remote_code=trust_remote_code, check=check)
    return FormulaAnswer(
        model=source.model,
        model_class=found.model_class,
        model_type=found.model_type,
        source=source,
        value=found.total,
        form=found.form,
        raw=found.raw,
        reason=found.reason,
        drawn=found.drawn,
        detour=detour,
        notes=(*(f"a variant: {setting}" for setting in asked), *found.notes),
    )


def _formula_alone(source: Source, settings: Sequence[str], class_name: str | None) -> FormulaAnswer:
    """The catalogue's form and its value; NotCovered where it has none."""
    from hfcount.fast import NotCovered, covering_form
    from hfcount.formula_answer import FormulaAnswer
    from hfcount.formulas.verified import closed_form_of

    form, raw = covering_form(source, settings, class_name=class_name)
    try:
        value = closed_form_of(form, raw).value
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise NotCovered(f"the form cannot be worked out ({error})") from error
    return FormulaAnswer(
        model=source.model,
        model_class=form.model_class,
        model_type=form.model_type,
        source=source,
        value=value,
        form=form,
        raw=raw,
        notes=(*(f"a variant: {setting}" for setting in settings), *source.notes, "no model was built"),
    )


def compare(models: Sequence[str], **how: Any) -> Compared:
    """The counts of several `models`, in the order asked; `how` is as in `count`. Raises BadInput or SourceError.

    >>> [each.sizes.total for each in compare(["gpt2", "gpt2-xl"], fast=True)]
    [124439808, 1557611200]
    """
    return Compared(count(model, **how) for model in models)


def as_settings(settings: Mapping[str, Any] | Sequence[str]) -> Sequence[str]:
    """Overrides as "KEY=VALUE" strings."""
    if isinstance(settings, Mapping):
        return [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    return settings


def _adapters(
    ranks: Sequence[int], targets: str | Sequence[str], lora_settings: Mapping[str, Any]
) -> list[LoraOptions]:
    if lora_settings and not ranks:
        raise BadInput(f"{', '.join(lora_settings)}: settings of LoRA, but no rank; give lora_r as well")
    if not ranks:
        return []
    from hfcount.lora import LoraOptions

    named = targets if isinstance(targets, str) else tuple(targets)
    return [LoraOptions(r=r, targets=named, **lora_settings) for r in ranks]
