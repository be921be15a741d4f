"""Tests real, damaged and malicious files of torch.save, without torch."""

import os
import pickle
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mme2e_jax.errors import UserError
from mme2e_jax.pickles import torch_file
from tests.helpers import torch_writer
from tests.helpers.oracle import DATA
from tests.helpers.torch_writer import Tensor, entries_of, save, state_dict, tensor, write_zip

TENSORS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.array([0.5, -1.5, 1e-30]),
    "count": np.array(7),
    "flag": np.array([[True], [False]]),
    "empty": np.zeros((0, 3), np.float32),
}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True, err_msg=name)


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        torch_file.read(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_state_dict_of_pytorch_itself() -> None:
    """Written by PyTorch 2.13: two Linear layers that share a weight, a BatchNorm, buffers, and a view."""
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = {
        "ids": np.arange(5)[None],
        "flag": np.array([True, False]),
        "0.weight": weight,
        "0.bias": np.array([0.5, -0.5], np.float32),
        "1.weight": np.ones(2, np.float32),
        "1.bias": np.zeros(2, np.float32),
        "1.running_mean": np.zeros(2, np.float32),
        "1.running_var": np.ones(2, np.float32),
        "1.num_batches_tracked": np.array(0),
        "2.weight": weight,
        "view": np.arange(24.0).reshape(4, 6).T[1:5:2, 1:],
    }

    assert_same(torch_file.read(DATA / "torch_state_dict.pt"), expected)


def test_a_checkpoint_of_pytorch_itself() -> None:
    """Written by PyTorch 2.13: parameters under "model", beside an optimiser, numpy scalars, a set, a device."""
    found = torch_file.read(DATA / "torch_checkpoint.pt")

    assert list(found) == [f"0.{x}" for x in ("weight", "bias")] + [
        *(f"1.{x}" for x in ("weight", "bias", "running_mean", "running_var")),
        "2.weight",
        "view",
    ]
    # After one step of Adam with the rate 1e-3, on a loss that grows with both.
    np.testing.assert_allclose(found["0.weight"], np.arange(6).reshape(2, 3) - 1e-3, atol=1e-6)
    np.testing.assert_allclose(found["0.bias"], [0.499, -0.501], atol=1e-6)


def test_pytorchs_older_format_is_named_with_the_way_out() -> None:
    message = refused(DATA / "torch_legacy.pt")

    assert re.search(r"format before 1\.6.*torch\.save\(torch\.load\(.*torch_legacy\.pt'", message, re.DOTALL)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_of_every_type_and_rank(tmp_path: Path, protocol: int) -> None:
    tensors = TENSORS | {f"as_{dtype}": np.array([1, 0, 1]).astype(dtype) for dtype in ("float16", "int32", "uint8")}

    assert_same(torch_file.read(save(tmp_path / "model.pt", state_dict(tensors), protocol)), tensors)


def test_bfloat16_keeps_its_name(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pt", state_dict({"x": torch_writer.half(np.array([1.5, -2.0]))}))

    found = torch_file.read(path)["x"]

    assert str(found.dtype) == "bfloat16"
    np.testing.assert_array_equal(found.astype(np.float32), [1.5, -2.0])


def test_views_with_offsets_and_strides_into_a_shared_storage(tmp_path: Path) -> None:
    shared = np.arange(24, dtype=np.float32)
    views = {
        "all": Tensor(shared, 0, (24,), (1,)),
        "transposed": Tensor(shared, 0, (6, 4), (1, 6)),
        "inner": Tensor(shared, 7, (2, 3), (12, 2)),
        "last": Tensor(shared, 23, (), ()),
        "expanded": Tensor(shared, 3, (4, 2), (0, 1)),
        "parameter": Tensor(shared, 12, (12,), (1,), parameter=True),
    }

    path = save(tmp_path / "model.pt", state_dict(views))

    x = shared.reshape(4, 6)
    expected = {"all": shared, "transposed": x.T, "inner": x[1::2, 1:6:2], "last": x[3, 5]}
    expected |= {"expanded": np.tile([3, 4], (4, 1)).astype(np.float32), "parameter": shared[12:]}
    assert_same(torch_file.read(path), {k: np.asarray(v) for k, v in expected.items()})
    assert len([n for n in zipfile.ZipFile(path).namelist() if "/data/" in n]) == 1


def test_the_bytes_of_another_machine_are_turned_around(tmp_path: Path) -> None:
    assert_same(torch_file.read(save(tmp_path / "model.pt", state_dict(TENSORS), byteorder="big")), TENSORS)


def test_a_file_of_pytorch_1_that_does_not_say_its_byte_order(tmp_path: Path) -> None:
    assert_same(torch_file.read(torch_writer.save_as_torch1(tmp_path / "model.pt", state_dict(TENSORS))), TENSORS)


@pytest.mark.parametrize("key", ["state_dict", "model", "anything"])
def test_a_state_dict_inside_a_checkpoint(tmp_path: Path, key: str) -> None:
    checkpoint = {"epoch": 3, key: state_dict(TENSORS), "optimizer": {"state": {0: {"step": tensor(np.array(1.0))}}}}

    assert_same(torch_file.read(save(tmp_path / "model.pt", checkpoint)), TENSORS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": state_dict(TENSORS), "b": state_dict(TENSORS)}, "a dictionary with 'a', 'b', 2 of them"),
        ({"epoch": 3}, "a dictionary with 'epoch', 0 of them"),
        (state_dict({}), "found none, 0 of them"),
        ([tensor(np.zeros(2))], "found none"),
        ({1: tensor(np.zeros(2))}, "a dictionary with 1, 0 of them"),
        ({"a": tensor(np.zeros(2)), "b": 3}, "a dictionary with 'a', 'b', 0 of them"),
    ],
)
def test_a_file_without_exactly_one_state_dict(tmp_path: Path, value: Any, message: str) -> None:
    assert message in refused(save(tmp_path / "model.pt", value))


def test_npz_with_the_same_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **TENSORS)
    assert_same(torch_file.read(tmp_path / "model.npz"), TENSORS)
    np.savez_compressed(tmp_path / "small.npz", **TENSORS)
    assert_same(torch_file.read(tmp_path / "small.npz"), TENSORS)


