"""Manifests of exported files: every value is checked, and a refusal names its key."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme2e_jax.export.manifest import Manifest
from mme2e_jax.export.signature import media_inputs, signature
from mme2e_jax.runtime.json_schema import parse_json

MANIFEST: dict[str, Any] = {
    "model": "mme2e",
    "modalities": "ta",
    "label_names": ["calm", "tense"],
    "thresholds": {"calm": 0.4, "tense": 0.6},
    "loss": "bce",
    "task": "multi_label",
    "sparse_threshold": None,
    "sparse_impl": None,
    "text_max_len": 16,
    "mask_absent": True,
    "preprocessing": {"frame_interval_ms": 500, "face_choice": "most_probable"},
    "tokenizer": {"vocab_size": 30},
    **signature(media_inputs("ta")),
    "platforms": ["cpu"],
    "calling_convention_version": 9,
    "jax_version": "0.7.0",
    "test_auc": {"value": 0.6, "low": 0.5, "high": None},
    "provenance": {"step": 3, "config": {}},
}
# Keys that are checked together.
TOGETHER = {
    "model": ("inputs",),
    "modalities": ("inputs",),
    "label_names": ("thresholds",),
    "loss": ("task",),
    "dimensions": ("inputs",),
}
OPTIONAL = ("mask_absent", "test_auc")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["mme2e_sparse", "lf_rnn", "t", "b", "regression", 0.5, 10**400]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["calm", "b", "step"]), inner),
    max_leaves=6,
)


def test_a_manifest_is_read() -> None:
    manifest = parse_json(Manifest, json.dumps(MANIFEST))

    assert manifest.label_names == ["calm", "tense"]
    assert manifest.reads_clips


@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_any_value_in_any_place_is_valid_or_refused_by_its_key(data: st.DataObject) -> None:
    content: Any = copy.deepcopy(json.loads(json.dumps(MANIFEST)))
    holder, keys = content, []
    while True:
        keys.append(data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder)))))
        inner = holder[keys[-1]]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        holder = inner
    holder[keys[-1]] = data.draw(VALUES)

    try:
        manifest = parse_json(Manifest, json.dumps(content))
    except ValueError as error:
        message = str(error)
        assert any(key in message for key in (keys[0], *TOGETHER.get(keys[0], ())))
    else:
        # What was accepted is kept, and accepted again.
        assert parse_json(Manifest, manifest.model_dump_json()) == manifest
        assert json.loads(json.dumps(manifest.model_dump())) == content


@pytest.mark.parametrize("key", [key for key in MANIFEST if key not in OPTIONAL])
def test_a_missing_key_is_named(key: str) -> None:
    content = {name: value for name, value in MANIFEST.items() if name != key}

    with pytest.raises(ValueError, match=rf"{key} is missing"):
        parse_json(Manifest, json.dumps(content))


def test_a_file_of_an_earlier_version_masks_nothing_and_has_no_auc() -> None:
    content = {name: value for name, value in MANIFEST.items() if name not in OPTIONAL}

    manifest = parse_json(Manifest, json.dumps(content))

    assert not manifest.mask_absent
    assert manifest.test_auc is None
