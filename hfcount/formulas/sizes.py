"""Reading a config's sizes, once as numbers and once as the symbols of its closed form."""

from __future__ import annotations

from typing import Any

from hfcount.formulas.polynomial import Polynomial


class NotModelled(Exception):
    """The config has something that the family's closed form does not describe, or lacks what it needs."""


class Sizes:
    """The sizes a family asks of one config; `symbolic` says whether they come as numbers or as symbols.

    Attributes:
        config: the config, a transformers PreTrainedConfig or any object with its attributes.
        values: symbol -> its number in this config, for every symbol read so far.
        fields: symbol -> the config field it was read from, or a Python expression of fields.
    """

    def __init__(self, config: Any, *, symbolic: bool) -> None:
        self.config = config
        self.symbolic = symbolic
        self.values: dict[str, int] = {}
        self.fields: dict[str, str] = {}

    def read(self, symbol: str, field: str) -> Any:
        """The size in the config's `field`; raises NotModelled where that is no count of something."""
        return self.name(symbol, field, self.number(field))

    def name(self, symbol: str, field: str, value: int) -> Any:
        """The size `value` under the name `symbol`, with `field` to say where it comes from."""
        self.values[symbol] = value
        self.fields[symbol] = field
        return Polynomial.symbol(symbol) if self.symbolic else value

    def value(self, field: str) -> Any:
        """What the config says in `field`; raises NotModelled where it says nothing."""
        if not hasattr(self.config, field):
            raise NotModelled(f"the config has no {field}")
        return getattr(self.config, field)

    def number(self, field: str) -> int:
        """The config's `field` as a number; raises NotModelled where it is missing or no natural number."""
        value = self.value(field)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise NotModelled(f"{field} is {value!r}, not a size")
        return value

    def flag(self, field: str) -> bool:
        """The config's yes or no in `field`; raises NotModelled where it is neither."""
        value = self.value(field)
        if not isinstance(value, bool):
            raise NotModelled(f"{field} is {value!r}, neither yes nor no")
        return value

    def refuse(self, field: str) -> None:
        """Raises NotModelled if the config switches `field` on: what it adds is not in the form."""
        if getattr(self.config, field, False):
            raise NotModelled(f"{field} is set")

    def need(self, holds: bool, what: str) -> None:
        """Raises NotModelled with `what` unless it holds."""
        if not holds:
            raise NotModelled(what)
