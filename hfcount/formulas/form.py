"""A traced form: a model's inventory in the symbols of its config, with the conditions under which it holds.

A form is what the inventory is, one step earlier: a row for every parameter of a kind, with expressions where the
inventory has numbers. The total, the components, what is active and what LoRA adds are sums over its rows, so the
answers that need no model at all come from the same table. Nothing heavy is imported.
"""

from __future__ import annotations

import dataclasses
import functools
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from hfcount.formulas.expressions import compiled, evaluate, holds, namespace
from hfcount.formulas.given import by_own_names, completed, disputes
from hfcount.formulas.kinds import refusal
from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.text import to_text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Parameters of one shape and place.

    Attributes:
        name: their name, with `*` for the number of the layer or expert: "model.layers.*.mlp.up_proj.weight".
        module_class: the class of the module that owns them.
        component: one of hfcount's component names.
        shape: the sizes, each an expression over the form's symbols.
        times: how many parameters there are of this kind, an expression.
        experts, chosen: routed experts that share a pool and those that one token is sent to, expressions; "0": none.
        aliases: the other names of the same parameters.
        persistent: of a buffer: whether a checkpoint stores it.
    """

    name: str
    module_class: str
    component: str
    shape: tuple[str, ...]
    times: str = "1"
    experts: str = "0"
    chosen: str = "0"
    aliases: tuple[str, ...] = ()
    persistent: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowValue:
    """A row with its numbers: `numel` elements in one parameter, `times` of them."""

    row: Row
    shape: tuple[int, ...]
    times: int
    experts: int
    chosen: int

    @property
    def numel(self) -> int:
        """Elements of all parameters of the row."""
        return self.one * self.times

    @property
    def one(self) -> int:
        """Elements of one parameter of the row."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def active(self) -> int:
        """Elements that one token touches."""
        return self.times * (self.one * self.chosen // self.experts) if self.experts else self.numel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """The closed form of one model class under conditions.

    Attributes:
        model_type, model_class: what it is the form of.
        symbols: symbol -> the expression over config.json's fields that it stands for.
        guards: conditions over the fields, all of which hold where the form does.
        defaults: the class's defaults of fields that config.json may leave out.
        unsaid: configs inside, as the class makes them where nothing is given of them; `defaults` has what they have
            where something is.
        noticed: dotted fields that the class would look at and that the traced config did not have.
        renamed: other names of fields, dotted -> the names that the expressions use.
        kinds: dotted field -> the kind of value that its class takes, see `hfcount.formulas.kinds`.
        rows: the parameters; `buffers` the buffers (None where their shapes were not followed), known only where
            `buffer_guards` hold as well.
        tied_head: the shape of an LM head that is tied to the embedding, or None.
        lora: what PEFT attaches, by kind of targets: see `hfcount.fast.lora`.
        example: what it was traced from: {"card": "gpt2"} or {"config": the raw fields}.
        verified: how many randomly drawn configs it was held against.
        single_changes: how many configs that change one field, known to the form or not, it was held against.
        versions: of transformers and PEFT.
        origin: "traced", "catalogue" or "cache".
    """

    model_type: str
    model_class: str
    symbols: Mapping[str, str]
    guards: tuple[str, ...]
    defaults: Mapping[str, Any]
    unsaid: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    noticed: tuple[str, ...] = ()
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: tuple[Row, ...]
    buffers: tuple[Row, ...] | None = None
    buffer_guards: tuple[str, ...] = ()
    tied_head: tuple[str, ...] | None = None
    lora: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    example: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    verified: int = 0
    single_changes: int = 0
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    origin: str = "traced"

    def on(self, raw: Mapping[str, Any]) -> FormOnConfig:
        """The form on one config.json, for whoever asks several things of it; `raw` is not to be changed meanwhile."""
        return FormOnConfig(self, raw)

    def fields(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """`raw` config.json as the expressions read it: older names replaced, defaults filled in."""
        return self.on(raw).fields

    def broken_guards(self, raw: Mapping[str, Any]) -> list[str]:
        """The conditions that this config.json does not meet; empty where the form holds for it."""
        return self.on(raw).broken_guards

    def covers(self, raw: Mapping[str, Any]) -> bool:
        """Whether the form holds for this config.json."""
        return self.on(raw).covered

    def knows_buffers(self, raw: Mapping[str, Any]) -> bool:
        """Whether the buffers' rows are right for this config.json, which the form covers."""
        return self.on(raw).knows_buffers

    def values(self, raw: Mapping[str, Any]) -> dict[str, int]:
        """Each symbol's number in this config.json."""
        return self.on(raw).values

    def evaluated(self, raw: Mapping[str, Any], rows: Iterable[Row] | None = None) -> list[RowValue]:
        """The rows (default: the parameters') with the numbers of this config.json; ValueError where a guard fails."""
        return self.on(raw).evaluated(rows)

    def evaluated_head(self, raw: Mapping[str, Any]) -> int:
        """Elements of an LM head that is tied to the embedding; 0 where it is a matrix of its own."""
        return self.on(raw).tied_head

    @functools.cached_property
    def polynomials(self) -> Mapping[str, Polynomial]:
        """component -> its parameters as a polynomial over the symbols, in the order of the rows."""
        found: dict[str, Polynomial] = {}
        for row in self.rows:
            size = parsed(row.times)
            for each in row.shape:
                size = size * parsed(each)
            found[row.component] = found.get(row.component, Polynomial.constant(0)) + size
        return found

    @functools.cached_property
    def texts(self) -> Mapping[str, str]:
        """component -> the text of its polynomial."""
        return {component: to_text(polynomial) for component, polynomial in self.polynomials.items()}

    @functools.cached_property
    def whole(self) -> Polynomial:
        """All parameters as a polynomial over the symbols."""
        return sum(self.polynomials.values(), Polynomial.constant(0))

    @functools.cached_property
    def text(self) -> str:
        """The text of the whole polynomial."""
        return to_text(self.whole)


class FormOnConfig:
    """A form on one config.json: each answer is worked out when it is first asked for, and once."""

    def __init__(self, form: Form, raw: Mapping[str, Any]) -> None:
        self.form = form
        self.raw = raw

    @functools.cached_property
    def _given(self) -> dict[str, Any]:
        """The config by the names that the expressions use."""
        return by_own_names(self.raw, self.form.renamed)

    @functools.cached_property
    def fields(self) -> dict[str, Any]:
        """The config as the expressions read it: older names replaced, defaults filled in."""
        return completed(self._given, self.form.unsaid, self.form.defaults)

    @functools.cached_property
    def _names(self) -> dict[str, Any]:
        return namespace(self.fields)

    def _broken(self) -> Iterator[str]:
        """Yield the conditions that the config does not meet."""
        form = self.form
        yield from disputes(self.raw, form.noticed, form.renamed)
        if (kind := refusal(self._given, form.kinds)) is not None:
            yield kind
        yield from (guard for guard in form.guards if not holds(guard, self._names))
        sizes = form.symbols.values()
        yield from (f"({text}) >= 0" for text in sizes if not holds(f"0 <= ({text}) < 2**63", self._names))

    @functools.cached_property
    def broken_guards(self) -> list[str]:
        """The conditions that the config does not meet; empty where the form holds for it."""
        return list(self._broken())

    @functools.cached_property
    def covered(self) -> bool:
        """Whether the form holds for the config: no guard is broken. The first that is settles it."""
        return next(self._broken(), None) is None

    @functools.cached_property
    def knows_buffers(self) -> bool:
        """Whether the buffers' rows are right for the config, which the form covers."""
        form = self.form
        return form.buffers is not None and all(holds(guard, self._names) for guard in form.buffer_guards)

    @functools.cached_property
    def values(self) -> dict[str, int]:
        """Each symbol's number."""
        return {symbol: int(evaluate(text, self._names)) for symbol, text in self.form.symbols.items()}

    def evaluated(self, rows: Iterable[Row] | None = None) -> list[RowValue]:
        """The rows (default: the parameters') with their numbers; ValueError where a guard fails."""
        if not self.covered:
            raise ValueError(f"the form holds only where {self.broken_guards[0]}")
        names = namespace(self.values)
        return [_valued(row, names) for row in (self.form.rows if rows is None else rows)]

    @functools.cached_property
    def tied_head(self) -> int:
        """Elements of an LM head that is tied to the embedding; 0 where it is a matrix of its own."""
        if self.form.tied_head is None:
            return 0
        names = namespace(self.values)
        product = 1
        for size in self.form.tied_head:
            product *= int(evaluate(size, names))
        return product


def _valued(row: Row, names: dict[str, Any]) -> RowValue:
    return RowValue(
        row=row,
        shape=tuple(int(evaluate(size, names)) for size in row.shape),
        times=int(evaluate(row.times, names)),
        experts=int(evaluate(row.experts, names)),
        chosen=int(evaluate(row.chosen, names)),
    )


def check_form(form: Form) -> None:
    """Raise TypeError or ValueError where a form that was read from a file is none that can be evaluated."""
    for text in (*form.symbols.values(), *form.guards, *form.buffer_guards, *(form.tied_head or ())):
        compiled(text)
    for row in (*form.rows, *(form.buffers or ())):
        for text in (*row.shape, row.times, row.experts, row.chosen):
            compiled(text)
        if not all(isinstance(each, str) for each in (row.name, row.module_class, row.component, *row.aliases)):
            raise TypeError("a row whose names are no text")
    mappings = (form.symbols, form.defaults, form.unsaid, form.renamed, form.lora, form.example, form.versions)
    if not all(isinstance(each, Mapping) for each in mappings) or not isinstance(form.verified, int):
        raise TypeError("a form without its fields")
    if not form.rows or not all(map(isinstance, form.renamed.values(), [str] * len(form.renamed))):
        raise TypeError("a form without parameters, or with names that are no text")
    if not all(name.isidentifier() and not keyword.iskeyword(name) for name in form.symbols):
        raise ValueError("a symbol whose name is none")
    if not all(map(isinstance, form.kinds.values(), [str] * len(form.kinds))) or not isinstance(
        form.single_changes, int
    ):
        raise TypeError("kinds that are no text")
    form.polynomials  # noqa: B018  # each size is one of the symbols


def component_polynomials(form: Form) -> dict[str, Polynomial]:
    """component -> its parameters as a polynomial over the form's symbols, in the order of the rows."""
    return dict(form.polynomials)


def parsed(text: str) -> Polynomial:
    """The polynomial that an expression over symbols is; ValueError where it is none.

    >>> parsed("2*d*(f + 1) - 3")
    Polynomial({(('d', 1), ('f', 1)): 2, (('d', 1),): 2, (): -3})
    """
    symbols = {name: Polynomial.symbol(name) for name in re.findall(r"[A-Za-z_]\w*", text)}
    value = evaluate(text, namespace_of(symbols))
    return value if isinstance(value, Polynomial) else Polynomial.constant(value)


def namespace_of(symbols: Mapping[str, Any]) -> dict[str, Any]:
    """Names for `evaluate` that are these and nothing else."""
    return {**symbols, "__builtins__": {}}
