"""Tests PyTorch tensors in bare pickles, read without PyTorch."""

import pickle
from typing import Any

import numpy as np
import pytest

from mme2e_jax.pickles import plain_pickle, tensor_pickle
from tests.helpers.torch_writer import Name, Tensor, bare_pickle, storage_bytes, tensor

FLOATS = np.arange(6, dtype=np.float32)


class Reduced:
    """Pickled as a call of a function that `bare_pickle` writes by its name."""

    def __init__(self, function: Any, *arguments: Any):
        self._parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self._parts


LOAD = Name("torch.storage", "_load_from_bytes")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_and_arrays_nest_in_plain_values(protocol: int) -> None:
    value = {
        "tensor": tensor(FLOATS.reshape(2, 3)),
        "nested": {"L": [tensor(np.array([True, False])), np.arange(3)]},
        # Every second of one row, from a storage that a third shares.
        "view": Tensor(FLOATS, 1, (2,), (2,)),
        "transposed": Tensor(FLOATS, 0, (3, 2), (1, 3)),
        "empty": tensor(np.zeros((0, 5), np.float32)),
        "number": np.float64(0.5),
    }

    found = tensor_pickle.load(bare_pickle(value, protocol))

    assert list(found) == list(value)
    np.testing.assert_array_equal(found["tensor"], FLOATS.reshape(2, 3), strict=True)
    np.testing.assert_array_equal(found["nested"]["L"][0], [True, False])
    np.testing.assert_array_equal(found["nested"]["L"][1], np.arange(3))
    np.testing.assert_array_equal(found["view"], FLOATS[1:5:2], strict=True)
    np.testing.assert_array_equal(found["transposed"], FLOATS.reshape(2, 3).T, strict=True)
    assert found["empty"].shape == (0, 5)
    assert found["number"] == 0.5


def test_what_else_a_pickle_or_a_storage_names_is_refused() -> None:
    evil = b"cposix\nsystem\n(S'touch ran'\ntR."
    magic = storage_bytes(FLOATS).split(b"\x80\x02M\xe9\x03.")[0]

    with pytest.raises(plain_pickle.RefusedError, match=r"posix\.system"):
        tensor_pickle.load(bare_pickle([Reduced(Name("posix", "system"), "touch ran")]))
    for inner in (evil, magic + evil):
        with pytest.raises(plain_pickle.RefusedError, match=r"posix\.system"):
            tensor_pickle.load(bare_pickle(Reduced(LOAD, inner)))
    # Tensors have no business inside a storage, nor a storage in itself.
    nested = storage_bytes(FLOATS)[: -8 - FLOATS.nbytes].replace(
        b"torch\nFloatStorage", b"torch.storage\n_load_from_bytes"
    )
    with pytest.raises(plain_pickle.RefusedError, match=r"torch\.storage\._load_from_bytes"):
        tensor_pickle.load(bare_pickle(Reduced(LOAD, nested)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (storage_bytes(FLOATS, count=7), "a storage of 6 x 4 bytes that has 24"),
        (storage_bytes(FLOATS)[:-1], "a storage of 6 x 4 bytes that has 23"),
        (storage_bytes(FLOATS) + b"x", "a storage of 6 x 4 bytes that has 25"),
        (storage_bytes(FLOATS, little_endian=False), "big-endian"),
        (pickle.dumps(3) * 3, "an unknown format"),
        (b"", "exhausted"),
        ("text", "not bytes"),
    ],
)
def test_a_damaged_storage_is_an_error(data: Any, message: str) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, EOFError), match=message):
        tensor_pickle.load(bare_pickle(Reduced(LOAD, data)))


@pytest.mark.parametrize(("offset", "size", "stride"), [(0, (7,), (1,)), (5, (2,), (1,)), (0, (2, 3), (4, 1))])
def test_a_tensor_does_not_leave_its_storage(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="in a storage of 6"):
        tensor_pickle.load(bare_pickle(Tensor(FLOATS, offset, size, stride)))


def test_a_storage_that_is_named_many_times_takes_neither_memory_nor_time() -> None:
    data = storage_bytes(np.zeros(2_000_000, np.float32))

    found = tensor_pickle.load(bare_pickle([Reduced(LOAD, data) for _ in range(500)]))

    assert found[0].__array_interface__["data"] == found[-1].__array_interface__["data"]
