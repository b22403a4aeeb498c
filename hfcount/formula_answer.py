"""What `formula` answers: a model's verified form, written in every way that it can be, or why there is none."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hfcount.formulas.closed_form import ClosedForm
from hfcount.formulas.form import Form
from hfcount.formulas.verified import closed_form_of
from hfcount.shown import Charted
from hfcount.sources.source import Source

if TYPE_CHECKING:
    import pandas as pd

    from hfcount.formulas.answering import Drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class FormulaAnswer(Charted):
    """The closed form of a model's parameter count, and the count.

    Attributes:
        model, model_class, model_type, source: what was asked for, what it is built as, where its config was read.
        value: its parameters, exact with or without a form.
        form: the verified form that holds for the config, or None.
        raw: the config.json that it is the form of, overrides included.
        reason: why there is no form; "" where there is one.
        drawn: what drawing more configs found, where that was asked (`check`).
        detour: why the catalogue did not answer, where `fast` was asked in vain.
        notes: remarks, a line each.
    """

    model: str
    model_class: str
    model_type: str
    source: Source
    value: int
    form: Form | None
    raw: Mapping[str, Any]
    reason: str = ""
    drawn: Drawn | None = None
    detour: str | None = None
    notes: tuple[str, ...] = ()

    @functools.cached_property
    def closed_form(self) -> ClosedForm | None:
        """The form with the numbers of this config; None without a form."""
        return closed_form_of(self.form, self.raw) if self.form is not None else None

    @property
    def text(self) -> str | None:
        """The total as Python arithmetic over the symbols: "V*d + T*d + L*(12*d**2 + 13*d) + 2*d"."""
        return self.closed_form.text if self.closed_form is not None else None

    @property
    def latex(self) -> str | None:
        """The total in LaTeX, without the dollar signs."""
        from hfcount.formulas.latex import to_latex

        return to_latex(self.text) if self.text is not None else None

    @property
    def python(self) -> str | None:
        """The source of a function `parameters(config)` that needs nothing but math."""
        from hfcount.formulas.python_source import python_source

        return python_source(self.form) if self.form is not None else None

    @property
    def guards(self) -> tuple[str, ...]:
        """The conditions, Python expressions over config.json's fields, under which the form holds."""
        if self.form is None:
            return ()
        return (*self.form.guards, *(f"{field} is ABSENT" for field in self.form.noticed))

    @property
    def origin(self) -> str | None:
        """ "catalogue", "cache" or "traced"; None without a form."""
        return self.form.origin if self.form is not None else None

    def evaluate(self, frame: pd.DataFrame, *, errors: str = "raise") -> pd.Series:
        """The parameters of each config in `frame`, exact integers; see `hfcount.formulas.frames.evaluate`."""
        from hfcount.formulas.frames import evaluate

        return evaluate(self._needed(), frame, self.raw, errors=errors)

    def evaluate_components(self, frame: pd.DataFrame, *, errors: str = "raise") -> pd.DataFrame:
        """The same by component, a column each; see `hfcount.formulas.frames.evaluate_components`."""
        from hfcount.formulas.frames import evaluate_components

        return evaluate_components(self._needed(), frame, self.raw, errors=errors)

    def evaluate_lora(
        self, frame: pd.DataFrame, *, r: int | str = "r", targets: str | Sequence[str] = "default"
    ) -> pd.Series:
        """What LoRA trains at rank `r`, a number or the column that has it; see `hfcount.fast.frames`."""
        from hfcount.fast.frames import evaluate_lora

        return evaluate_lora(self._needed(), frame, self.raw, r=r, targets=targets)

    def _needed(self) -> Form:
        if self.form is None:
            raise ValueError(f"{self.model} has no verified closed form: {self.reason}")
        return self.form
