"""Tests numpy arrays in pickles that are read without unpickling."""

import pickle
from typing import Any

import numpy as np
import pytest

from mme2e_jax.pickles import numpy_pickle, plain_pickle

every_protocol = pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    "view": np.arange(24.0).reshape(4, 6).T[1:5:2, 1:],
    "big-endian": np.array([1.5, -2.0], ">f4"),
    "flags": np.array([True, False]),
    "scalar": np.array(7, np.uint8),
    "empty": np.zeros((0, 3), np.float32),
    "long": np.arange(5000, dtype=np.float16),  # above what numpy copies
    "texts": np.array(["Ses01F", "é"]),
    "bytes": np.array([b"ab", b"c"]),
    "objects": np.array(["a", None, 2.5, [1, 2]], dtype=object),
}


def read(data: bytes) -> Any:
    return plain_pickle.load(data, numpy_pickle.GLOBALS)


@every_protocol
@pytest.mark.parametrize("name", list(ARRAYS))
def test_arrays_come_as_they_were_pickled(name: str, protocol: int) -> None:
    found = read(pickle.dumps({"nested": [(ARRAYS[name],)]}, protocol))["nested"][0][0]

    assert isinstance(found, np.ndarray)
    assert (found.dtype.kind, found.shape) == (ARRAYS[name].dtype.kind, ARRAYS[name].shape)
    np.testing.assert_array_equal(found, ARRAYS[name])


@every_protocol
def test_shared_arrays_and_numbers(protocol: int) -> None:
    array = np.arange(3)

    a, b, *numbers = read(pickle.dumps([array, array, np.int64(3), np.float32(0.5), np.bool_(True)], protocol))

    assert a is b
    assert numbers == [3, 0.5, True]
    assert [type(number) for number in numbers] == [int, float, bool]


class Reduced:
    """Pickled as a call, with a state."""

    def __init__(self, *parts: Any):
        self._parts = parts

    def __reduce__(self) -> Any:
        return self._parts


MAKE, ARGUMENTS, *_ = np.zeros(2).__reduce__()
FLOAT = np.dtype("f8")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ((1, (3,), FLOAT, False, b"x" * 16), "an array of 3 x 8 bytes with another number"),
        ((1, (1 << 39, 1 << 39), FLOAT, False, b"x" * 16), "with another number"),
        ((1, (1 << 62,), FLOAT, False, b""), "an impossible shape"),
        ((1, (-1,), FLOAT, False, b""), "an impossible shape"),
        ((1, (True,), FLOAT, False, b"x" * 8), "an impossible shape"),
        ((1, (1,) * 40, FLOAT, False, b"x" * 8), "without a shape"),
        ((1, [2], FLOAT, False, b"x" * 16), "without a shape"),
        ((1, (2,), "f8", False, b"x" * 16), "without a type"),
        ((1, (2,), np.dtype("O"), False, b"x" * 16), "an array of 2 objects with another number"),
        ((1, (2,), np.dtype("O"), False, [1]), "an array of 2 objects with another number"),
        ((1, (1,), FLOAT, False, [1.0]), "with another number"),
        ((1, (1,), np.dtype([("a", "f8")]), False, b"x" * 8), "a numpy dtype named 'V8'"),
        ((1, (1,), np.dtype("M8[s]"), False, b"x" * 8), "a numpy dtype named 'M8'"),
        ((1, (2,), FLOAT), "an invalid state of an array"),
        ("state", "an invalid state of an array"),
    ],
)
def test_states_that_make_no_sense_are_errors(state: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        read(pickle.dumps(Reduced(MAKE, ARGUMENTS, state), 4))


def test_other_classes_and_functions_of_numpy_are_refused() -> None:
    for value in (np.ma.masked_array([1]), np.random.default_rng(0), np.load):
        with pytest.raises(plain_pickle.RefusedError, match="numpy"):
            read(pickle.dumps(value, 4))
    with pytest.raises(TypeError, match="an array of another class"):
        read(pickle.dumps(Reduced(MAKE, (FLOAT, (0,), b"b")), 4))


def test_an_array_of_objects_may_hold_itself() -> None:
    loop = np.empty(1, object)
    loop[0] = loop
    found = read(pickle.dumps(loop, 4))
    assert found[0] is found


def test_many_arrays_of_the_same_bytes_take_no_memory_each() -> None:
    content = b"x" * 8_000_000

    found = read(pickle.dumps([Reduced(MAKE, ARGUMENTS, (1, (1_000_000,), FLOAT, False, content))] * 1000, 2))
    several = read(
        pickle.dumps([Reduced(MAKE, ARGUMENTS, (1, (1_000_000,), FLOAT, False, content)) for _ in range(1000)], 2)
    )

    assert found[0] is found[-1]
    assert several[0].__array_interface__["data"] == several[-1].__array_interface__["data"]
