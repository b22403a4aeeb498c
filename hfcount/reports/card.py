"""The parameter section of a model card: its Markdown, and the JSON of `hfcount card`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hfcount.formulas import legend, pretty
from hfcount.reports.document import count_document
from hfcount.reports.markdown import code, listed, markdown_table, plain
from hfcount.reports.readme import BEGIN, END, PROVENANCE, Outcome
from hfcount.reports.units import exact, label, percent, share, short
from hfcount.result import Count
from hfcount.visible import visible

if TYPE_CHECKING:
    from hfcount.reports.schema import CardDocument


def card_section(result: Count, command: str) -> str:
    """The section that a model card has between the markers, without them; `command` is how to write it again.

    Only what the config decides stands above "How it was counted": neither the model's name, which in a checkout is
    the folder's, nor a version, nor a convention that is bound to a name. The word "parameters" stands beside the
    model's own totals alone, so that whoever reads claims out of a card (`hfcount audit` does) finds these.
    """
    parts = ["## Parameters", _lead(result), _components(result), _form(result), _totals(result)]
    for heading, body in (("### Counted in other ways", _other_ways(result)), ("### LoRA", _lora(result))):
        parts += [heading, body] if body else []
    parts += [PROVENANCE, _provenance(result, command)]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def card_text(section: str, outcome: Outcome | None) -> str:
    """The section between its markers, to be put into a README; of a README what became of it, and what differs."""
    if outcome is None:
        return f"{BEGIN}\n\n{section}\n{END}\n"
    readme = visible(str(outcome.readme))
    if outcome.state != "outdated":
        return f"{readme}: {outcome.state}\n"
    lines = (f"{readme}: outdated; --write in place of --check renews it", *outcome.differences)
    return "".join(f"{line}\n" for line in lines)


def card_document(result: Count, section: str, outcome: Outcome | None) -> CardDocument:
    """The JSON of `hfcount card`: that of the count, with the section and what became of the README, else null."""
    return {
        **count_document(result),
        "section": section,
        "readme": None if outcome is None else str(outcome.readme),
        "state": None if outcome is None else outcome.state,
        "differences": [] if outcome is None else list(outcome.differences),
    }


def without_lora(result: Count) -> list[str]:
    """Why ranks that were asked for have no row, each reason once."""
    return list(dict.fromkeys(each.reason for each in result.lora if each.trainable is None and each.reason))


def _lead(result: Count) -> str:
    total, active = result.sizes.total, result.sizes.active
    of_them = f", of which {exact(active)} are active for one token" if active != total else ""
    return (
        f"This model has {exact(total)} parameters ({short(total)}){of_them}, counted on {code(result.model_class)}."
    )


def _components(result: Count) -> str:
    rows = [
        [label(each.component), exact(each.parameters), share(each.share), _formula(each.formula)]
        for each in result.components
    ]
    rows.append(["**total**", f"**{exact(result.sizes.total)}**", "100.00%", ""])
    return markdown_table(["Component", "Count", "Share", "Closed form"], rows, right=(1, 2))


def _form(result: Count) -> str:
    """The closed form and its symbols; "" without one that equals the count."""
    if result.form is None or not result.form_matches:
        return ""
    symbols = ", ".join("{} is {}".format(*map(code, each.split(" ", 1))) for each in legend(result.form))
    where = f", where {symbols}" if symbols else ""
    return f"In closed form {_formula(result.form.text)} = {exact(result.form.value)}{where}."


def _totals(result: Count) -> str:
    sizes = result.sizes
    reads_tokens = any(each.component == "token_embedding" for each in result.components)
    rows = [
        ("Total parameters", sizes.total),
        ("Non-embedding parameters", sizes.non_embedding if reads_tokens else 0),  # a term of language models
        ("Token and position embeddings", sizes.embedding),
        ("LM head, not tied", sizes.lm_head),
        ("Active for one token", sizes.active),
        ("Buffers in a checkpoint, beside them", sizes.stored_buffers),
    ]
    return markdown_table(["Totals", "Count"], [[name, exact(size)] for name, size in rows if size], right=(1,))


def _other_ways(result: Count) -> str:
    """What else the model as built is counted as, where the tables above do not say it already; "" for nothing."""
    sizes = result.sizes
    said = {each.parameters for each in result.components}
    said |= {sizes.total, sizes.non_embedding, sizes.embedding, sizes.active}
    rows = [
        [plain(each.name), exact(each.parameters), plain(each.derivation)]
        for each in result.conventions
        if each.basis == "arithmetic" and each.parameters not in said
    ]
    return markdown_table(["Counted", "Count", "How"], rows, right=(1,)) if rows else ""


def _lora(result: Count) -> str:
    rows = [
        [
            str(each.r),
            ", ".join(map(code, each.targets)),
            exact(each.trainable),
            exact(each.all or 0),
            percent(each.trainable_percent or 0.0),
            _formula(each.formula if each.matches else None),
        ]
        for each in result.lora
        if each.trainable is not None
    ]
    headings = ["r", "Targets", "Trainable", "Of all", "Share", "Closed form"]
    return markdown_table(headings, rows, right=(0, 2, 3, 4)) if rows else ""


def _provenance(result: Count, command: str) -> str:
    releases = {name: version.partition("+")[0] for name, version in result.versions.items()}  # whatever torch's build
    packages = ", ".join(f"{name} {release}" for name, release in releases.items() if name != "hfcount")
    how = (
        f"the class itself, built empty from config.json with {packages}"
        if result.built
        else "config.json and a closed form that is verified against the class; no model was built"
    )
    lines = [
        f"Each distinct parameter once, from {how}. No weight was read.",
        f"hfcount {releases.get('hfcount', '')}: {code(command)}",
    ]
    variant = [note for note in result.notes if note.startswith("a variant: ")]
    return "\n\n".join([*lines, *listed(variant)])


def _formula(formula: str | None) -> str:
    return code(pretty(formula or ""))
