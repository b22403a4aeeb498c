"""A form as a function of a table of configs: a row a config, a column a field, exact integers out.

Columns have the names of config.json's fields, dotted inside a nested config ("text_config.hidden_size"), or the
class's other names for them. A field without a column is what the config that the form was asked for has, else the
class's default; a missing cell is null. Columns that the class knows and the count does not depend on are ignored.
Arithmetic goes over whole columns; what is none (strings, lists, null) is worked out once for each combination of the
fields that it reads.

A row that breaks a condition of the form, or whose cell is of another kind than its field, has no number.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from hfcount.errors import BadInput
from hfcount.formulas.expressions import evaluate as worked_out
from hfcount.formulas.expressions import field_paths, holds, namespace
from hfcount.formulas.form import Form, component_polynomials
from hfcount.formulas.kinds import fits, in_words
from hfcount.formulas.paths import at, every, put, related, take_out
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.vectors import LARGEST, Columns, Ints, NotVectorised

TOTAL = "total"
ROUNDS = 1_000_000
"""An expression that goes through a range is not worked out for larger numbers than this, which would take minutes."""


def evaluate(
    form: Form, frame: pd.DataFrame, raw: Mapping[str, Any] | None = None, *, errors: str = "raise"
) -> pd.Series:
    """The parameters of each config in `frame`: int64, or Python integers where 64 bits are not enough.

    `raw` is the config whose fields stand where `frame` has no column. A config that breaks a condition of the form
    raises ValueError with its row and the condition; with `errors="coerce"` it is pd.NA (and the column Int64).
    BadInput for a column that is no field that the form knows.
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
        self.form, self.index, self.rows, self._errors = form, frame.index, len(frame), errors
        given = dict(raw or {"model_type": form.model_type})
        columns = _own_columns(form, frame, given)
        self._floats = {path for path, column in columns.items() if column.dtype.kind == "f"}
        self._cells = {path: _cells(column) for path, column in columns.items()}
        self._given = _without(form, given, self._cells)
        self._base = form.fields(self._given)
        self._ints = {path: _integers(column) for path, column in self._cells.items()}
        self._columns = Columns(self._ints, namespace(self._base))
        self._codes: dict[tuple[str, ...], tuple[Any, Any]] = {}
        self.good = np.ones(self.rows, dtype=bool)
        for condition, met in self._conditions():
            self.require(condition, met)
        self.symbols = {name: self._size(text) for name, text in form.symbols.items()}

    def require(self, condition: str, met: Any) -> None:
        """Rows that do not meet a condition are out: ValueError with the first of them, or pd.NA in every result."""
        if self._errors == "raise" and self.rows and not np.all(met):
            row = self.index[int(np.argmin(np.broadcast_to(met, self.rows)))]
            raise ValueError(f"row {row}: the form holds only where {condition}")
        self.good &= met

    def _conditions(self) -> Iterator[tuple[str, Any]]:
        """(a condition, which rows meet it) for all that the form has, and for the kinds of the cells."""
        sizes = [f"({text}) >= 0" for text in self.form.symbols.values()]
        own = {*self.form.guards, *sizes}
        for broken in self.form.broken_guards(self._given):
            if broken not in own:  # of fields that are not given by columns: not looked at, or given by two names
                yield broken, False
        for path, column in self._cells.items():
            if path == "model_type":
                yield f"{path} is {self.form.model_type}", np.array([each == self.form.model_type for each in column])
            elif path in self.form.kinds:
                yield f"{path} is {in_words(self.form.kinds[path])}", self._fitting(path, self.form.kinds[path])
            elif self._ints[path] is None and type(_at(self._base, path, self.form)) is int:
                whole = self._by_code((path,), lambda cell: cell is None or _is_whole(cell), bool)
                yield f"{path} is a whole number", whole
        for guard in (*self.form.guards, *sizes):
            yield guard, self._truth(guard)

    def _fitting(self, path: str, kind: str) -> Any:
        """Say which cells of a column are of its field's kind."""
        if self._cells[path].dtype.kind in "iu":
            return np.broadcast_to(fits(0, kind) or (path in self._floats and fits(0.0, kind)), self.rows)
        if path in self._floats:  # which pandas makes of whole numbers beside others
            return self._by_code(
                (path,), lambda cell: fits(cell, kind) or (_is_whole(cell) and fits(int(cell), kind)), bool
            )
        return self._by_code((path,), lambda cell: fits(cell, kind), bool)

    def _truth(self, text: str) -> Any:
        try:
            return self._columns.vectorised(text).truth
        except NotVectorised:
            return self._by_combination(text, holds, bool)

    def _size(self, text: str) -> Ints:
        try:
            return self._columns.vectorised(text)
        except NotVectorised:
            return Ints.of(self._by_combination(text, _integer, object))

    def _by_combination(self, text: str, how: Any, dtype: Any) -> Any:
        """`text` once for each combination of the columns that it reads; one value where it reads none."""
        read = tuple(self._columns.read_by(text))
        if not read:
            return how(text, namespace(self._base))
        names = _Fields(self.form, self._given, self._base)
        ranges = "range(" in text

        def each(*cells: Any) -> Any:
            if ranges and any(isinstance(cell, int) and cell > ROUNDS for cell in cells):
                return False  # as a condition: not met; as a size: not known, and the condition on it is not met
            return how(text, names.with_cells(read, cells))

        return self._by_code(read, each, dtype)

    def _by_code(self, paths: tuple[str, ...], how: Any, dtype: Any) -> Any:
        """`how` of the cells in these columns, once for each combination that occurs."""
        codes, firsts = self._combinations(paths)
        cells = zip(*(self._cells[path].iloc[firsts] for path in paths), strict=True)
        values = np.empty(len(firsts), dtype=dtype)
        for place, combination in enumerate(cells):
            values[place] = how(*map(_plain, combination))
        return values[codes]

    def _combinations(self, paths: tuple[str, ...]) -> tuple[Any, Any]:
        """(the number of each row's combination of cells, the first row that has it)."""
        if paths not in self._codes:
            codes = np.zeros(self.rows, dtype=np.int64)
            for path in paths:
                codes = codes * (self.rows + 1) + _codes_of(self._cells[path])  # at most rows² + rows
                codes = pd.factorize(codes)[0]
            self._codes[paths] = codes, np.unique(codes, return_index=True)[1]
        return self._codes[paths]

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
        values = np.broadcast_to(np.asarray(result.values), (self.rows,))
        fits = values.dtype != object or all(abs(each) <= LARGEST for each in values[self.good])
        if self.good.all():
            return pd.Series(values.astype(np.int64 if fits else object), index=self.index, name=name)
        if fits:
            kept = np.where(self.good, values, 0).astype(np.int64)
            return pd.Series(pd.arrays.IntegerArray(kept, ~self.good), index=self.index, name=name)
        cells = values.astype(object)
        cells[~self.good] = pd.NA
        return pd.Series(cells, index=self.index, name=name)


