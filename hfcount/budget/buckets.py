"""The buckets of a training run's memory, each a function of one table: a row for every tensor that the run keeps.

The table of tensors has the columns `name`, `shape`, `numel`, `trained`, `reached` (whether a step's loss gives it a
gradient: torch's optimizers skip what has none), `dtype` (what it is kept in), `bytes` (what that takes: for a
quantized row bitsandbytes' bytes) and `quantized`. Weights, the master copy and gradients are sums
over it; the optimizer's state follows from the trained shapes (see optimizers.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hfcount.budget.optimizers import Optimizer, State, optimizer_state
from hfcount.budget.recipes import BYTES, Precision

if TYPE_CHECKING:
    import pandas as pd

TENSORS = ("name", "shape", "numel", "trained", "reached", "dtype", "bytes", "quantized")


def loaded_dtypes(table: pd.DataFrame, dtype: str, *, kept: Iterable[str], explicit: str) -> list[str]:
    """What each row of the inventory `table` has after the model was loaded in `dtype`.

    transformers keeps some modules in fp32 whatever is asked (`kept`: names or globs, see `_keep_in_fp32_modules` in
    transformers/modeling_utils.py), and a parameter that its class made in another type than `explicit`, the type of
    the whole, stays in that.
    """
    patterns = [re.compile(each.replace("*", ".*")) for each in kept]  # build_glob_alternation, core_model_loading.py
    found = []
    for name, own in zip(table["name"], table["dtype"], strict=True):
        if any(pattern.search(name) for pattern in patterns):
            found.append("float32")
        else:
            found.append(dtype if own == explicit or own not in BYTES else own)
    return found


def full_tensors(table: pd.DataFrame, dtypes: Sequence[str]) -> pd.DataFrame:
    """The tensors of full fine-tuning: every row of the inventory, trained."""
    return _tensors(table, dtypes, trained=True)


def frozen_tensors(
    table: pd.DataFrame, dtypes: Sequence[str], *, quantized: Mapping[str, int] | None = None, upcast: bool = False
) -> pd.DataFrame:
    """The tensors of a frozen base: `quantized` gives the bytes of the rows that bitsandbytes holds, by name.

    `upcast` is what `prepare_model_for_kbit_training` does (peft/utils/other.py): every other 16-bit parameter
    becomes fp32, embeddings, heads and fused experts included. Biases of quantized layers are counted as loaded;
    under autocast bitsandbytes may leave them in their input's type (`Linear4bit.forward`).
    """
    packed = quantized or {}
    if upcast:
        dtypes = ["float32" if dtype in ("float16", "bfloat16") else dtype for dtype in dtypes]
    tensors = _tensors(table, dtypes, trained=False)
    tensors["quantized"] = tensors["name"].isin(packed)
    tensors["bytes"] = [packed.get(name, own) for name, own in zip(tensors["name"], tensors["bytes"], strict=True)]
    return tensors


def _tensors(table: pd.DataFrame, dtypes: Sequence[str], *, trained: bool) -> pd.DataFrame:
    tensors = table[["name", "shape", "numel"]].copy()
    tensors["trained"] = trained
    tensors["reached"] = True
    tensors["dtype"] = list(dtypes)
    tensors["bytes"] = tensors["numel"] * tensors["dtype"].map(BYTES)
    tensors["quantized"] = False
    return tensors[list(TENSORS)]


def weights_bytes(tensors: pd.DataFrame) -> int:
    """All that the model itself takes: frozen, quantized and trained tensors in the types that they are kept in."""
    return int(tensors["bytes"].sum())


def master_bytes(tensors: pd.DataFrame, precision: Precision) -> int:
    """The fp32 copies that the optimizer steps for 16-bit parameters (Micikevicius et al. 2018, section 3.1)."""
    if not precision.master:
        return 0
    narrow = tensors["trained"] & tensors["reached"] & (tensors["dtype"] != "float32")
    return 4 * int(tensors.loc[narrow, "numel"].sum())


def gradients_bytes(tensors: pd.DataFrame, precision: Precision) -> int:
    """One number for every trained parameter that the loss reaches: autograd gives nothing to the others.

    A gradient has its parameter's type, unless the recipe adds gradients up in a wider one.
    """
    trained = tensors[tensors["trained"] & tensors["reached"]]
    # An empty column of strings, as pandas keeps them beside pyarrow, maps to strings.
    width = trained["dtype"].map(BYTES).astype("int64").clip(lower=BYTES[precision.gradients])
    return int((trained["numel"] * width).sum())


def state_of(tensors: pd.DataFrame, precision: Precision, chosen: Optimizer) -> State:
    """The optimizer's state; moments have the type of what is stepped: the master copy, else the parameter."""
    trained = tensors[tensors["trained"] & tensors["reached"]]
    total = State()
    for dtype, rows in trained.groupby("dtype", sort=False):
        if chosen.of_gradient and not precision.master:
            own = max(str(dtype), precision.gradients, key=BYTES.__getitem__)
        elif precision.master or precision.moments == "float32":
            own = "float32"
        else:
            own = str(dtype)
        state = optimizer_state(rows["shape"], chosen, dtype=own)
        total = State(
            moments=total.moments + state.moments,
            tables=max(total.tables, state.tables),
            scalars=total.scalars + state.scalars,
            paged=total.paged + state.paged,
        )
    return total
