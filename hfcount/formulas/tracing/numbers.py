"""Numbers that remember the expression they came from: integers, floats and booleans of a config.

Each is a subclass of the plain type, so that a constructor computes with it as with any value. Integers carry a
polynomial whose symbols are expressions over the config's fields; what is no polynomial (a floor, a ceiling, a
power of two) becomes a symbol of its own whose text is the Python expression that gave it.
"""

from __future__ import annotations

import math
from typing import Any

from hfcount.formulas.polynomial import Polynomial
from hfcount.formulas.tracing.recorder import active
from hfcount.formulas.tracing.writing import write


class SymbolicInt(int):
    """An int with the polynomial that it is."""

    poly: Polynomial

    def __new__(cls, value: int, poly: Polynomial) -> SymbolicInt:
        self = int.__new__(cls, value)
        self.poly = poly
        return self

    @classmethod
    def atom(cls, value: int, text: str) -> SymbolicInt:
        return cls(value, Polynomial.symbol(text))

    def __deepcopy__(self, memo: Any) -> SymbolicInt:
        return self

    def __copy__(self) -> SymbolicInt:
        return self

    def __reduce__(self) -> Any:
        return int, (int(self),)

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __bool__(self) -> bool:
        value = int.__bool__(self)
        note(f"{text_of(self)} == 0", not value, self.poly)
        return value

    def __add__(self, other: Any) -> Any:
        return _poly(self, other, int.__add__, lambda a, b: a + b)

    def __radd__(self, other: Any) -> Any:
        return _poly(self, other, int.__radd__, lambda a, b: b + a)

    def __sub__(self, other: Any) -> Any:
        return _poly(self, other, int.__sub__, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return _poly(self, other, int.__rsub__, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, list):
            return self.__rmul__(other)
        if isinstance(other, (tuple, str)):
            return other * int(self)
        return _poly(self, other, int.__mul__, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> Any:
        if isinstance(other, list):
            from hfcount.formulas.tracing.sequences import Segments

            return Segments([(list(other), self)])
        return self.__mul__(other)

    def __neg__(self) -> SymbolicInt:
        return SymbolicInt(int.__neg__(self), -self.poly)

    def __pos__(self) -> SymbolicInt:
        return self

    def __abs__(self) -> SymbolicInt:
        return self if self >= 0 else -self

    def __int__(self) -> int:
        return int.__int__(self)

    def __trunc__(self) -> SymbolicInt:
        return self

    def __floor__(self) -> SymbolicInt:
        return self

    def __ceil__(self) -> SymbolicInt:
        return self

    def __round__(self, digits: Any = None) -> SymbolicInt:
        return self

    def __float__(self) -> float:
        return float(int(self))

    def __truediv__(self, other: Any) -> Any:
        return _ratio(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _ratio(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return quotient(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return quotient(other, self)

    def __mod__(self, other: Any) -> Any:
        return _remainder(self, other)

    def __rmod__(self, other: Any) -> Any:
        return NotImplemented if isinstance(other, str) else _remainder(other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if type(other) is int and 0 <= other <= 8 and modulo is None:
            return SymbolicInt(int(self) ** other, self.poly**other)
        return _power(self, other)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return _power(other, self)

    def __eq__(self, other: object) -> bool:
        return _compare(self, other, "==")

    def __ne__(self, other: object) -> bool:
        return not _compare(self, other, "==") if _is_number(other) else True

    def __lt__(self, other: Any) -> Any:
        return _compare(self, other, "<") if _is_number(other) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return _compare(self, other, "<=") if _is_number(other) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return not _compare(self, other, "<=") if _is_number(other) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return not _compare(self, other, "<") if _is_number(other) else NotImplemented


class SymbolicBool(SymbolicInt):
    """What stands for a boolean field: 0 or 1, and a question whenever its truth decides something."""

    def __bool__(self) -> bool:
        value = int(self) != 0
        note(text_of(self), value, self.poly)
        return value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bool):
            return bool(self) is other
        return SymbolicInt.__eq__(self, other)

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __repr__(self) -> str:
        return repr(int(self) != 0)


class SymbolicFloat(float):
    """A float with the Python expression that it came from, which repeats the same operations in the same order."""

    text: str
    exact: tuple[SymbolicInt | int, SymbolicInt | int] | None

    def __new__(cls, value: float, text: str, exact: Any = None) -> SymbolicFloat:
        self = float.__new__(cls, value)
        self.text, self.exact = text, exact
        return self

    def __deepcopy__(self, memo: Any) -> SymbolicFloat:
        return self

    def __reduce__(self) -> Any:
        return float, (float(self),)

    def __hash__(self) -> int:
        return float.__hash__(self)

    def __bool__(self) -> bool:
        value = float.__bool__(self)
        note(f"{self.text} == 0", not value)
        return value

    def __add__(self, other: Any) -> Any:
        return _float(self, other, "+", lambda a, b: a + b)

    def __radd__(self, other: Any) -> Any:
        return _float(other, self, "+", lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return _float(self, other, "-", lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return _float(other, self, "-", lambda a, b: a - b)

    def __mul__(self, other: Any) -> Any:
        return _float(self, other, "*", lambda a, b: a * b)

    def __rmul__(self, other: Any) -> Any:
        return _float(other, self, "*", lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Any:
        return _float(self, other, "/", lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> Any:
        return _float(other, self, "/", lambda a, b: a / b)

    def __floordiv__(self, other: Any) -> Any:
        return _float(self, other, "//", lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Any:
        return _float(other, self, "//", lambda a, b: a // b)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return _float(self, other, "**", lambda a, b: a**b)

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return _float(other, self, "**", lambda a, b: a**b)

    def __trunc__(self) -> Any:
        return _whole(self, "int", int(float(self)))

    def __floor__(self) -> Any:
        return _whole(self, "math.floor", math.floor(float(self)))

    def __ceil__(self) -> Any:
        return _whole(self, "math.ceil", math.ceil(float(self)))

    def __round__(self, digits: Any = None) -> Any:  # type: ignore[override]
        if digits is None:
            return _whole(self, "round", round(float(self)))
        return SymbolicFloat(round(float(self), digits), f"round({self.text}, {digits})")

    def is_integer(self) -> bool:
        value = float.is_integer(float(self))
        note(f"({self.text}) % 1 == 0", value)
        return value

    def __eq__(self, other: object) -> bool:
        return _compare(self, other, "==")

    def __ne__(self, other: object) -> bool:
        return not _compare(self, other, "==") if _is_number(other) else True

    def __lt__(self, other: Any) -> Any:
        return _compare(self, other, "<") if _is_number(other) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return _compare(self, other, "<=") if _is_number(other) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return not _compare(self, other, "<=") if _is_number(other) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return not _compare(self, other, "<") if _is_number(other) else NotImplemented


def plain(value: Any) -> Any:
    """`value` without memory."""
    if isinstance(value, SymbolicBool):
        return int(value) != 0
    if isinstance(value, SymbolicInt):
        return int(value)
    if isinstance(value, SymbolicFloat):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [plain(each) for each in list.__iter__(value)]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


def note(text: str, outcome: bool, poly: Polynomial | None = None) -> None:
    """Record a condition, unless it is about a constant."""
    recorder = active()
    if recorder is not None and (poly is None or poly.symbols):
        recorder.condition(text, outcome)


def polynomial_of(value: Any) -> Polynomial:
    return value.poly if isinstance(value, SymbolicInt) else Polynomial.constant(int(value))


def text_of(value: Any, *, parenthesised: bool = True) -> str:
    """The Python expression of a number; a sum in parentheses unless told otherwise."""
    if isinstance(value, SymbolicFloat):
        return value.text
    if isinstance(value, SymbolicInt):
        return write(value.poly, parenthesised=parenthesised)
    return repr(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _poly(left: SymbolicInt, other: Any, compute: Any, combine: Any) -> Any:
    if isinstance(other, int):
        return SymbolicInt(compute(left, int(other)), combine(left.poly, polynomial_of(other)))
    if isinstance(other, float):
        flipped = compute.__name__.startswith("__r")
        sign = {"add": "+", "sub": "-", "mul": "*"}[compute.__name__.strip("_").lstrip("r")]
        one, two = (other, left) if flipped else (left, other)
        operations: dict[str, Any] = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
        return _float(one, two, sign, operations[sign])
    return NotImplemented


def _float(left: Any, right: Any, sign: str, compute: Any) -> Any:
    if not _is_number(left) or not _is_number(right):
        return NotImplemented
    value = compute(plain(left), plain(right))
    if not isinstance(value, float):
        return value
    return SymbolicFloat(value, f"({text_of(left)}{sign}{text_of(right)})")


def _ratio(left: Any, right: Any) -> Any:
    if not _is_number(left) or not _is_number(right):
        return NotImplemented
    exact = (left, right) if isinstance(left, int) and isinstance(right, int) else None
    return SymbolicFloat(plain(left) / plain(right), f"({text_of(left)}/{text_of(right)})", exact)


def _whole(number: SymbolicFloat, function: str, value: int) -> Any:
    """An integer made of a float, named by the function that made it."""
    if number.exact is not None and function in ("int", "math.floor"):
        left, right = number.exact
        if int(left) >= 0 and int(right) > 0:  # int(a / b) is a // b for sizes
            return quotient(left, right)
    inner = number.text[1:-1] if number.text.startswith("(") and _wraps(number.text) else number.text
    return SymbolicInt.atom(value, f"{function}({inner})")


def _wraps(text: str) -> bool:
    """Whether the first parenthesis closes at the end."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def quotient(left: Any, right: Any) -> Any:
    """`left // right`. Where it leaves no remainder the division is noted, so that it can cancel later."""
    if isinstance(right, float) or isinstance(left, float):
        return _float(left, right, "//", lambda a, b: a // b)
    if not isinstance(left, int) or not isinstance(right, int):
        return NotImplemented
    divided = _divided(polynomial_of(left), polynomial_of(right))
    value = int(left) // int(right)
    if not (polynomial_of(left).symbols or polynomial_of(right).symbols):
        return value
    if divided is not None:
        return SymbolicInt(value, divided)
    text = f"({text_of(left)}//{text_of(right)})"
    recorder = active()
    if recorder is not None and not recorder.paused and int(left) % int(right) == 0:
        recorder.quotients[text] = (polynomial_of(left), polynomial_of(right))
    return SymbolicInt.atom(value, text)


def _divided(left: Polynomial, right: Polynomial) -> Polynomial | None:
    """The polynomial left / right where right is one term that divides every term of left; None otherwise."""
    if left == right:
        return Polynomial.constant(1)
    if len(right.terms) != 1:
        return None
    ((monomial, factor),) = right.terms.items()
    terms = {}
    for powers, times in left.terms.items():
        rest = dict(powers)
        for name, power in monomial:
            rest[name] = rest.get(name, 0) - power
        if times % factor or any(power < 0 for power in rest.values()):
            return None
        terms[tuple(sorted((name, power) for name, power in rest.items() if power))] = times // factor
    return Polynomial(terms)


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, float) or isinstance(right, float):
        return _float(left, right, "%", lambda a, b: a % b)
    if not isinstance(left, int) or not isinstance(right, int):
        return NotImplemented
    if _divided(polynomial_of(left), polynomial_of(right)) is not None:
        return 0
    return SymbolicInt.atom(int(left) % int(right), f"({text_of(left)} % {text_of(right)})")


def _power(left: Any, right: Any) -> Any:
    if not _is_number(left) or not _is_number(right):
        return NotImplemented
    value = plain(left) ** plain(right)
    text = f"({text_of(left)}**{text_of(right)})"
    return SymbolicInt.atom(value, text) if isinstance(value, int) else SymbolicFloat(value, text)


def _compare(left: Any, right: Any, sign: str) -> bool:
    """The outcome of a comparison, noted unless it is the same for all values."""
    if not _is_number(right):
        return False
    one, two = plain(left), plain(right)
    value = bool({"==": one == two, "<": one < two, "<=": one <= two}[sign])
    if isinstance(left, int) and isinstance(right, int):
        difference = polynomial_of(left) - polynomial_of(right)
        if not difference.symbols:
            return value
    note(f"{text_of(left, parenthesised=False)} {sign} {text_of(right, parenthesised=False)}", value)
    return value
