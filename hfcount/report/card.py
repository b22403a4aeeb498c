"""The parameter section of a model card: its Markdown, and the JSON of `hfcount card`."""

from __future__ import annotations

from typing import Any

from hfcount.formulas import legend, pretty
from hfcount.report.document import count_document
from hfcount.report.markdown import markdown_table
from hfcount.report.readme import BEGIN, END, PROVENANCE, Outcome
from hfcount.report.units import exact, label, percent, share, short
from hfcount.result import Count


def card_section(result: Count, command: str) -> str:
    """The section that a model card has between the markers, without them; `command` is how to write it again.

    Only what the config decides stands above "How it was counted": neither the model's name, which in a checkout is
    the folder's, nor a version, nor a convention that is bound to a name.
    """
    parts = ["## Parameters", _lead(result), _components(result), _form(result)]
    parts += ["### Totals", _conventions(result)]
    lora = _lora(result)
    if lora:
        parts += ["### LoRA", lora]
    parts += [PROVENANCE, _provenance(result, command)]
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def card_text(section: str, outcome: Outcome | None) -> str:
    """The section between its markers, to be put into a README; of a README what became of it, and what differs."""
    if outcome is None:
        return f"{BEGIN}\n\n{section}\n{END}\n"
    if outcome.state != "outdated":
        return f"{outcome.readme}: {outcome.state}\n"
    lines = (f"{outcome.readme}: outdated; --write in place of --check renews it", *outcome.differences)
    return "".join(f"{line}\n" for line in lines)


def card_document(result: Count, section: str, outcome: Outcome | None) -> dict[str, Any]:
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
    of_them = f", of which {exact(active)} ({short(active)}) are active for one token" if active != total else ""
    return f"`{result.model_class}` has {exact(total)} parameters ({short(total)}){of_them}."


def _components(result: Count) -> str:
    rows = [
        [label(each.component), exact(each.parameters), share(each.share), _code(each.formula)]
        for each in result.components
    ]
    rows.append(["**total**", f"**{exact(result.sizes.total)}**", "100.00%", ""])
    return markdown_table(["Component", "Parameters", "Share", "Closed form"], rows, right=(1, 2))


def _form(result: Count) -> str:
    """The closed form and its symbols; "" without one that equals the count."""
    if result.form is None or not result.form_matches:
        return ""
    symbols = ", ".join("`{}` is `{}`".format(*each.split(" ", 1)) for each in legend(result.form))
    where = f", where {symbols}" if symbols else ""
    return f"In closed form {_code(result.form.text)} = {exact(result.form.value)}{where}."


def _conventions(result: Count) -> str:
    """The totals, and what else the model as built is counted as, where the components do not say it already."""
    sizes = result.sizes
    head = " and LM head" if sizes.lm_head else ""
    idle = sizes.total - sizes.active
    rows: list[tuple[str, int, str]] = [
        ("total", sizes.total, "each distinct parameter once"),
        ("embedding", sizes.embedding, "token and position embeddings"),
        ("LM head", sizes.lm_head, "its own matrix, not tied"),
        ("non-embedding", sizes.non_embedding, f"without embeddings{head}"),
        ("active", sizes.active, f"without {exact(idle)} of experts not chosen" if idle else "all of them: dense"),
    ]
    said = {parameters for _, parameters, _ in rows} | {each.parameters for each in result.components}
    rows += [
        (each.name, each.parameters, each.derivation)
        for each in result.conventions
        if each.basis == "arithmetic" and each.parameters not in said
    ]
    shown = [[name, exact(parameters), how] for name, parameters, how in rows if parameters]
    return markdown_table(["Counted", "Parameters", "How"], shown, right=(1,))


def _lora(result: Count) -> str:
    rows = [
        [
            str(each.r),
            ", ".join(f"`{name}`" for name in each.targets),
            exact(each.trainable),
            exact(each.all or 0),
            percent(each.trainable_percent or 0.0),
            _code(each.formula if each.matches else None),
        ]
        for each in result.lora
        if each.trainable is not None
    ]
    headings = ["r", "Targets", "Trainable parameters", "All parameters", "Trainable share", "Closed form"]
    return markdown_table(headings, rows, right=(0, 2, 3, 4)) if rows else ""


def _provenance(result: Count, command: str) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in result.versions.items() if name != "hfcount")
    how = (
        f"the class itself, built empty from config.json with {packages}"
        if result.built
        else "config.json and a closed form that is verified against the class; no model was built"
    )
    own = result.versions.get("hfcount", "")
    ticks = "``" if "`" in command else "`"
    lines = [
        f"Each distinct parameter once, from {how}. No weight was read.",
        f"hfcount {own}: {ticks}{command}{ticks}",
    ]
    variant = [note for note in result.notes if note.startswith("a variant: ")]
    return "\n\n".join([*lines, *(f"- {note}" for note in variant)])


def _code(formula: str | None) -> str:
    return f"`{pretty(formula)}`" if formula else ""
