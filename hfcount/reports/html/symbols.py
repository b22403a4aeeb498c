"""What the symbols of a closed form stand for, with the config's own numbers where they can be read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from hfcount.formulas.closed_form import ClosedForm
from hfcount.formulas.expressions import evaluate, namespace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Symbol:
    """A symbol, the config's field or expression that it stands for, and its number; None where it is unread."""

    name: str
    field: str
    value: int | None


def symbols_of(form: ClosedForm, values: Mapping[str, int]) -> tuple[Symbol, ...]:
    """The symbols with their `values`, in the order in which the form's text uses them."""
    used = [name for name in dict.fromkeys(re.findall(r"[A-Za-z]\w*", form.text)) if name in form.symbols]
    return tuple(Symbol(name=name, field=form.symbols[name], value=values.get(name)) for name in used)


def values_in(config: Any, form: ClosedForm) -> Mapping[str, int]:
    """The numbers that the symbols stand for in `config`.

    None at all unless the text gives the form's value with them: a symbol with a wrong number would be worse than
    one without.
    """
    try:
        fields = namespace(config.to_dict())
        values = {name: evaluate(field, fields) for name, field in form.symbols.items()}
        return values if evaluate(form.text, namespace(values)) == form.value else {}
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, SyntaxError):
        return {}