def test_npz_that_holds_more_than_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{"a": 1}], object))
    assert "allow_pickle" in refused(tmp_path / "objects.npz")
    write_zip(tmp_path / "text.npz", {"x": b"no array"})
    assert "other values than arrays" in refused(tmp_path / "text.npz")
    (tmp_path / "none.npz").write_bytes(b"")
    refused(tmp_path / "none.npz")
    # NumPy reads a header that is no Python expression token by token.
    write_zip(tmp_path / "header.npz", {"x.npy": b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'  "})
    assert "damaged" in refused(tmp_path / "header.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(17):
            archive.writestr(f"{i}.npy", b"")
            archive.infolist()[-1].file_size = 128 << 20
    assert "larger than 2 GiB" in refused(tmp_path / "bomb.npz")


def test_what_is_no_file_of_torch_save(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "absent.pt")
    assert "is a directory" in refused(tmp_path)
    (tmp_path / "text.pt").write_text("hello there")
    assert "starts with b'hello th', expected a zip" in refused(tmp_path / "text.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    assert "starts with b''" in refused(tmp_path / "empty.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps({"a": 1}))
    assert "is a bare pickle" in refused(tmp_path / "pickle.pt")
    with tarfile.open(tmp_path / "tar.pt", "w") as archive:
        archive.add(tmp_path / "text.pt", "storages")
    assert "is a tar" in refused(tmp_path / "tar.pt")


class Evil:
    """Pickled as a call of a function of the system."""

    def __init__(self, function: Any, argument: str):
        self._called = function, (argument,)

    def __reduce__(self) -> Any:
        return self._called


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (os.mkdir, "posix.mkdir"), (eval, r"(builtins|__builtin__)\.eval"), (Evil, "Evil")],
)
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path: Path, function: Any, name: str, protocol: int) -> None:
    marker = tmp_path / "ran"
    argument = {os.system: f"touch {marker}", os.mkdir: str(marker)}.get(function, f"open({str(marker)!r}, 'w')")
    evil = Evil if function is Evil else Evil(function, argument)
    hidden = state_dict(TENSORS)
    vars(hidden)["_metadata"] = evil
    for value in (evil, {"state_dict": evil}, state_dict(TENSORS) | {"x": evil}, hidden, {"k": [({1: evil},)]}):
        message = refused(save(tmp_path / "model.pt", value, protocol))
        assert re.search(rf"asks for \S*{name}, .*Nothing of it was run", message)
    assert not marker.exists()


def with_entries(path: Path, **changed: bytes | None) -> Path:
    """A file with entries replaced, added, or (None) left out."""
    entries = entries_of(state_dict(TENSORS)) | {k.replace("__", "/"): v for k, v in changed.items()}
    return write_zip(path, {name: x for name, x in entries.items() if x is not None})


