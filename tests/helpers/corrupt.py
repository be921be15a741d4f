"""Damages real records, byte by byte or value by value."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter


def flip(path: Path, position: int) -> None:
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << (position % 8)
    path.write_bytes(content)


def rewrite(path: Path, position: int, change: Callable[[bytes], bytes]) -> None:
    """Replaces one record of an ArrayRecord file; the file itself is as sound as before."""
    reader: Any = ArrayRecordReader(str(path))
    records = reader.read_all()
    reader.close()
    records[position] = change(records[position])
    writer = ArrayRecordWriter(str(path), "group_size:1,snappy")
    for record in records:
        writer.write(record)
    writer.close()


def with_array(name: str, dtype: Any, place: int, value: float) -> Callable[[bytes], bytes]:
    """A record in which one number of an array is another."""

    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return changed(name, lambda stored: change(np.frombuffer(stored, dtype).copy()).tobytes())


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A record in which the bytes of one feature are others."""

    def replace(serialized: bytes) -> bytes:
        example: Any = tf.train.Example.FromString(serialized)
        values = example.features.feature[name].bytes_list.value
        values[0] = change(values[0])
        return example.SerializeToString()

    return replace


def without(name: str) -> Callable[[bytes], bytes]:
    """A record that lacks one feature."""

    def remove(serialized: bytes) -> bytes:
        example: Any = tf.train.Example.FromString(serialized)
        del example.features.feature[name]
        return example.SerializeToString()

    return remove
