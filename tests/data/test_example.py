"""Messages are read as TensorFlow reads them."""

import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError

from mme2e_jax.data.example import parse_example


def test_bytes_are_read_as_by_tensorflow() -> None:
    def feature(*values: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    number = tf.train.Feature(int64_list=tf.train.Int64List(value=[1, 2]))
    features = {"none": feature(), "one": feature(b"\x00\xff"), "ünïcode": feature(b"a", b"b"), "number": number}
    serialized = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    found = {name: list(value.bytes_list.value) for name, value in parse_example(serialized).items()}

    assert found == {"none": [], "one": [b"\x00\xff"], "ünïcode": [b"a", b"b"], "number": []}


@pytest.mark.parametrize("stored", [b"\xff" * 9, b"\x0a\x05abc"])
def test_other_bytes_are_refused(stored: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_example(stored)
