"""A pickle read as what it is, a program, by a machine that runs nothing: every name it calls is looked up in a table.

Python's own Unpickler imports and calls what the file names, and believes its lengths (a memo index of 2**32 makes it
allocate as many places). This machine knows the opcodes of protocols 2 to 5 (pickletools.py says what each does), has
no import in it, refuses at the first name that its table does not have, and does at most OPCODE_LIMIT steps.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hfcount.deadline import in_time
from hfcount.sources.headers.header import HeaderError
from hfcount.sources.headers.json_text import shortened

OPCODE_LIMIT = 5_000_000
"""Steps of one pickle; a tensor of a state dict takes about 33, so it has room for 150,000."""


class Truncated(HeaderError):
    """The pickle goes on behind the bytes at hand."""


class Stub(Protocol):
    """What stands in for a name that a pickle may call.

    Attributes:
        path: the name, "torch._utils._rebuild_tensor_v2".
    """

    @property
    def path(self) -> str: ...

    def call(self, arguments: tuple[Any, ...]) -> Any: ...


class Inert:
    """A value that matters to nobody: what an allowed name made that is no tensor."""

    __slots__ = ()


class Machine:
    """Reads pickles from `data`, one after the other.

    Args:
        data: the bytes.
        file: for messages.
        stub: gives what stands in for a dotted name, None for one that is not allowed.
        persistent: makes a value of a persistent id, which is how torch names a storage.
    """

    def __init__(
        self, data: bytes, file: str, stub: Callable[[str], Stub | None], persistent: Callable[[Any], Any]
    ) -> None:
        self.data = data
        self.file = file
        self.stub = stub
        self.persistent = persistent
        self.position = 0

    def load(self) -> Any:
        """The value of the next pickle. Raises HeaderError; Truncated where the bytes at hand end too early."""
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        handlers, stop, data, size = _HANDLERS, pickle.STOP[0], self.data, len(self.data)
        try:
            for _ in in_time(range(OPCODE_LIMIT)):
                if self.position >= size:
                    raise self.truncated()
                code = data[self.position]
                self.position += 1
                if code == stop:
                    return self.stack.pop()
                handler = handlers.get(code)
                if handler is None:
                    raise self.error(f"has the opcode {code:#04x}, which no state dict has")
                handler(self)
        except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
            reason = f": {error}" if type(error) is ValueError else ""
            raise self.error(f"is malformed{reason}") from error
        raise self.error(f"has more than {OPCODE_LIMIT:,} steps")

    def error(self, what: str) -> HeaderError:
        return HeaderError(f"{self.file}: its pickle {what} (byte {self.position:,})")

    def truncated(self) -> Truncated:
        return Truncated(f"{self.file}: its pickle ends early (truncated?)")

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.position:
            raise self.truncated()
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, code: struct.Struct) -> Any:
        return code.unpack(self.take(code.size))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise self.truncated()
        return self.take(end + 1 - self.position)[:-1].decode("utf-8")

    def pop_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def lookup(self, path: str) -> Stub:
        found = self.stub(path)
        if found is None:
            raise HeaderError(f"{self.file}: loading it would call {_named(path)}: refused, nothing was run")
        return found

    def call(self, callee: Any, arguments: Any) -> Any:
        if not callable(getattr(callee, "call", None)) or not isinstance(arguments, tuple):
            raise self.error("calls what is no function")
        return callee.call(arguments)


def _named(path: str) -> str:
    return shortened(path, 120)[1:-1]


_Handler = Callable[[Machine], None]
_BYTE, _SHORT, _INT, _SIGNED, _LONG, _DOUBLE = map(struct.Struct, ("<B", "<H", "<I", "<i", "<Q", ">d"))


def _push(make: Callable[[Machine], Any]) -> _Handler:
    return lambda machine: machine.stack.append(make(machine))


def _constant(value: Any) -> _Handler:
    return lambda machine: machine.stack.append(value)


def _numeral(code: struct.Struct) -> _Handler:
    return _push(lambda machine: machine.number(code))


def _text(code: struct.Struct) -> _Handler:
    return _push(lambda machine: machine.take(machine.number(code)).decode("utf-8", "replace"))


def _raw(code: struct.Struct) -> _Handler:
    return _push(lambda machine: machine.take(machine.number(code)))


def _old_text(code: struct.Struct) -> _Handler:
    """Python 2's str, which keys of old checkpoints are."""
    return _push(lambda machine: machine.take(machine.number(code)).decode("latin-1"))


def _integer(code: struct.Struct) -> _Handler:
    return _push(lambda machine: int.from_bytes(machine.take(machine.number(code)), "little", signed=True))


def _skip(code: struct.Struct) -> _Handler:
    return lambda machine: (machine.number(code), None)[1]


def _get(code: struct.Struct) -> _Handler:
    return _push(lambda machine: machine.memo[machine.number(code)])


def _put(code: struct.Struct) -> _Handler:
    def put(machine: Machine) -> None:
        machine.memo[machine.number(code)] = machine.stack[-1]

    return put


def _memoize(machine: Machine) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


def _mark(machine: Machine) -> None:
    machine.marked.append(machine.stack)
    machine.stack = []


def _last(count: int) -> _Handler:
    """A tuple of the last `count` values."""

    def collect(machine: Machine) -> None:
        if len(machine.stack) < count:
            raise IndexError
        machine.stack[-count:] = [tuple(machine.stack[-count:])]

    return collect