class _Fields:
    """The names of an evaluation in which some fields are cells of a row."""

    def __init__(self, form: Form, given: Mapping[str, Any], base: Mapping[str, Any]) -> None:
        self._form, self._given = form, given
        self._fields = copy.deepcopy(dict(base))
        self._names = namespace(self._fields)

    def with_cells(self, paths: tuple[str, ...], cells: tuple[Any, ...]) -> dict[str, Any]:
        if any(
            isinstance(cell, Mapping) or _holds(self._fields, path) for path, cell in zip(paths, cells, strict=True)
        ):
            return self._anew(paths, cells)
        for path, cell in zip(paths, cells, strict=True):
            if "." in path:
                put(self._fields, path, cell)  # the names read nested fields where they are
            else:
                self._names[path] = cell
        return self._names

    def _anew(self, paths: tuple[str, ...], cells: tuple[Any, ...]) -> dict[str, Any]:
        """A whole nested config is filled in as the form does it."""
        given = copy.deepcopy(dict(self._given))
        for path, cell in zip(paths, cells, strict=True):
            put(given, path, cell)
        return namespace(self._form.fields(given))


def _integer(text: str, names: dict[str, Any]) -> int:
    try:
        return int(worked_out(text, names))
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError):
        return 0  # such a row breaks the condition that its sizes are none below 0


