"""From a template and what it shows to one file: everything escaped, nothing fetched, no script but the page's own."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcount.formulas.mathml import symbol_mathml, to_mathml
from hfcount.formulas.text import pretty
from hfcount.reports.units import difference, exact, label, memory_with_unit, percent, share, short
from hfcount.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"
CHARTS = ("bars", "timeline")


def render(template: str, *, charts: bool = False, **context: Any) -> str:
    """The page that `template` makes of `context`; the same text for the same answer, whenever it is made.

    With `charts` vega stands in the page, for a [data-chart] to be drawn by.
    """
    script = _script(charts)
    page = _environment().get_template(template).render(style=_style(), policy=_policy(script), **context)
    # The script is put in last and as it is, since the policy has its hash.
    return f"{_without_blank_lines(page)}\n".replace("<script></script>", f"<script>{script}</script>")


def _without_blank_lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    found.filters.update(
        exact=exact, short=short, fraction=share, percent=percent, difference=difference, label=label,
        memory=memory_with_unit, formula=formula, symbol=_symbol, values=_values,
    )  # fmt: skip
    return found


def _visible(value: Any) -> Any:
    """Signs that cannot be seen and change how others are shown (marks of direction, controls) as escapes.

    A name in a config may hold them; left as they are, a page could say another model's name than it is about.
    """
    return value if not isinstance(value, str) or hasattr(value, "__html__") else visible(value, keep="\n")


def _values(chart: Mapping[str, Any]) -> str:
    """The figures of a chart as JSON, its texts made visible as all texts of a page are."""
    return json.dumps(_all_visible(chart), ensure_ascii=False, separators=(",", ":"))


def _all_visible(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _all_visible(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_all_visible(each) for each in value]
    return _visible(value)


@functools.cache
def _style() -> Markup:
    from markupsafe import Markup

    return Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))


@functools.cache
def _script(charts: bool) -> str:
    """The page's one script: what every page does; with `charts` also vega, the charts' specs and what draws them."""
    page = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    if not charts:
        return page
    vega = [(HERE / "vega" / name).read_text(encoding="utf-8") for name in ("vega.min.js", "vega-interpreter.js")]
    specs = {name: json.loads((HERE / "charts" / f"{name}.vg.json").read_text(encoding="utf-8")) for name in CHARTS}
    drawing = (HERE / "charts" / "charts.js").read_text(encoding="utf-8")
    return "\n".join([page, *vega, f"const SPECS = {json.dumps(specs, separators=(',', ':'))};", drawing])


def _policy(script: str) -> str:
    """The content security policy: no request at all, and no script but the one whose hash this is.

    Source: Content Security Policy Level 3, https://www.w3.org/TR/CSP3/, sections 6.1 and 2.3.1 (hash sources).
    """
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"


def formula(text: str | None) -> Markup:
    """A closed form as mathematics with its plain text as the name that is read aloud; as code where it is no form."""
    from markupsafe import Markup, escape

    if not text:
        return Markup("")
    try:
        body = to_mathml(text)
    except (ValueError, RecursionError):
        return Markup("<code>{}</code>").format(_visible(text))
    return Markup('<span class="formula" role="math" aria-label="{}">{}</span>').format(
        escape(pretty(text)), Markup(body)
    )


def _symbol(name: str) -> Markup:
    from markupsafe import Markup

    return Markup(symbol_mathml(name))
