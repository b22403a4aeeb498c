"""A form as a function of a table of configs: a row a config, a column a field, exact integers out.

Columns have the names of config.json's fields, dotted inside a nested config ("text_config.hidden_size"), or the
class's other names for them. A field without a column is what the config that the form was asked for has, else the
class's default. Arithmetic goes over whole columns; conditions that are none (strings, lists, null) are worked out
once for each combination of the fields that they read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from hfcount.errors import BadInput
from hfcount.formulas.expressions import evaluate as worked_out
from hfcount.formulas.expressions import field_paths, holds, namespace
from hfcount.formulas.form import Form, component_polynomials
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.vectors import LARGEST, Ints, NotVectorised, vectorised

TOTAL = "total"


def evaluate(
    form: Form, frame: pd.DataFrame, raw: Mapping[str, Any] | None = None, *, errors: str = "raise"
) -> pd.Series:
    """The parameters of each config in `frame`: int64, or Python integers where 64 bits are not enough.

    `raw` is the config whose fields stand where `frame` has no column. A config that breaks a condition of the form
    raises ValueError with its row and the condition; with `errors="coerce"` it is pd.NA. BadInput for a column that is
    no field that the form knows.
    """
    table = Table(form, frame, raw, errors)
    return table.series(sum(component_polynomials(form).values(), Polynomial.constant(0)), TOTAL)


def evaluate_components(
    form: Form, frame: pd.DataFrame, raw: Mapping[str, Any] | None = None, *, errors: str = "raise"
) -> pd.DataFrame:
    """The parameters of each config by component, a column each, and "total"; otherwise as `evaluate`."""
    table = Table(form, frame, raw, errors)
    polynomials = component_polynomials(form)
    columns = {name: table.series(polynomial, name) for name, polynomial in polynomials.items()}
    columns[TOTAL] = table.series(sum(polynomials.values(), Polynomial.constant(0)), TOTAL)
    return pd.DataFrame(columns)


class Table:
    """A frame as the columns of a form's symbols, and which rows meet its conditions."""

    def __init__(self, form: Form, frame: pd.DataFrame, raw: Mapping[str, Any] | None, errors: str) -> None:
        if errors not in ("raise", "coerce"):
            raise BadInput(f'errors={errors!r}: "raise" or "coerce"')
        self.form, self.index, self.rows = form, frame.index, len(frame)
        self.columns = _own_columns(form, frame, raw)
        self.base = _base(form, raw, self.columns)
        self.names = {**_flat(self.base), **self._ints()}
        self.good = self._good(errors)
        self.symbols = {name: self._size(text) for name, text in form.symbols.items()}

    def _ints(self) -> dict[str, Any]:
        """The columns of integers as such; any other one as None, so that what reads it goes by combinations."""
        return {
            path: Ints.of(column.to_numpy()) if column.dtype.kind in "iub" else None
            for path, column in self.columns.items()
        }

    def _good(self, errors: str) -> Any:
        """Which rows meet all conditions and have no size below 0."""
        good = np.ones(self.rows, dtype=bool)
        sizes = [f"({text}) >= 0" for text in self.form.symbols.values()]
        for guard in (*self.form.guards, *sizes):
            met = self._truth(guard)
            if errors == "raise" and not np.all(met):
                row = self.index[int(np.argmin(np.broadcast_to(met, self.rows)))]
                raise ValueError(f"row {row}: the form holds only where {guard}")
            good &= met
        return good

    def _truth(self, text: str) -> Any:
        try:
            return vectorised(text, self.names).truth
        except NotVectorised:
            return self._by_combination(text, holds, bool)

    def _size(self, text: str) -> Ints:
        try:
            return vectorised(text, self.names)
        except NotVectorised:
            return Ints.of(self._by_combination(text, _integer, object))

    def _by_combination(self, text: str, how: Any, dtype: Any) -> Any:
        """`text` once for each combination of the columns that it reads; one value where it reads none."""
        read = [path for path in self.columns if path in field_paths(text)]
        if not read:
            return how(text, namespace(self.base))
        keys = pd.DataFrame({path: self.columns[path].reset_index(drop=True) for path in read})
        groups = keys.astype(object).where(keys.notna(), None).groupby(read, dropna=False, sort=False)
        values = []
        for combination in (next(iter(groups.indices[key])) for key in groups.indices):
            fields = copy.deepcopy(self.base)
            for path in read:
                _put(fields, path, _plain(keys[path].iloc[combination]))
            values.append(how(text, namespace(fields)))
        result = np.empty(self.rows, dtype=dtype)
        for value, members in zip(values, groups.indices.values(), strict=True):
            result[members] = value
        return result

    def series(self, polynomial: Polynomial, name: str, more: Mapping[str, Ints] | None = None) -> pd.Series:
        """A polynomial over the symbols (and `more`) for each row."""
        symbols = {**self.symbols, **(more or {})}
        result = Ints.of(0)
        for monomial, factor in polynomial.terms.items():
            term = Ints.of(factor)
            for symbol, power in monomial:
                for _ in range(power):
                    term = term * symbols[symbol]
            result = result + term
        values = np.broadcast_to(np.asarray(result.values, dtype=_dtype(result)), (self.rows,))
        if self.good.all():
            return pd.Series(values.copy(), index=self.index, name=name)
        kept = values.astype(object)
        kept[~self.good] = pd.NA
        return pd.Series(kept, index=self.index, name=name)


