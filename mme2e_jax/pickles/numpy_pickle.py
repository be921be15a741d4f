"""Numpy arrays and numbers in pickles that `plain_pickle` reads.

numpy pickles an array as a call that creates an empty array, and a state that fills it: version, shape, type, order,
and bytes or, for objects, a list. From protocol 5 on it is one call with a buffer.

Source: `ndarray.__reduce__`, `ndarray.__reduce_ex__` and `dtype.__reduce__` of numpy 1.16 to 2.4.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mme2e_jax.pickles.plain_pickle import Global, Stateful

# Numbers, texts (U), bytes (S), objects (O); no structured types, which nest.
_CODE = re.compile(r"[iu][1248]|f[248]|b1|[US][0-9]{1,6}|O8?")
_ORDERS = ("<", ">", "|", "=")
_MAX_AXES = 32


class _Type(Stateful):
    """A dtype; its state holds the byte order."""

    def __init__(self, code: Any, *_: Any):
        if not (isinstance(code, str) and _CODE.fullmatch(code)):
            raise TypeError(f"a numpy dtype named {str(code)[:20]!r}")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) >= 5 and state[1] in _ORDERS):
            raise TypeError("an invalid state of a numpy dtype")
        if any(part is not None for part in state[2:5]):
            raise TypeError("a numpy dtype with fields")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray, Stateful):
    """An array that is empty until its state is set."""

    def set_state(self, state: Any) -> None:
        if not (isinstance(state, tuple) and len(state) == 5):
            raise TypeError("an invalid state of an array")
        _, shape, kind, fortran, content = state
        dtype = _dtype(kind)
        count = _count(shape)
        if dtype.hasobject:
            if not isinstance(content, list) or len(content) != count:
                raise ValueError(f"an array of {count} objects with another number of them")
            content = list(content)  # a copy, because the pickle may change the list later
        elif not isinstance(content, bytes) or len(content) != count * dtype.itemsize:
            raise ValueError(f"an array of {count} x {dtype.itemsize} bytes with another number of them")
        state = (1, shape, dtype, bool(fortran), content)
        self.__setstate__(state)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind != Global("numpy.ndarray"):
        raise TypeError("an array of another class")
    return np.empty(0, np.uint8).view(_Array)


def _from_buffer(content: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    dtype = _dtype(kind)
    if not isinstance(content, bytes | bytearray) or dtype.hasobject or order not in ("C", "F"):
        raise TypeError("an array without its bytes")
    if len(content) != _count(shape) * dtype.itemsize:
        raise ValueError("an array that does not have the size of its bytes")
    return np.frombuffer(content, dtype).reshape(shape, order=order) if content else np.zeros(shape, dtype)


def _number(kind: Any, content: Any) -> Any:
    dtype = _dtype(kind)
    if dtype.kind not in "iufb" or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise TypeError("an invalid numpy number")
    return np.frombuffer(content, dtype)[0].item()


def _bytes(text: Any = "", encoding: Any = "latin1") -> bytes:
    """The bytes that protocols below 3 store as text."""
    if not isinstance(text, str) or encoding != "latin1":
        raise TypeError("invalid bytes")
    return text.encode("latin1")


def _dtype(kind: Any) -> np.dtype:
    if not isinstance(kind, _Type):
        raise TypeError("an array without a type")
    return kind.dtype


def _count(shape: Any) -> int:
    """The number of elements, in Python's integers, which do not overflow."""
    if not isinstance(shape, tuple) or len(shape) > _MAX_AXES:
        raise TypeError("an array without a shape")
    if any(type(n) is not int or not 0 <= n < 1 << 40 for n in shape):
        raise ValueError("an array of an impossible shape")
    return math.prod(shape)


# numpy 2 renamed `core`; files contain the name of the version that wrote them.
_CORES = ("numpy.core", "numpy._core")
GLOBALS: Mapping[str, Callable[..., Any] | None] = {
    "numpy.ndarray": None,
    "numpy.dtype": _Type,
    "_codecs.encode": _bytes,
    "builtins.bytes": _bytes,  # the empty ones
    "__builtin__.bytes": _bytes,
    **{f"{core}.multiarray.scalar": _number for core in _CORES},
    **{f"{core}.multiarray._reconstruct": _reconstruct for core in _CORES},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in _CORES},
}
