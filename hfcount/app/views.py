"""HTML and Markdown of an answer's parts. Whatever a config or a visitor brings into them is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hfcount.app.answers import Answer
from hfcount.components import COMPONENTS
from hfcount.fitting import FITS, TIGHT
from hfcount.formulas import pretty
from hfcount.formulas.latex import symbol_latex
from hfcount.memory_answer import BUCKETS
from hfcount.reports.given import given
from hfcount.reports.html.bars import colour
from hfcount.reports.memory import TITLES
from hfcount.reports.units import (
    convention_name,
    difference,
    exact,
    label,
    memory,
    memory_unit,
    memory_with_unit,
    percent,
    regime_title,
    share,
    short,
    without_form,
)
from hfcount.visible import visible


def escape(text: str) -> str:
    """Return `text`, which is not ours, as HTML that shows it."""
    return html.escape(visible(text))


_SOURCES = {"card": "bundled card", "hub": "Hugging Face Hub", "pasted": "pasted"}


def message(text: str) -> str:
    """What is wrong with the input, or nothing."""
    return f'<p class="fault" role="alert">{escape(text)}</p>' if text else ""


def status(text: str, kind: str = "") -> str:
    """Where the figures come from: `kind` is "wait", "good" or ""."""
    return f'<p class="status {kind}" role="status">{escape(text)}</p>'


def headline(answer: Answer) -> str:
    """The model and its total."""
    count = answer.count
    sizes = count["parameters"]
    where = _SOURCES.get(count["source"]["kind"], count["source"]["kind"])
    further = [("non-embedding", sizes["non_embedding"])]
    further += [(name, sizes[name]) for name in ("active", "untied") if sizes[name] != sizes["total"]]
    more = " · ".join(f"{exact(value)} {name}" for name, value in further)
    return (
        f'<p class="model"><b>{escape(count["model"])}</b> · {escape(count["model_class"])} · {escape(where)}</p>'
        f'<p class="total"><span id="total">{exact(sizes["total"])}</span> parameters'
        f" <small>{short(sizes['total'])}</small></p>"
        f'<p class="dim">{more}</p>'
    )


def chart(answer: Answer) -> str:
    """A bar for each component, as long as its share of the largest, in the colours of every chart."""
    rows = answer.count["components"]
    largest = max((each["parameters"] for each in rows), default=0) or 1
    body = "".join(
        f'<div class="name">{escape(label(each["component"]))}</div>'
        f'<div class="track"><div class="bar" style="width:{100 * each["parameters"] / largest:.2f}%;'
        f'background:{colour(each["component"], COMPONENTS)}"></div></div>'
        f'<div class="num">{exact(each["parameters"])}</div><div class="num dim">{share(each["share"])}</div>'
        for each in rows
    )
    return f'<div class="bars" role="img" aria-label="Parameters by component">{body}</div>'


def equations(answer: Answer) -> str:
    """The closed form as Markdown with mathematics between dollar signs: the total, the symbols, the components."""
    count, latex = answer.count, answer.latex
    form = count["formula"]
    if not latex or form["text"] is None:
        return escape(without_form(count["model_class"]))
    lines = [f"$\\displaystyle N = {latex['total']} = {_grouped(form['value'])}$", ""]
    symbols = [f"${symbol_latex(name)}$ {_plain(meaning)}" for name, meaning in count["symbols"].items()]
    lines += [" · ".join(symbols), ""]
    lines += ["| component | parameters | closed form |", "|:--|--:|:--|"]
    lines += [
        f"| {label(each['component'])} | {exact(each['parameters'])} | "
        f"{'$' + latex[each['component']] + '$' if each['component'] in latex else ''} |"
        for each in count["components"]
    ]
    return "\n".join(lines)


def _grouped(value: int) -> str:
    return exact(value).replace(",", "{,}")


def _plain(text: str) -> str:
    """A config field's name or expression as inline code, which Markdown and HTML leave alone."""
    return f"`{text.replace('`', '')}`"


def conventions(answer: Answer) -> str:
    """Who counts how, a row each."""
    rows = [
        (
            escape(convention_name(each["name"], each["basis"])),
            exact(each["parameters"]),
            short(each["parameters"]),
            escape(", ".join(each["published"])),
            f'<span class="dim">{escape(each["derivation"])}</span>',
        )
        for each in answer.count["conventions"]
    ]
    return _table(("Counted", ">Parameters", ">", "Published", "How"), rows)


def explanation(answer: Answer) -> str:
    """Which convention gives the figure that was asked about, and what the others miss it by."""
    found = answer.explanation
    if answer.figure_fault:
        return message(answer.figure_fault)
    if found is None:
        return ""
    figure = escape(found["figure"])
    lines = [
        f'<p class="good">✓ {figure} is <b>{escape(convention_name(each["name"], each["basis"]))}</b>: '
        f"{exact(each['parameters'])} <span class='dim'>= {escape(each['derivation'])}</span><br>"
        f'<span class="dim">{escape(each["note"])}</span></p>'
        for each in found["matches"]
    ]
    lines += [f"<p>{escape(note)}</p>" for note in found["inferences"]]
    if not found["explained"]:
        lines.append(f'<p class="fault">✗ no convention that is known gives {figure} for this model</p>')
    return "".join(lines) + _misses(found["misses"])


