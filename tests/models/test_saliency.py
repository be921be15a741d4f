"""Saliency against finite differences of the whole model."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.batch import Batch
from mme2e_jax.models.saliency import Lesson, teach
from mme2e_jax.models.variables import Variables, initial_variables, merge
from tests.helpers.closeness import assert_close, float64
from tests.helpers.weights import small_spec

SITES = {"v": [(24, 24), (12, 12), (6, 6)], "a": [(64, 16), (32, 8), (16, 4)]}


def make_batch(fill: float = 0.0) -> Batch:
    """Two utterances and a padding row; the last frame and chunk are padding that holds `fill`."""
    rng = np.random.default_rng(0)
    mel = rng.random((1, 4, 128, 32), np.float32)
    mel[:, 3:] = fill
    return Batch(
        token_ids=rng.integers(5, 90, (1, 3, 6)).astype(np.int32),
        token_count=np.array([[6, 4, 0]], np.int32),
        faces=rng.integers(0, 256, (1, 3, 48, 48, 3), dtype=np.uint8),
        frame_count=np.array([[1, 1, 0]], np.int32),
        mel=mel,
        chunk_count=np.array([[1, 2, 0]], np.int32),
        labels=np.zeros((1, 3, 6), np.float32),
        example=np.array([[0, 1, -1]], np.int32),
    )


@pytest.fixture(scope="module")
def teacher() -> Variables:
    # Other random values may leave a tower without a positive feature.
    return initial_variables(dataclasses.replace(small_spec(Path("nowhere")), rows_threshold=0.0), 3)


@pytest.fixture(scope="module")
def lesson(teacher: Variables) -> Lesson:
    return jax.device_get(jax.jit(teach)(teacher, make_batch()))


def test_there_is_a_saliency_of_every_site_of_every_image(lesson: Lesson) -> None:
    shapes = {m: [stage.shape for stage in stages] for m, stages in lesson.saliency.items()}

    assert shapes == {"v": [(3, *size) for size in SITES["v"]], "a": [(4, *size) for size in SITES["a"]]}
    for m, real in (("v", 2), ("a", 3)):
        for stage in lesson.saliency[m]:
            assert (stage[:real] > 0).mean() > 0.3
            np.testing.assert_array_equal(stage[real:], 0)
    assert lesson.logits.shape == (1, 3, 6)


def test_padding_does_not_change_a_saliency(teacher: Variables, lesson: Lesson) -> None:
    found = jax.jit(teach)(teacher, make_batch(np.nan))

    jax.tree.map(np.testing.assert_array_equal, found.saliency, lesson.saliency)


@pytest.mark.parametrize(("m", "image", "stage"), [("v", 1, 0), ("v", 0, 2), ("a", 2, 1)])
def test_saliency_is_the_derivative_by_a_factor_of_the_site(
    teacher: Variables, lesson: Lesson, m: str, image: int, stage: int
) -> None:
    batch: Any = make_batch()
    site = np.unravel_index(np.argmax(lesson.saliency[m][stage][image]), SITES[m][stage])

    def half_squares(step):
        factors = {k: [jnp.ones((4 if k == "a" else 3, *size)) for size in sizes] for k, sizes in SITES.items()}
        factors[m][stage] = factors[m][stage].at[image, *site].add(step)
        outputs = model(batch, train=False, threshold=1.0, seed=None, multipliers=factors)
        return 0.5 * jnp.sum(outputs.by_modality[m] ** 2)

    with jax.enable_x64(True):
        model: Any = merge(float64(teacher))
        value = jax.jit(half_squares)
        # Central difference: its error is of the order of the step's square.
        expected = abs(value(1e-5) - value(-1e-5)) / 2e-5
        found = jax.jit(teach)(float64(teacher), batch).saliency[m][stage][image][site]

    assert expected > 0
    assert_close(found, expected)
