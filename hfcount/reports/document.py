"""Results as plain dicts and rows: the JSON that programs read, and the tables that CSV and Markdown share."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final

from hfcount.breakdown import breakdown
from hfcount.result import Count
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.breakdown import Grouping
    from hfcount.reports.schema import (
        ComparisonDocument,
        CountDocument,
        ExplanationDocument,
        FormDocument,
        LoraDocument,
        RowDocument,
    )

SCHEMA: Final = 1


def to_json(document: Any) -> str:
    """Return `document` as JSON text with a line end; signs that cannot be seen are escapes, which change no value."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(f"{visible(line, escape=_escape)}\n" for line in text.split("\n"))


def _escape(sign: str) -> str:
    """Return `sign` as JSON writes it in ASCII: a unit of UTF-16 at a time (RFC 8259, section 7)."""
    units = sign.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def count_document(result: Count, *, by: Grouping = "component") -> CountDocument:
    """The JSON of `hfcount MODEL`, as INTERFACE fixes it, with the rows of `--by` as "breakdown"."""
    sizes = result.sizes
    return {
        "schema": SCHEMA,
        "model": result.model,
        "model_class": result.model_class,
        "model_type": result.model_type,
        "source": {
            "kind": result.source.kind,
            "location": result.source.location,
            "revision": result.source.revision,
        },
        "versions": dict(result.versions),
        "parameters": {
            "total": sizes.total,
            "embedding": sizes.embedding,
            "lm_head": sizes.lm_head,
            "non_embedding": sizes.non_embedding,
            "active": sizes.active,
            "untied": sizes.untied,
            "buffers": sizes.buffers,
        },
        "components": [{**dataclasses.asdict(each), "share": round(each.share, 4)} for each in result.components],
        "formula": form_document(result),
        "conventions": [
            {
                "name": each.name,
                "parameters": each.parameters,
                "published": list(each.published),
                "note": each.note,
                "derivation": each.derivation,
                "basis": each.basis,
            }
            for each in result.conventions
        ],
        "lora": [lora_document(each) for each in result.lora],
        "symbols": dict(result.form.symbols) if result.form is not None else {},
        "breakdown": {"by": by, "rows": breakdown_rows(result, by)},
        "notes": list(result.notes),
    }


def form_document(result: Count) -> FormDocument:
    """The closed form's part of the JSON; all null where there is no form."""
    form = result.form
    if form is None:
        return {"text": None, "value": None, "matches": None, "origin": None}
    return {
        "text": form.text,
        "value": form.value,
        "matches": result.form_matches,
        "origin": form.origin,
    }


def lora_document(each: Any) -> LoraDocument:
    """One LoRA row of the JSON; figures that do not apply are null, and `reason` says why."""
    rounded = {"trainable_percent": each.trainable_percent, "unreached_share": each.unreached_share}
    return {
        "r": each.r,
        "targets": list(each.targets),
        "trainable": each.trainable,
        "all": each.all,
        **{name: None if value is None else round(value, 4) for name, value in rounded.items()},
        "formula": each.formula,
        "formula_value": each.formula_value,
        "matches": each.matches,
        "reason": each.reason,
    }


def breakdown_rows(result: Count, by: str) -> list[RowDocument]:
    """The inventory grouped `by`, largest table first as the model has it."""
    formulas = {each.component: each.formula for each in result.components} if by == "component" else {}
    return [
        {
            "name": row.name,
            "parameters": row.parameters,
            "share": round(row.share, 4),
            "formula": formulas.get(row.name),
        }
        for row in breakdown(result.parts, by)
    ]


def explanation_document(result: Count, explanation: Any) -> ExplanationDocument:
    """The JSON of `hfcount explain MODEL FIGURE`."""

    def entry(found: Any) -> dict[str, Any]:
        return {
            "name": found.convention.name,
            "parameters": found.convention.parameters,
            "difference": found.difference,
            "note": found.convention.note,
            "derivation": found.convention.derivation,
            "basis": found.convention.basis,
        }

    return {
        "schema": SCHEMA,
        "model": result.model,
        "model_class": result.model_class,
        "figure": explanation.figure.text,
        "range": (explanation.figure.low, explanation.figure.high),
        "explained": explanation.explained,
        "matches": [entry(each) for each in explanation.matches],
        "misses": [entry(each) for each in explanation.misses],
        "inferences": list(explanation.inferences),
        "notes": list(result.notes),
        "versions": dict(result.versions),
    }


def comparison_document(results: tuple[Count, ...]) -> ComparisonDocument:
    """The JSON of `hfcount compare`: each model's totals and its shares by component."""
    return {
        "schema": SCHEMA,
        "models": [
            {
                "model": each.model,
                "model_class": each.model_class,
                "parameters": count_document(each)["parameters"],
                "components": [
                    {"component": part.component, "parameters": part.parameters, "share": round(part.share, 4)}
                    for part in each.components
                ],
                "formula": form_document(each),
                "notes": list(each.notes),
            }
            for each in results
        ],
        "versions": dict(results[0].versions) if results else {},
    }
