"""Files as `torch.save` writes them, without torch; and our arrays under the names that the paper's code has for them.

The pickler is Python's own, so that everything but the tensors is pickled as torch pickles it. PyTorch 2.13 reads them.
"""

import functools
import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from mme2e_jax.weights import torch_weights
from mme2e_jax.weights.torch_weights import Rules

ByteOrder = Literal["little", "big"]
STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


# One object for all that are equal: the pickler writes it once.
_key = functools.cache(str)


@functools.cache
def _name(module: str, name: str) -> "Name":
    return Name(module, name)


@dataclass(frozen=True)
class Name:
    """A global, pickled by its name alone."""

    module: str
    name: str

    def __call__(self, *arguments: Any) -> None:
        raise AssertionError("only there to be pickled")


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage, which others may share."""

    storage: np.ndarray
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    parameter: bool = False


def tensor(array: np.ndarray) -> Tensor:
    """A tensor that has its storage to itself."""
    array = np.asarray(array)
    size, stride = array.shape, [1] * array.ndim
    for i in range(array.ndim - 2, -1, -1):
        stride[i] = stride[i + 1] * max(size[i + 1], 1)
    return Tensor(np.ascontiguousarray(array).reshape(-1), 0, size, tuple(stride))


def state_dict(tensors: Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """As `Module.state_dict` returns it, with the versions of the modules as an attribute."""
    found = OrderedDict((name, x if isinstance(x, Tensor) else tensor(x)) for name, x in tensors.items())
    vars(found)["_metadata"] = OrderedDict({"": {"version": 1}})
    return found


# Typed as a class without the methods and attributes that a subclass needs.
_PythonPickler: Any = pickle._Pickler


class _Pickler(_PythonPickler):
    def __init__(self, file: io.BytesIO, protocol: int, storages: list[np.ndarray]):
        super().__init__(file, protocol)
        self._storages = storages

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, np.ndarray):
            return None
        places = [i for i, storage in enumerate(self._storages) if storage is obj]
        if not places:
            self._storages.append(obj)
        key = _key(places[0] if places else len(self._storages) - 1)
        return ("storage", _name("torch", STORAGES[obj.dtype.name]), key, "cpu", len(obj))

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return NotImplemented
        rebuilt = (obj.storage, obj.offset, obj.size, obj.stride, False, OrderedDict())
        if not obj.parameter:
            return _name("torch._utils", "_rebuild_tensor_v2"), rebuilt
        data = Tensor(obj.storage, obj.offset, obj.size, obj.stride)
        return _name("torch._utils", "_rebuild_parameter"), (data, True, OrderedDict())

    def save_name(self, obj: Name) -> None:
        if self.proto >= 4:
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    dispatch: ClassVar = {**_PythonPickler.dispatch, Name: save_name}


def pickled(value: Any, protocol: int = 2) -> tuple[bytes, list[np.ndarray]]:
    """The description of a value, and the storages that its persistent ids name."""
    file, storages = io.BytesIO(), []
    _Pickler(file, protocol, storages).dump(value)
    return file.getvalue(), storages


def write_zip(path: Path, entries: Mapping[str, bytes], root: str = "archive", compression: int = 0) -> Path:
    """A zip with the entries in torch's layout: stored, each at a multiple of 64 bytes."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(f"{root}/{name}", (1980, 1, 1, 0, 0, 0))
            info.compress_type = compression
            assert archive.fp is not None
            gap = -(archive.fp.tell() + 30 + len(info.filename) + 4) % 64
            info.extra = b"FB" + gap.to_bytes(2, "little") + b"Z" * gap
            archive.writestr(info, content)
    return path


def entries_of(value: Any, protocol: int = 2, byteorder: ByteOrder = "little") -> dict[str, bytes]:
    """What a file of PyTorch 2 consists of."""
    description, storages = pickled(value, protocol)
    return {
        "data.pkl": description,
        ".format_version": b"1",
        ".storage_alignment": b"64",
        "byteorder": byteorder.encode(),
        **{f"data/{i}": x.astype(x.dtype.newbyteorder(byteorder)).tobytes() for i, x in enumerate(storages)},
        "version": b"3\n",
        ".data/serialization_id": b"0" * 40,
    }


def save(path: Path, value: Any, protocol: int = 2, byteorder: ByteOrder = "little") -> Path:
    """Writes a file of PyTorch 2."""
    return write_zip(path, entries_of(value, protocol, byteorder), path.stem)


def save_as_torch1(path: Path, value: Any) -> Path:
    """Writes a file of PyTorch 1.6 to 1.13, which do not say their byte order."""
    entries = entries_of(value)
    kept = {name: x for name, x in entries.items() if name == "data.pkl" or name.startswith("data/")}
    return write_zip(path, {"version": b"3\n"} | kept)


_INVERSE = {
    np.asarray: np.asarray,
    np.transpose: np.transpose,
    torch_weights.image_kernel: lambda x: x.transpose(3, 2, 0, 1),
    torch_weights.submanifold_kernel: lambda x: x.reshape(9, 1, *x.shape[2:]),
    torch_weights.first: lambda x: x[None],
}


def as_torch(arrays: Mapping[str, np.ndarray], rules: Rules) -> dict[str, np.ndarray]:
    """Our arrays under torch's names, in torch's layout."""
    return {
        name: np.ascontiguousarray(_INVERSE[rule.convert](np.asarray(arrays[rule.path])))
        for name, rule in rules.items()
    }


def half(array: np.ndarray) -> np.ndarray:
    """In bfloat16."""
    return np.asarray(array).astype(jnp.bfloat16)


@dataclass(frozen=True, eq=False)
class _Storage:
    array: np.ndarray


class _LegacyPickler(_Pickler):
    """Describes a storage as in files of before PyTorch 1.6, which may have views of it."""

    def persistent_id(self, obj: Any) -> Any:
        described = super().persistent_id(obj)
        return described and (*described, None)


class _BarePickler(_Pickler):
    """Pickles a tensor as `pickle.dump` does, its storage inside."""

    def persistent_id(self, obj: Any) -> Any:
        return None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _Storage):
            return _name("torch.storage", "_load_from_bytes"), (storage_bytes(obj.array),)
        reduced = super().reducer_override(obj)
        if not isinstance(obj, Tensor):
            return reduced
        function, (storage, *rest) = reduced
        return function, (_Storage(storage), *rest)


def storage_bytes(storage: np.ndarray, *, little_endian: bool = True, count: int | None = None) -> bytes:
    """A storage alone, as `torch.save` wrote it before PyTorch 1.6; `count` is how many elements it claims to have."""
    file = io.BytesIO()
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": sizes}
    for value in (0x1950A86A20F9469CFC6C, 1001, system):
        pickle.dump(value, file, 2)
    _LegacyPickler(file, 2, []).dump(storage)
    pickle.dump(["0"], file, 2)
    return file.getvalue() + (len(storage) if count is None else count).to_bytes(8, "little") + storage.tobytes()


def bare_pickle(value: Any, protocol: int = 4) -> bytes:
    """What `pickle.dumps` gives for a value with tensors in it."""
    file = io.BytesIO()
    _BarePickler(file, protocol, []).dump(value)
    return file.getvalue()
