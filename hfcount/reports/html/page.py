"""From a template and what it shows to one file: everything escaped, nothing fetched, no script but the page's own."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfcount.formulas.mathml import symbol_mathml, to_mathml
from hfcount.formulas.text import pretty
from hfcount.reports.units import difference, exact, label, memory_with_unit, percent, share, short

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **context: Any) -> str:
    """The page that `template` makes of `context`; the same text for the same answer, whenever it is made."""
    style, script = (_source(name) for name in ("style.css", "script.js"))
    page = _environment().get_template(template).render(style=style, script=script, policy=_policy(script), **context)
    return f"{_without_blank_lines(page)}\n"


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
        memory=memory_with_unit, formula=formula, symbol=_symbol,
    )  # fmt: skip
    return found


def _visible(value: Any) -> Any:
    """Signs that cannot be seen and change how others are shown (marks of direction, controls) as escapes.

    A name in a config may hold them; left as they are, a page could say another model's name than it is about.
    """
    if not isinstance(value, str) or value.isprintable() or hasattr(value, "__html__"):
        return value
    return "".join(sign if sign.isprintable() or sign == "\n" else ascii(sign)[1:-1] for sign in value)


@functools.cache
def _source(name: str) -> Markup:
    """A file that stands within the page, as it will stand there, since the policy has the script's hash."""
    from markupsafe import Markup

    return Markup(_without_blank_lines((TEMPLATES / name).read_text(encoding="utf-8")))


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