def test_storages_that_are_missing_or_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"

    assert "storage 0 is missing" in refused(with_entries(path, data__0=None))
    assert "storage 0 has 23 bytes, expected 6 x 4" in refused(with_entries(path, data__0=bytes(23)))
    assert "storage 1 has 25 bytes, expected 3 x 8" in refused(with_entries(path, data__1=bytes(25)))


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (Tensor(np.zeros(6), 0, (7,), (1,)), "7 elements up to number 6, in a storage of 6"),
        (Tensor(np.zeros(6), 1, (6,), (1,)), "up to number 6, in a storage of 6"),
        (Tensor(np.zeros(6), 0, (2, 3), (4, 1)), "up to number 6, in a storage of 6"),
        (Tensor(np.zeros(6), 10**30, (1,), (1,)), "in a storage of 6"),
        (Tensor(np.zeros(1), 0, (10**9, 10**9), (0, 0)), "1000000000000000000 elements"),
        (Tensor(np.zeros(6), 0, (2, 3), (3,)), "damaged"),
        (Tensor(np.zeros(6), -1, (2,), (1,)), "impossible size"),
        (Tensor(np.zeros(6), 0, (-2,), (1,)), "impossible size"),
        (Tensor(np.zeros(6), 3, (2,), (-1,)), "impossible size"),
        (Tensor(np.zeros(6), 0, (0, 10**30), (1, 1)), "damaged"),
        (Tensor(np.zeros(6), 0, (1,) * 100, (1,) * 100), "damaged"),
    ],
)
def test_tensors_that_reach_beyond_their_storage(tmp_path: Path, view: Tensor, message: str) -> None:
    assert message in refused(save(tmp_path / "model.pt", {"x": view}))


def described(path: Path, *opcodes: bytes) -> Path:
    return write_zip(path, {"data.pkl": b"".join(opcodes), "data/0": bytes(8), "secret": b"secret"})


def test_paths_out_of_the_archive_are_no_storages(tmp_path: Path) -> None:
    for key in (b"../secret", b"/etc/passwd", b"0/../../secret", b"", b"-1", "\u0660".encode()):
        identity = b"(X\x07\0\0\0storagectorch\nLongStorage\nX" + len(key).to_bytes(4, "little") + key
        message = refused(described(tmp_path / "model.pt", b"\x80\x02", identity, b"X\x03\0\0\0cpuK\x01tQ."))
        assert "a storage named" in message


def test_descriptions_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"

    for opcodes in (b"", b".", b"NQ.", b"))Q.", b"(NNNNNtQ.", b"(X\x07\0\0\0storageNX\x01\0\0\0" + b"0NK\x01tQ."):
        assert "damaged" in refused(described(path, b"\x80\x02", opcodes))
    for call in (
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"ctorch\nFloatStorage\n)R.",
        b"ccollections\nOrderedDict\nNR.",
    ):
        assert "damaged" in refused(described(path, b"\x80\x02", call))


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"

    assert "found none" in refused(described(path, b"\x80\x02", b"]" * 1_000_000, b"a" * 999_999, b"."))
    assert "larger than 4 MiB" in refused(described(path, b"\x80\x02", b"N0" * (2 << 20), b"N."))
    assert "key of type tuple" in refused(described(path, b"\x80\x02", b"})", b"2\x86" * 100, b"Ns."))
    zeros = {"data.pkl": entries_of({"x": tensor(np.zeros(1 << 22))})["data.pkl"], "data/0": bytes(8 << 22)}
    assert "more bytes than the file" in refused(write_zip(path, zeros, compression=zipfile.ZIP_DEFLATED))


def test_archives_that_are_ambiguous(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pt", state_dict(TENSORS))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"N.")
    assert "found 2" in refused(path)
    with zipfile.ZipFile(save(path, state_dict(TENSORS)), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("model/data/0", bytes(24))
    assert "two entries of one name" in refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"N.")
    assert "found 0" in refused(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = save(tmp_path / "model.pt", state_dict(TENSORS)).read_bytes()
    cut = tmp_path / "cut.pt"
    for length in [*range(0, len(whole), 13), *range(len(whole) - 60, len(whole))]:
        cut.write_bytes(whole[:length])
        refused(cut)
    np.savez(tmp_path / "model.npz", **TENSORS)
    whole = (tmp_path / "model.npz").read_bytes()
    for length in range(0, len(whole), 31):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        refused(tmp_path / "cut.npz")


changes = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4)
fuzzed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def changed(content: bytes, where: list[tuple[int, int]]) -> bytes:
    found = bytearray(content)
    for place, value in where:
        found[place % len(found)] = value
    return bytes(found)


def read_or_refuse(path: Path) -> None:
    try:
        found = torch_file.read(path)
    except UserError:
        return
    assert all(isinstance(x, np.ndarray) and x.size < 100 for x in found.values())


@fuzzed
@given(changes)
def test_changed_bytes_are_read_or_refused(tmp_path: Path, where: list[tuple[int, int]]) -> None:
    path = save(tmp_path / "model.pt", state_dict(TENSORS))
    path.write_bytes(changed(path.read_bytes(), where))
    read_or_refuse(path)


@fuzzed
@given(changes, st.sampled_from([2, 4]))
def test_a_changed_description_is_read_or_refused(tmp_path: Path, where: list[tuple[int, int]], protocol: int) -> None:
    entries = entries_of(state_dict(TENSORS), protocol)
    entries["data.pkl"] = changed(entries["data.pkl"], where)
    read_or_refuse(write_zip(tmp_path / "model.pt", entries))
