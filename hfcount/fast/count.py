"""One model counted from its config.json and the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.classes import architectures, none_named, others_named
from hfcount.configs import checked_fields
from hfcount.conventions import Subject, conventions
from hfcount.fast.fields import check_fields, lay_over, traced_fields
from hfcount.fast.reasons import NotCovered
from hfcount.fast.rows import kinds, one_by_one, totals
from hfcount.formulas import catalogue
from hfcount.formulas.config_fields import PlainConfig, is_completed
from hfcount.formulas.form import Form, FormOnConfig, RowValue
from hfcount.formulas.verified import closed_form_on, provenance
from hfcount.limits import MAX_PARAMETERS
from hfcount.lora.count import LoraRows
from hfcount.result import Count, components, versions
from hfcount.skeleton import PUBLISHED_UNTIED, packed
from hfcount.sources.source import Source

if TYPE_CHECKING:
    from hfcount.lora import LoraOptions


def fast_count(
    source: Source,
    settings: Sequence[str] = (),
    adapters: Sequence[LoraOptions] = (),
    *,
    class_name: str | None = None,
    detailed: bool = False,
) -> Count:
    """The count of `source` with `settings` ("KEY=VALUE") laid over it, from a verified form.

    `detailed`: with a row for each parameter instead of one for each kind. Raises NotCovered where the catalogue does
    not answer, and BadInput for sizes that no model has.
    """
    form, raw = covering_form(source, settings, class_name=class_name)
    if not is_completed(form):
        raise NotCovered(f"fields of {form.model_class} are worked out in ways that its form does not tell")
    held = form.on(raw)
    rows, buffers, tied_head = _numbers(held)
    parts = kinds(rows)
    sizes = totals(parts, buffers, tied_head=tied_head)
    if sizes.total > MAX_PARAMETERS:
        raise NotCovered("so many parameters are absurd")
    text = closed_form_on(held)
    config = PlainConfig(held.fields, form.renamed)
    subject = Subject(parts=parts, sizes=sizes, config=config, model=source.model)
    return Count(
        model=source.model,
        model_class=form.model_class,
        model_type=form.model_type,
        source=source,
        sizes=sizes,
        components=components(parts, text),
        form=text,
        conventions=conventions(subject, claims=() if settings else source.claims),
        lora=_lora(form, raw, adapters),
        notes=tuple(_notes(source, settings, raw, form, class_name)),
        versions=versions(),
        parts=one_by_one(rows, form.symbols) if detailed else parts,
        config=config,
    )


def covering_form(
    source: Source, settings: Sequence[str] = (), *, class_name: str | None = None
) -> tuple[Form, dict[str, Any]]:
    """(the catalogued form that holds for `source`, its config.json with `settings` laid over it).

    Raises NotCovered, with the condition that fails, where none does.
    """
    raw = checked_fields(source.config, source.model)
    if settings:
        lay_over(raw, settings, _forms(raw))
        raw = checked_fields(raw, source.model)
    return _form_for(raw, class_name), raw


def _forms(raw: Mapping[str, Any]) -> Iterator[Form]:
    model_type = raw.get("model_type")
    return catalogue.forms(model_type) if isinstance(model_type, str) else iter(())


def _form_for(raw: Mapping[str, Any], class_name: str | None) -> Form:
    """The form that holds for `raw`; NotCovered, with the condition that fails, where none does."""
    form = catalogue.find(raw, class_name)
    if form is not None:
        check_fields(form, raw)
        return form
    named = (class_name,) if class_name else architectures(raw)
    of_type = list(_forms(raw))
    of_class = [each for each in of_type if not named or each.model_class == named[0]]
    if not of_class:
        what = named[0] if named else raw.get("model_type") or "a config without model_type"
        raise NotCovered(f"the catalogue has no form of {what}")
    nearest = min((each.broken_guards(raw) for each in of_class), key=len)
    raise NotCovered(f"no form of {of_class[0].model_class} holds: it would need {nearest[0] if nearest else 'more'}")


def _numbers(held: FormOnConfig) -> tuple[list[RowValue], list[RowValue], int]:
    """The parameters and buffers with their numbers, and the size of a tied head; NotCovered for what is no size."""
    form = held.form
    if form.buffers is None or not held.knows_buffers or _rotary(held.raw) != _rotary(traced_fields(form)):
        raise NotCovered(f"the form of {form.model_class} does not know its buffers here")
    try:
        rows, buffers, tied_head = held.evaluated(), held.evaluated(form.buffers), held.tied_head
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise NotCovered(f"the form cannot be worked out ({error})") from error
    for value in (*rows, *buffers):
        if value.times < 0 or any(size < 0 for size in value.shape):
            raise NotCovered(f"{value.row.name} would have a negative size")
    return rows, buffers, tied_head


_ROTARY = ("rotary_pct", "partial_rotary_factor", "rotary_emb_fraction", "rope_pct")


def _rotary(fields: Mapping[str, Any]) -> list[Any]:
    """Which share of the heads is rotated, wherever it is said: buffers have their size by it, parameters never."""
    found = [fields[name] for name in _ROTARY if name in fields]
    return found + [each for value in fields.values() if isinstance(value, Mapping) for each in _rotary(value)]


def _lora(form: Form, raw: Mapping[str, Any], adapters: Sequence[LoraOptions]) -> LoraRows:
    if not adapters:
        return LoraRows()
    from hfcount.fast.lora import fast_lora

    counts = []
    for options in adapters:
        found = fast_lora(form, raw, options)
        if found is None:
            raise NotCovered("the form does not tell what LoRA attaches with these settings")
        counts.append(found)
    return LoraRows(counts)


def _notes(
    source: Source, settings: Sequence[str], raw: Mapping[str, Any], form: Form, class_name: str | None
) -> Iterator[str]:
    """The remarks that the long way has too, in its words, and where the figures come from."""
    yield from (f"a variant: {setting}" for setting in settings)
    yield from source.notes
    named = architectures(raw)
    if class_name is None and not named:
        yield none_named(form.model_class)
    if class_name is None and len(named) > 1:
        yield others_named(named)
    if raw.get("tie_word_embeddings") is False and form.tied_head is not None:
        yield PUBLISHED_UNTIED
    quantization = source.config.get("quantization_config")
    if isinstance(quantization, Mapping):
        yield packed(quantization)
    yield f"from {provenance(form)}; no model was built"
