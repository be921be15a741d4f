"""What a teacher said about an utterance, in every batch that holds the utterance again."""

from pathlib import Path

import jax
import numpy as np
import pytest

from mme2e_jax.batch import Batch
from mme2e_jax.models.saliency import teach
from mme2e_jax.models.variables import Variables, initial_variables
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training.lessons import LessonStore
from mme2e_jax.training.programs import teacher_like
from tests.helpers.weights import small_spec


def make_batch(examples: list[int], frames: int, chunks: int) -> Batch:
    """One group of utterances whose content and lengths follow from their index; room for more frames and chunks."""
    counts = {"v": [1 + i % 2 for i in examples], "a": [2 - i % 2 for i in examples]}

    def packed(m: str, capacity: int, *size: int) -> np.ndarray:
        pairs = zip(examples, counts[m], strict=True)
        items = [np.random.default_rng([example, ord(m)]).random((n, *size)) for example, n in pairs]
        return np.concatenate([*items, np.zeros((capacity - sum(counts[m]), *size))])[None]

    return Batch(
        token_ids=np.stack([np.random.default_rng(i).integers(5, 90, 6) for i in examples])[None].astype(np.int32),
        token_count=np.full((1, len(examples)), 6, np.int32),
        faces=(255 * packed("v", frames, 48, 48, 3)).astype(np.uint8),
        frame_count=np.array([counts["v"]], np.int32),
        mel=packed("a", chunks, 128, 32).astype(np.float32),
        chunk_count=np.array([counts["a"]], np.int32),
        labels=np.zeros((1, len(examples), 6), np.float32),
        example=np.array([examples], np.int32),
    )


@pytest.fixture(scope="module")
def teacher() -> Variables:
    spec = small_spec(Path("nowhere"))
    return teacher_like(initial_variables(spec, 3), spec)


@pytest.fixture(scope="module")
def store(teacher: Variables) -> LessonStore:
    """Knows utterances 0 to 3, seen in two batches."""
    found = LessonStore("tva")
    assert found.empty
    found.add_all(teacher, [make_batch([2, 0], 4, 5), make_batch([1, 3], 4, 5)], DataMesh(1))
    return found


def test_lessons_follow_their_utterances_into_other_batches(teacher: Variables, store: LessonStore) -> None:
    batch = make_batch([3, 2], 5, 4)

    found, expected = store.for_batch(batch), jax.device_get(jax.jit(teach)(teacher, batch))

    np.testing.assert_array_equal(found.known, [[True, True]])
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-4, atol=1e-5)
    for m, images in (("v", 3), ("a", 3)):
        for stage, saliency in zip(found.saliency[m], expected.saliency[m], strict=True):
            largest = saliency[:images].max((1, 2), keepdims=True)
            assert (largest > 0).all()
            # Half of float16's last digit, and the rounding of sums in another order.
            np.testing.assert_allclose(stage[:images], saliency[:images] / largest, rtol=1e-3, atol=1e-4)
            np.testing.assert_array_equal(stage[images:], 0)
            assert stage.shape == saliency.shape
            assert stage.dtype == np.float16


def test_an_utterance_without_a_lesson_is_not_known(store: LessonStore) -> None:
    batch = make_batch([7, 1], 4, 4)
    padded = batch._replace(
        example=np.array([[7, -1]], np.int32), frame_count=np.array([[2, 0]]), chunk_count=np.array([[1, 0]])
    )

    for given in (padded, padded._replace(example=np.array([[-1, -1]], np.int32))):
        found = store.for_batch(given)
        assert not found.known.any()
        jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0), (found.saliency, found.logits))


def test_a_model_of_text_has_logits_only(teacher: Variables) -> None:
    lesson = LessonStore("t").for_batch(make_batch([0], 2, 2))

    assert lesson.saliency == {}
    assert lesson.logits.shape == (1, 1, 6)
