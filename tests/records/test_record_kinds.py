"""Tests that schema, workers and metadata agree on each record kind."""

import numpy as np
import pytest

from data_tools.records.record_kinds import KINDS, RecordKind, feature_kind, media_kind
from mme2e_jax.media.arrays import TO_ARRAYS, Footage
from mme2e_jax.media.tokens import train_mini


def make_kind(name: str) -> RecordKind:
    if name == "features":
        return feature_kind(250, "largest", labels=3)
    return media_kind(250, "largest", train_mini(["a few words", "a few more"]), labels=3)


@pytest.mark.parametrize("name", KINDS)
def test_an_example_is_words_and_what_workers_store_and_a_label(name: str) -> None:
    kind = make_kind(name)
    found, times, wave = (np.zeros(0, dtype) for dtype in (np.bool_, np.float32, np.float32))
    nothing = Footage(np.zeros((0, 48, 48, 3), np.uint8), found, times, np.zeros((0, 4), np.float32), wave, 16_000)

    assert kind.schema.metadata["kind"] == name
    assert {*kind.encode_text("a few words"), *TO_ARRAYS[name](nothing), "label"} == set(kind.schema.arrays)
    assert kind.schema.arrays["label"] == ((3,), np.float32)


def test_every_kind_has_its_arrays() -> None:
    assert tuple(TO_ARRAYS) == KINDS


def test_only_media_have_a_tokenizer() -> None:
    media, features = make_kind("media"), make_kind("features")

    assert media.encoder is not None
    assert media.metadata["tokenizer"]["name"] == media.encoder.name
    assert features.encoder is None
    assert "tokenizer" not in features.metadata


def test_what_faces_depend_on_is_in_the_metadata() -> None:
    media, features = make_kind("media").metadata, make_kind("features").metadata["features"]
    for found in (media, features):
        assert (found["frame_interval_ms"], found["face_choice"]) == (250, "largest")