def _misses(misses: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            escape(convention_name(each["name"], each["basis"])),
            exact(each["parameters"]),
            difference(each["difference"]),
        )
        for each in misses
    ]
    table = _table(("Counted", ">Parameters", ">Difference"), rows)
    return f"<details><summary>{len(rows)} ways that do not give it</summary>{table}</details>" if rows else ""


def lora(answer: Answer) -> str:
    """What LoRA trains at each rank; why it trains nothing, where PEFT attaches nothing."""
    ranks: dict[str, list[int]] = {}
    for each in answer.count["lora"]:
        if each["trainable"] is None:
            ranks.setdefault(each["reason"] or "no figures", []).append(each["r"])
    refused = [f"r = {', '.join(map(str, found))}: {reason}" for reason, found in ranks.items()]
    rows = [
        (
            str(each["r"]),
            escape(", ".join(each["targets"])),
            exact(each["trainable"]),
            exact(each["all"]),
            percent(each["trainable_percent"]),
            share(each["unreached_share"]),
            escape(pretty(each["formula"])) if each["formula"] else "",
        )
        for each in answer.count["lora"]
        if each["trainable"] is not None
    ]
    if not rows and not refused:
        return '<p class="dim">no rank was given</p>'
    said = "".join(f"<p>{escape(each)}</p>" for each in refused)
    heads = (">r", "Targets", ">Trainable", ">Of all", ">", ">No adapter reaches", "Closed form")
    return said + (_table(heads, rows) if rows else "")


def budget(found: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """The memory of each regime by bucket, and what is exact of it; notes that are `known` already are left out."""
    regimes = found["regimes"]
    unit = memory_unit(max((each["total_bytes"] or 0 for each in regimes), default=0))
    shown = [name for name in BUCKETS if any(each[f"{name}_bytes"] for each in regimes)]
    rows = [
        (
            regime_title(_regime(each)),
            f"<b>{memory(each['total_bytes'], unit)}</b>",
            *(memory(each[f"{name}_bytes"], unit) for name in shown),
            "–" if each["ratio_to_full"] is None else share(each["ratio_to_full"]),
        )
        for each in regimes
    ]
    heads = ("Regime", f">Peak {unit[0]}", *(f">{TITLES[name]}" for name in shown), ">vs full")
    batch = given(found["batch"], found["inputs"], encoder_decoder=found["encoder_decoder"])
    way = f"batch {batch} · {found['precision']} · {found['optimizer']}"
    notes = [found["recipe"], "the peak of one training step, and the buckets at that moment"]
    notes += [f"{regime_title(_regime(each))}: {each['reason']}" for each in regimes if each["reason"]]
    notes += [f"warning: {each}" for each in found["warnings"]]
    notes += [each for each in found["notes"] if each not in known]
    return f'<p class="dim">{escape(way)}</p>{_table(heads, rows)}{_fits(found["fits"])}{_notes(notes)}'


def _regime(each: Mapping[str, Any]) -> str:
    return each["regime"] if each["r"] is None else f"{each['regime']} r={each['r']}"


def _fits(fits: Sequence[Mapping[str, Any]]) -> str:
    """A row a regime, a column a GPU: whether it fits, and what is left or lacking."""
    if not fits:
        return ""
    offered = {each["gpu"]: each["offers_bytes"] for each in fits}
    needed = {each["regime"]: each["needs_bytes"] for each in fits}
    cells = {(each["regime"], each["gpu"]): each for each in fits}
    rows = [
        (regime_title(regime), memory_with_unit(bytes_), *(_fit(cells[regime, gpu]) for gpu in offered))
        for regime, bytes_ in needed.items()
    ]
    heads = [f">{escape(gpu)}, {memory_with_unit(size)}" for gpu, size in offered.items()]
    return _table(("Does it fit?", ">Peak", *heads), rows)


def _fit(each: Mapping[str, Any]) -> str:
    if each["verdict"] == FITS:
        return f'<span class="good">✓</span> {memory_with_unit(each["margin_bytes"])} to spare'
    if each["verdict"] == TIGHT:
        return "tight"
    lacking = each["needs_bytes"] + each["reserve_bytes"][0] - each["offers_bytes"]
    return f'<span class="fault">✗</span> {memory_with_unit(lacking)} too much'


def remarks(answer: Answer) -> str:
    """The notes of the count, and the versions that it depends on."""
    versions = " · ".join(f"{name} {version}" for name, version in answer.count["versions"].items())
    return _notes([*answer.count["notes"], versions])


def _notes(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(each)}</li>" for each in lines if each)
    return f'<ul class="notes">{items}</ul>' if items else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself; a head that begins with ">" stands over figures. Cells are HTML."""
    sides = ["num" if head.startswith(">") else "" for head in heads]
    top = "".join(f'<th class="{side}">{head.lstrip(">")}</th>' for head, side in zip(heads, sides, strict=True))
    body = "".join(
        "<tr>" + "".join(f'<td class="{side}">{cell}</td>' for cell, side in zip(row, sides, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
