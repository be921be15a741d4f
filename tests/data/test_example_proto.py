"""The reader of serialized examples agrees with the protobuf library."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from mme2e_jax.data import example_proto
from mme2e_jax.data.example_proto import byte_values

names = st.text(max_size=5)
byte_features = st.lists(st.binary(max_size=200), max_size=3).map(
    lambda values: tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
)
other_features = st.lists(st.floats(width=32), max_size=3).map(
    lambda values: tf.train.Feature(float_list=tf.train.FloatList(value=values))
)


def example(features: dict[str, tf.train.Feature]) -> bytes:
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def by_library(serialized: bytes) -> dict[str, list[bytes]] | None:
    """The byte values of features that have some, or None for what is no example."""
    try:
        features = tf.train.Example.FromString(serialized).features.feature
    except Exception:
        return None
    return {name: list(feature.bytes_list.value) for name, feature in features.items() if feature.bytes_list.value}


def by_us(serialized: bytes) -> dict[str, list[bytes]] | None:
    try:
        found = byte_values(serialized)
    except ValueError:
        return None
    return {name: [bytes(value) for value in values] for name, values in found.items() if values}


@given(st.dictionaries(names, byte_features | other_features, max_size=4))
def test_values_are_those_of_the_library(features: dict[str, tf.train.Feature]) -> None:
    serialized = example(features)

    assert by_us(serialized) == by_library(serialized)


@given(
    st.dictionaries(names, byte_features, min_size=1, max_size=3),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=3),
    st.floats(0, 1),
    st.binary(max_size=5),
)
def test_a_damaged_example_gives_what_the_library_gives(
    features: dict[str, tf.train.Feature], changes: list[tuple[float, int]], kept: float, tail: bytes
) -> None:
    data = bytearray(example(features))
    for where, value in changes:
        data[int(where * len(data))] = value
    serialized = bytes(data[: round(kept * len(data))] + tail)

    assert by_us(serialized) == by_library(serialized)


def test_usual_examples_are_read_without_the_library_and_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example_proto, "_by_library", None)
    faces = np.arange(1000, dtype=np.int32)
    serialized = example(
        {
            "faces": tf.train.Feature(bytes_list=tf.train.BytesList(value=[faces.tobytes()])),
            "label": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b""])),
        }
    )

    found = byte_values(serialized)

    view = found["faces"][0]
    assert isinstance(view, memoryview)
    assert view.obj is serialized
    np.testing.assert_array_equal(np.frombuffer(view, np.int32), faces)
    assert [bytes(value) for value in found["label"]] == [b""]
