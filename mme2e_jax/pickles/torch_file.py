"""Reads a state dict from a `.pt` or `.npz` file without PyTorch.

`torch.save` writes a zip since PyTorch 1.6: `NAME/data.pkl` describes the object, with a persistent id for every
storage, whose bytes are in `NAME/data/KEY`. `plain_pickle` reads the description, which runs nothing.

Source: torch/serialization.py and torch/_utils.py of PyTorch; checked with files of PyTorch 2.13.
"""

import re
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mme2e_jax.errors import UserError
from mme2e_jax.pickles import plain_pickle

# Limits of the description and of all arrays of a compressed file: far more than a model here needs.
_MAX_PICKLE_BYTES = 4 << 20
_MAX_NPZ_BYTES = 2 << 30

STORAGES = {
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(jnp.bfloat16),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.BoolStorage": np.dtype(np.bool_),
}
# Values that may surround a state dict in a checkpoint, which are ignored.
_NUMPY = [f"{core}.multiarray.{name}" for core in ("numpy.core", "numpy._core") for name in ("scalar", "_reconstruct")]
_IGNORED_CALLS = [*_NUMPY, "numpy.dtype", "_codecs.encode", "__builtin__.set", "builtins.set"]
_IGNORED_CALLS += ["torch.Size", "torch.device"]
_IGNORED_NAMES = ["numpy.ndarray", *(f"torch.{dtype.name}" for dtype in STORAGES.values())]
# Exceptions of zipfile, pickletools, numpy and the code below for damaged files.
_DAMAGE = (ValueError, LookupError, TypeError, OverflowError, EOFError, OSError, RuntimeError, MemoryError)
_DAMAGE += (zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Reads tensors by name, in torch's layout and with the dtypes of the file (bfloat16 as in JAX).

    The file was written by `torch.save` and holds a state dict, or a dictionary with exactly one state dict; or, with
    the suffix `.npz`, by `numpy.savez`. Raises `UserError` if it does not exist, is damaged or in an older format, asks
    for other values than tensors and plain ones, or holds no state dict.
    """
    path = Path(path)
    if not path.is_file():
        found = "is a directory" if path.is_dir() else "does not exist"
        raise UserError(f"Expected a file with a state dict: {path} {found}.")
    try:
        return _read_npz(path) if path.suffix == ".npz" else _state_dict(_read_zip(path), path)
    except plain_pickle.RefusedError as error:
        raise UserError(
            f"{path} asks for {error}, which no state dict needs. Nothing of it was run. Expected tensors, plain "
            "containers and numbers, as in torch.save(model.state_dict(), FILE); a whole model or another program's "
            "arguments cannot be read."
        ) from error
    except _DAMAGE as error:
        reason, writer = str(error) or type(error).__name__, "numpy.savez" if path.suffix == ".npz" else "torch.save"
        raise UserError(f"{path} is damaged or was not written by {writer}: {reason}. Copy it again.") from error


def _read_zip(path: Path) -> Any:
    with path.open("rb") as file:
        start = file.read(512)
    if not start.startswith(b"PK"):
        raise _older_format(path, start)
    with zipfile.ZipFile(path) as archive:
        return _Reader(archive, path.stat().st_size).load()


def _older_format(path: Path, start: bytes) -> UserError:
    if start.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"):  # torch's magic number
        found, load = "is in PyTorch's format before 1.6", f"torch.load({str(path)!r}, map_location='cpu')"
    elif start[257:262] == b"ustar":
        found = "is a tar, PyTorch's format before 0.2"
        load = f"torch.load({str(path)!r}, map_location='cpu', weights_only=False)"
    elif start.startswith(b"\x80"):
        found, load = "is a bare pickle", f"pickle.load(open({str(path)!r}, 'rb'))"
    else:
        return UserError(f"{path} is no file of torch.save: it starts with {start[:8]!r}, expected a zip ('PK').")
    return UserError(
        f"{path} {found}, which can run code when it is loaded; expected the zip format of torch.save. If you trust "
        "its source, convert it where PyTorch is installed:\n"
        f"  python -c \"import pickle, torch; torch.save({load}, 'NEW.pt')\""
    )


class _Reader:
    """Reads one zip of `torch.save`, whose size is given in bytes."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        entries = archive.infolist()
        self._archive, self._entries = archive, {entry.filename: entry for entry in entries}
        if len(self._entries) < len(entries):
            raise ValueError("its zip has two entries of one name")
        # torch.save does not compress, so that entries cannot be larger than the file.
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("the entries of its zip claim more bytes than the file has")
        roots = [name[: -len("data.pkl")] for name in self._entries if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(roots) != 1:
            raise ValueError(f"expected one NAME/data.pkl in its zip, found {len(roots)}")
        self._root = roots[0]
        order = self._root + "byteorder"
        self._big_endian = order in self._entries and archive.read(order) == b"big"
        self._storages: dict[tuple[str, str], np.ndarray] = {}

    def load(self) -> Any:
        name = self._root + "data.pkl"
        if self._entries[name].file_size > _MAX_PICKLE_BYTES:
            raise ValueError(f"its data.pkl is larger than {_MAX_PICKLE_BYTES >> 20} MiB")
        return plain_pickle.load(self._archive.read(name), _NAMES, self._storage)

    def _storage(self, persistent_id: Any) -> np.ndarray:
        kind, storage, key, _, count = persistent_id
        if kind != "storage" or not isinstance(storage, plain_pickle.Global) or type(count) is not int:
            raise ValueError("a persistent id that is no storage")
        if not re.fullmatch("[0-9]{1,20}", key):
            raise ValueError(f"a storage named {key[:40]!r}, expected a number")
        if (key, storage.name) not in self._storages:
            self._storages[key, storage.name] = self._read_storage(key, STORAGES[storage.name], count)
        return self._storages[key, storage.name]

    def _read_storage(self, key: str, dtype: np.dtype, count: int) -> np.ndarray:
        entry = self._entries.get(f"{self._root}data/{key}")
        if entry is None:
            raise ValueError(f"storage {key} is missing")
        if entry.file_size != count * dtype.itemsize:
            raise ValueError(f"storage {key} has {entry.file_size} bytes, expected {count} x {dtype.itemsize}")
        values = np.frombuffer(self._archive.read(entry), dtype.newbyteorder(">") if self._big_endian else dtype)
        return values.astype(dtype) if self._big_endian else values


def rebuild_tensor(
    storage: Any, offset: int, size: Sequence[int], stride: Sequence[int], _grad=False, _hooks=None, metadata=None
) -> np.ndarray:
    """A tensor as a view within its storage, from PyTorch's arguments; invalid ones raise ValueError or TypeError."""
    if not isinstance(storage, np.ndarray) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise TypeError("a tensor without a storage, or of an impossible size")
    if metadata:
        raise ValueError("a tensor that is stored conjugated or negated")
    # Python's integers do not overflow. A view must not have more elements than its storage.
    elements, last = 1, offset
    for n, step in zip(size, stride, strict=True):
        elements, last = elements * n, last + (n - 1) * step
    if elements == 0:
        return np.zeros(size, storage.dtype)
    if last >= len(storage) or elements > len(storage):
        raise ValueError(f"a tensor of {elements} elements up to number {last}, in a storage of {len(storage)}")
    strides = [storage.itemsize * step for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def ordered_dict(pairs: Sequence[Sequence[Any]] = ()) -> dict[str, Any]:
    """A dictionary of the pairs whose keys are texts."""
    return {key: value for key, value in pairs if isinstance(key, str)}


_NAMES: Mapping[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": ordered_dict,
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    **dict.fromkeys(_IGNORED_CALLS, lambda *_: plain_pickle.OPAQUE),
    **dict.fromkeys((*STORAGES, *_IGNORED_NAMES)),
}


def _state_dict(value: Any, path: Path) -> dict[str, np.ndarray]:
    if _is_state_dict(value):
        return value
    held = value if isinstance(value, dict) else {}
    inner = [key for key, part in held.items() if _is_state_dict(part)]
    if len(inner) != 1:
        found = f"a dictionary with {', '.join(f'{key!r:.40}' for key in list(held)[:20])}" if held else "none"
        raise UserError(
            f"Expected a state dict (tensors by name) in {path}, or a dictionary with exactly one; found {found}, "
            f"{len(inner)} of them state dicts. Save the state dict alone: torch.save(model.state_dict(), FILE)."
        )
    return held[inner[0]]


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    return all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in value.items())


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MAX_NPZ_BYTES:
            raise ValueError(f"its arrays are larger than {_MAX_NPZ_BYTES >> 30} GiB")
    with np.load(path, allow_pickle=False) as stored:
        tensors = {name: stored[name] for name in stored.files}
    if not _is_state_dict(tensors):
        raise ValueError("it holds no arrays, or other values than arrays")
    return tensors