def _collect(make: Callable[[list[Any]], Any]) -> _Handler:
    """A value of all since the mark."""

    def collect(machine: Machine) -> None:
        items = machine.pop_mark()
        machine.stack.append(make(items))

    return collect


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError
    return {_key(items[index]): items[index + 1] for index in range(0, len(items), 2)}


def _key(value: Any) -> Any:
    """A key of a dict: texts and numbers as they are; what may take for ever to hash (nested tuples) as nothing."""
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else Inert()
    return value if isinstance(value, (str, float, bytes)) or value is None else Inert()


def _setitems(machine: Machine) -> None:
    _fill(machine, _pairs(machine.pop_mark()))


def _setitem(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _fill(machine, {_key(key): value})


def _fill(machine: Machine, items: dict[Any, Any]) -> None:
    target = machine.stack[-1]
    if type(target) is dict:
        target.update(items)
    elif type(target) is not Inert:
        raise TypeError


def _append(machine: Machine) -> None:
    _extend(machine, [machine.stack.pop()])


def _extend(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if type(target) is list:
        target.extend(items)
    elif type(target) is not Inert:
        raise TypeError


def _global(machine: Machine) -> None:
    module, name = machine.line(), machine.line()
    machine.stack.append(machine.lookup(f"{module}.{name}"))


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise TypeError
    machine.stack.append(machine.lookup(f"{module}.{name}"))


def _instance(machine: Machine) -> None:
    callee = machine.lookup(f"{machine.line()}.{machine.line()}")
    machine.stack.append(machine.call(callee, tuple(machine.pop_mark())))


def _object(machine: Machine) -> None:
    callee, *arguments = machine.pop_mark()
    machine.stack.append(machine.call(callee, tuple(arguments)))


def _reduce(machine: Machine) -> None:
    arguments, callee = machine.stack.pop(), machine.stack.pop()
    machine.stack.append(machine.call(callee, arguments))


def _new_with_keywords(machine: Machine) -> None:
    machine.stack.pop()
    _reduce(machine)


def _build(machine: Machine) -> None:
    """A state is set on what was made; nothing of it is asked for (OrderedDict's `_metadata`, a parameter's flags)."""
    machine.stack.pop()
    if not machine.stack:
        raise IndexError


def _persistent(machine: Machine) -> None:
    machine.stack.append(machine.persistent(machine.stack.pop()))


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


_NAMED: Mapping[bytes, _Handler] = {
    pickle.PROTO: _skip(_BYTE),
    pickle.FRAME: _skip(_LONG),
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(True),
    pickle.NEWFALSE: _constant(False),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.EMPTY_LIST: _push(lambda _: []),
    pickle.EMPTY_SET: _push(lambda _: []),
    pickle.EMPTY_DICT: _push(lambda _: {}),
    pickle.BININT: _numeral(_SIGNED),
    pickle.BININT1: _numeral(_BYTE),
    pickle.BININT2: _numeral(_SHORT),
    pickle.BINFLOAT: _numeral(_DOUBLE),
    pickle.LONG1: _integer(_BYTE),
    pickle.LONG4: _integer(_INT),
    pickle.BINUNICODE: _text(_INT),
    pickle.SHORT_BINUNICODE: _text(_BYTE),
    pickle.BINUNICODE8: _text(_LONG),
    pickle.BINSTRING: _old_text(_INT),
    pickle.SHORT_BINSTRING: _old_text(_BYTE),
    pickle.BINBYTES: _raw(_INT),
    pickle.SHORT_BINBYTES: _raw(_BYTE),
    pickle.BINBYTES8: _raw(_LONG),
    pickle.BYTEARRAY8: _raw(_LONG),
    pickle.BINGET: _get(_BYTE),
    pickle.LONG_BINGET: _get(_INT),
    pickle.BINPUT: _put(_BYTE),
    pickle.LONG_BINPUT: _put(_INT),
    pickle.MEMOIZE: _memoize,
    pickle.MARK: _mark,
    pickle.POP: _pop,
    pickle.POP_MARK: lambda machine: (machine.pop_mark(), None)[1],
    pickle.DUP: _push(lambda machine: machine.stack[-1]),
    pickle.TUPLE: _collect(tuple),
    pickle.TUPLE1: _last(1),
    pickle.TUPLE2: _last(2),
    pickle.TUPLE3: _last(3),
    pickle.LIST: _collect(list),
    pickle.FROZENSET: _collect(list),
    pickle.DICT: _collect(_pairs),
    pickle.APPEND: _append,
    pickle.APPENDS: lambda machine: _extend(machine, machine.pop_mark()),
    pickle.ADDITEMS: lambda machine: _extend(machine, machine.pop_mark()),
    pickle.SETITEM: _setitem,
    pickle.SETITEMS: _setitems,
    pickle.GLOBAL: _global,
    pickle.STACK_GLOBAL: _stack_global,
    pickle.INST: _instance,
    pickle.OBJ: _object,
    pickle.REDUCE: _reduce,
    pickle.NEWOBJ: _reduce,
    pickle.NEWOBJ_EX: _new_with_keywords,
    pickle.BUILD: _build,
    pickle.BINPERSID: _persistent,
}
"""What each opcode does. Not here, hence refused: the text opcodes of protocol 0, extension codes, buffers outside."""

_HANDLERS: Mapping[int, _Handler] = {opcode[0]: handler for opcode, handler in _NAMED.items()}
