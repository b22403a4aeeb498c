"""What LoRA trains for a table of configs: its polynomial over the columns of a form's symbols and of the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hfcount.fast.lora import lora_polynomial
from hfcount.formulas.form import Form
from hfcount.formulas.frames import Table
from hfcount.formulas.vectors import Ints
from hfcount.lora.options import LoraOptions


def evaluate_lora(
    form: Form,
    frame: pd.DataFrame,
    raw: Mapping[str, Any] | None = None,
    *,
    r: int | str = "r",
    targets: str | Sequence[str] = "default",
    errors: str = "raise",
) -> pd.Series:
    """What LoRA trains for each config; `r` is a rank or the column that has it; else as `formulas.frames.evaluate`.

    ValueError where the form does not tell what these targets attach to.
    """
    named = targets if isinstance(targets, str) else tuple(targets)
    polynomial = lora_polynomial(form, LoraOptions(r=1, targets=named))
    if polynomial is None:
        raise ValueError(f"the form of {form.model_class} does not tell what LoRA attaches to {targets}")
    ranks = Ints.of(r) if isinstance(r, int) else Ints.of(frame[r].to_numpy())
    rest = frame if isinstance(r, int) else frame.drop(columns=r)
    return Table(form, rest, raw, errors).series(polynomial, "trainable", {"r": ranks})