def _own_columns(form: Form, frame: pd.DataFrame, given: Mapping[str, Any]) -> dict[str, pd.Series]:
    """The columns by the names that the expressions use; BadInput for one that is no field that the form knows."""
    read = {path for text in (*form.symbols.values(), *form.guards) for path in field_paths(text)}
    known = {*read, *form.renamed, *form.renamed.values(), *every(form.defaults), *every(given), "model_type"}
    columns: dict[str, pd.Series] = {}
    for place, column in enumerate(map(str, frame.columns)):
        own = form.renamed.get(column, column)
        if related(column, form.noticed) or not (own in known or related(own, read)):
            raise BadInput(
                f"{column} is no field of {form.model_class} that its form knows; it reads {', '.join(sorted(read))}"
            )
        if related(own, columns):
            raise BadInput(f"{column} is given twice, as {own} too")
        _check_labels(column, read, given)
        if own == "model_type" or related(own, read):
            columns[own] = frame.iloc[:, place]
    return columns


def _check_labels(column: str, read: set[str], given: Mapping[str, Any]) -> None:
    """BadInput where the names of the labels would decide how many there are."""
    scope, _, last = column.rpartition(".")
    count = f"{scope}.num_labels" if scope else "num_labels"
    named = isinstance(at(given, count.replace("num_labels", "id2label")), Mapping)
    if count in read and (last == "id2label" or (last == "num_labels" and named)):
        raise BadInput(f"{column}: the class counts the names in id2label; give {count}, and a config without them")


def _without(form: Form, given: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The config without the fields that the columns give, by any name."""
    rest = copy.deepcopy(dict(given))
    for path in columns:
        for name in (path, *(alias for alias, own in form.renamed.items() if own == path)):
            take_out(rest, name)
        scope = path.rpartition(".")[0]
        if scope and not isinstance(at(rest, scope), Mapping):
            put(rest, scope, {})
    return rest


def _cells(column: pd.Series) -> pd.Series:
    """The column with whole numbers as such, which pandas makes floats where one is missing."""
    if column.dtype.kind != "f":
        return column
    known = column.dropna().to_numpy(dtype=float)
    if not ((np.abs(known) < 2**53).all() and (known == np.floor(known)).all()):
        return column
    if len(known) == len(column):
        return column.astype(np.int64)
    return pd.Series([None if pd.isna(each) else int(each) for each in column], index=column.index, dtype=object)


def _integers(column: pd.Series) -> Ints | None:
    """A column of whole numbers; None for any other, so that what reads it goes by combinations."""
    if column.isna().any():
        return None
    values = column.to_numpy()
    if values.dtype.kind == "O" and not all(isinstance(each, (int, np.integer)) for each in values):
        return None
    return Ints.of(values) if values.dtype.kind in "iubO" else None


def _codes_of(column: pd.Series) -> Any:
    """A number for each cell, the same for those that are the same and of one type; 0 at least."""
    values = column.to_numpy()
    if values.dtype.kind not in "iubf":
        values = np.array([f"{type(each).__name__} {each!r}" for each in values], dtype=object)
    return pd.factorize(values, use_na_sentinel=False)[0]


def _is_whole(cell: Any) -> bool:
    return isinstance(cell, int) or (isinstance(cell, float) and cell.is_integer())


def _at(base: Mapping[str, Any], path: str, form: Form) -> Any:
    """What a field is where no column gives it: the class's default."""
    default = at(form.defaults, path)
    return at(base, path) if default is None else default


def _holds(fields: Mapping[str, Any], path: str) -> bool:
    return isinstance(at(fields, path), Mapping)


def _plain(value: Any) -> Any:
    """A cell as JSON has it: what is missing is null."""
    if isinstance(value, (list, tuple, dict, str)):
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if value is None or pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