def _dtype(result: Ints) -> Any:
    """int64 where every value fits, whatever was feared on the way."""
    values = np.asarray(result.values)
    if values.dtype != object:
        return np.int64
    return np.int64 if all(abs(int(each)) <= LARGEST for each in values.ravel()) else object


def _integer(text: str, names: dict[str, Any]) -> int:
    try:
        return int(worked_out(text, names))
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError):
        return 0  # such a row breaks the condition that its sizes are none below 0


def _own_columns(form: Form, frame: pd.DataFrame, raw: Mapping[str, Any] | None) -> dict[str, pd.Series]:
    """The columns by the names that the expressions use; BadInput for one that is no field that the form knows."""
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    known = {*read, *form.renamed, *form.renamed.values(), *_flat(form.defaults), *_flat(raw or {})}
    columns: dict[str, pd.Series] = {}
    for column in map(str, frame.columns):
        own = form.renamed.get(column, column)
        if column in form.noticed or (column not in known and own not in known):
            raise BadInput(f"{column} is no field of {form.model_class} that its form knows; it reads {_listed(read)}")
        if own in columns:
            raise BadInput(f"{column} is given twice, as {own} too")
        if own in read:
            columns[own] = frame[column]
    return columns


def _listed(paths: set[str]) -> str:
    return ", ".join(sorted(paths))


def _base(form: Form, raw: Mapping[str, Any] | None, columns: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the columns do not give: the config's own, else the class's defaults."""
    given = copy.deepcopy(dict(raw or {"model_type": form.model_type}))
    for path in columns:
        *scopes, last = path.split(".")
        holder = given
        for scope in scopes:
            if not isinstance(holder.get(scope), dict):
                holder[scope] = {}
            holder = holder[scope]
        for alias in [alias for alias, name in form.renamed.items() if name == path]:
            holder.pop(alias.rpartition(".")[2], None)
        holder.pop(last, None)
    return form.fields(given)


def _flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping):
            found.update(_flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _put(fields: dict[str, Any], path: str, value: Any) -> None:
    *scopes, last = path.split(".")
    for scope in scopes:
        fields = fields.setdefault(scope, {})
    fields[last] = value


def _plain(value: Any) -> Any:
    """A cell as JSON has it: what is missing is null."""
    if isinstance(value, (list, tuple, dict, str)):
        return value
    if value is None or pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
