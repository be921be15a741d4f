"""Reads plain values from a pickle without importing or running anything.

This module interprets the opcodes on a stack of plain containers and numbers. A global (a class or a function) stays a
name and must be on the caller's list; a call of it calls the caller's function for that name. Time and memory are
linear in the length of the pickle: containers may share contents, but are never traversed.

Source: documentation of the opcodes in `pickletools` of the standard library.
"""

import pickletools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

# Opcodes whose argument is the value.
_NUMBERS = frozenset(["INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"])
_TEXTS = frozenset(
    ["UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"]
)
_BYTES = frozenset(["BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"])
_VALUES = _NUMBERS | _TEXTS | _BYTES
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_KEYS = (str, bytes, int, float, type(None))


class RefusedError(Exception):
    """A pickle asks for something that is not on the caller's list; the argument names it."""


@dataclass(frozen=True)
class Global:
    """A global that a pickle names, such as "torch.FloatStorage"."""

    name: str


class Stateful(ABC):
    """An object that a pickle first creates and then fills, such as an array; returned by a caller's function."""

    @abstractmethod
    def set_state(self, state: Any) -> None:
        """Sets the state that the pickle holds for the object; raises ValueError or TypeError if it is invalid."""


class _Opaque:
    """A value that a pickle may hold but that is ignored."""


OPAQUE = _Opaque()


def refuse_persistent_id(_: Any) -> Any:
    """The `persistent_load` of pickles without external values."""
    raise RefusedError("a value outside the pickle")


def load(
    data: bytes | BinaryIO,
    names: Mapping[str, Callable[..., Any] | None],
    persistent_load: Callable[[Any], Any] = refuse_persistent_id,
) -> Any:
    """Reads the value of a pickle of any protocol, or of a file, from its position to the end of the pickle.

    `names` are the allowed globals: a function that replaces calls of the global, or None if it may only be named.
    `persistent_load` gives the value of a persistent id. Returns nested dicts, lists, tuples, numbers, strings, and
    results of the functions, with their state set if they are `Stateful`. Sets become lists; attributes are ignored.

    Raises `RefusedError` if the pickle names another global, or uses an opcode that plain values do not need, and
    ValueError, LookupError or TypeError if it is damaged.
    """
    machine = _Machine(names, persistent_load)
    for opcode, argument, _ in pickletools.genops(data):
        machine.step(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    def __init__(self, names: Mapping[str, Callable[..., Any] | None], persistent_load: Callable[[Any], Any]):
        self._names, self._persistent_load = names, persistent_load
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []  # stacks below the marks
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case _ if opcode in _VALUES:
                stack.append(argument)
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self._below.append(stack)
                self.stack = []
            case "POP":
                stack.pop()
            case "POP_MARK":
                self._since_mark()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "EMPTY_LIST" | "EMPTY_SET":
                stack.append([])
            case "LIST" | "FROZENSET":
                self._push_all(list)
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS" | "ADDITEMS":
                items = self._since_mark()
                _extend(self.stack[-1], items)
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                self._push_all(lambda items: _set_items({}, items))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                items = self._since_mark()
                _set_items(self.stack[-1], items)
            case "TUPLE":
                self._push_all(tuple)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode[-1])
                if len(stack) < count:
                    raise IndexError("a tuple of more values than the stack has")
                stack[-count:] = [tuple(stack[-count:])]
            case "GLOBAL":
                stack.append(self._named(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(self._named(f"{_text(module)}.{_text(name)}"))
            case "REDUCE":
                arguments, called = stack.pop(), stack.pop()
                stack.append(self._call(called, arguments))
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Stateful):
                    stack[-1].set_state(state)
                # Attributes are ignored.
                elif not isinstance(stack[-1], dict | _Opaque):
                    raise TypeError("attributes for a value that has none")
            case "BINPERSID":
                stack.append(self._persistent_load(stack.pop()))
            case "INST":
                raise RefusedError(argument.replace(" ", "."))
            case _:
                raise RefusedError(f"the pickle opcode {opcode}")

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _push_all(self, make: Callable[[list[Any]], Any]) -> None:
        items = self._since_mark()
        self.stack.append(make(items))

    def _named(self, name: str) -> Global:
        if name not in self._names:
            raise RefusedError(name)
        return Global(name)

    def _call(self, called: Any, arguments: Any) -> Any:
        function = self._names[called.name] if isinstance(called, Global) else None
        if function is None or not isinstance(arguments, tuple):
            raise TypeError("a call of a value that is no function")
        return function(*arguments)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name that is no text")
    return value


def _extend(target: Any, items: list[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError("items for a value that is no list")
    target += items


def _set_items(target: Any, items: list[Any]) -> dict[Any, Any]:
    """Sets items, given as alternating keys and values. Keys must be plain: hashing nested tuples may never end."""
    if not isinstance(target, dict) or len(items) % 2:
        raise TypeError("items for a value that is no dictionary")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, _KEYS):
            raise TypeError(f"a key of type {type(key).__name__}")
        target[key] = value
    return target
