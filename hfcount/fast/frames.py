"""What LoRA trains for a table of configs: its polynomial over the columns of a form's symbols and of the ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hfcount.errors import BadInput
from hfcount.fast.lora import lora_polynomial, needed_by
from hfcount.formulas.form import Form
from hfcount.formulas.frames import Table
from hfcount.formulas.vectors import Ints
from hfcount.lora.options import MAX_RANK, LoraOptions


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

    ValueError where the form does not tell what these targets attach to, or where a row's model has none of a kind of
    layer that gets an adapter (`errors="coerce"`: pd.NA), since PEFT may refuse it then.
    """
    named = targets if isinstance(targets, str) else tuple(targets)
    options = LoraOptions(r=1, targets=named)
    polynomial = lora_polynomial(form, options)
    if polynomial is None:
        raise ValueError(f"the form of {form.model_class} does not tell what LoRA attaches to {targets}")
    ranks = _ranks(frame, r)
    table = Table(form, frame.drop(columns=r) if isinstance(r, str) else frame, raw, errors)
    for name, times in needed_by(form, options):
        table.require(f"the model has {name}", table.series(times, "times").fillna(0).to_numpy() > 0)
    return table.series(polynomial, "trainable", {"r": ranks})


def _ranks(frame: pd.DataFrame, r: int | str) -> Ints:
    """The rank of each row; BadInput for what is none."""
    if isinstance(r, str) and r not in frame.columns:
        raise BadInput(f"no column {r!r}: give r as a number, or the column that has the ranks")
    ranks = frame[r].to_numpy() if isinstance(r, str) else np.array([r])
    if ranks.dtype.kind not in "iu" or (ranks < 1).any() or (ranks > MAX_RANK).any():
        raise BadInput(f"r={r!r}: a rank is a whole number from 1 to {MAX_RANK:,}")
    return Ints.of(ranks if isinstance(r, str) else int(r))
