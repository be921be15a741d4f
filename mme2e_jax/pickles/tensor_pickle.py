"""Reads pickles of plain values, arrays and tensors without PyTorch.

`pickle.dump` of a tensor stores its storage as bytes in the pickle: a file in the format before PyTorch 1.6, that is
five pickles (a magic number, the format's version, properties of the machine, the storage's description, the storages'
keys), the number of elements, and the elements.

Source: torch/storage.py and torch/serialization.py of PyTorch (`_load_from_bytes`, `_legacy_save`).
"""

import io
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

from mme2e_jax.pickles import numpy_pickle, plain_pickle
from mme2e_jax.pickles.torch_file import STORAGES, ordered_dict, rebuild_tensor

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
# Far more than the five pickles of a storage need. Without a limit, a large header could be read many times.
_MAX_HEADER_BYTES = 4096


def load(data: bytes | BinaryIO) -> Any:
    """Reads a pickle, tensors as numpy arrays; raises as `plain_pickle.load`, and OverflowError or EOFError."""
    return plain_pickle.load(data, _NAMES)


def _storage(data: Any) -> np.ndarray:
    if not isinstance(data, bytes | bytearray):
        raise TypeError("a storage that is not bytes")
    header = io.BytesIO(data[:_MAX_HEADER_BYTES])
    start = [plain_pickle.load(header, {}) for _ in range(3)]
    if start[:2] != [_MAGIC, _VERSION]:
        raise ValueError("a storage in an unknown format")
    if not (isinstance(start[2], dict) and start[2].get("little_endian") is True):
        raise ValueError("a storage of a big-endian machine")
    kind, name, key, _, count, *_ = plain_pickle.load(header, dict.fromkeys(STORAGES), _check_description)
    keys = plain_pickle.load(header, {})
    if kind != "storage" or not isinstance(name, plain_pickle.Global) or keys != [key] or type(count) is not int:
        raise ValueError("a storage without its description")
    begin, dtype = header.tell() + 8, STORAGES[name.name]
    stated = int.from_bytes(data[begin - 8 : begin], "little")
    if stated != count or len(data) - begin != count * dtype.itemsize:
        raise ValueError(f"a storage of {count} x {dtype.itemsize} bytes that has {len(data) - begin}")
    return np.frombuffer(data, dtype, offset=begin) if count else np.zeros(0, dtype)


def _check_description(persistent_id: Any) -> tuple[Any, ...]:
    if not isinstance(persistent_id, tuple) or len(persistent_id) < 5:
        raise ValueError("a storage without its description")
    return persistent_id


_NAMES: Mapping[str, Callable[..., Any] | None] = {
    **numpy_pickle.GLOBALS,
    "collections.OrderedDict": ordered_dict,
    "torch.storage._load_from_bytes": _storage,
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
}
