"""Thresholds, teacher and programs of a run, step by step."""

from typing import Any

import numpy as np

from configs import mini_dense, mini_sparse
from mme2e_jax.config.parse import parse_config
from mme2e_jax.training.site_schedule import SiteSchedule


def test_the_threshold_falls_linearly_and_then_stays() -> None:
    schedule = SiteSchedule(100, 0, 0.6, 0.5, has_teacher=False)

    np.testing.assert_allclose([schedule.threshold(step) for step in (0, 25, 50, 99)], [1.0, 0.8, 0.6, 0.6])
    assert SiteSchedule(100, 0, 0.6, 0.0, has_teacher=False).threshold(0) == 0.6


def test_a_dense_phase_comes_before_the_threshold_falls_and_the_teacher_after_it() -> None:
    schedule = SiteSchedule(100, 60, 0.6, 0.5, has_teacher=True)

    found = [schedule.threshold(step) for step in (0, 59, 60, 70, 80, 99)]
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0, 0.8, 0.6, 0.6])
    assert [step for step in (0, 59, 60, 99) if schedule.taught(step)] == [60, 99]


def test_the_schedule_is_that_of_the_config() -> None:
    config: Any = mini_sparse.get_config()
    config.optim.update(epochs=10, dense_epochs=4, teacher_saliency=0.1)
    config.model.update(sparse_threshold=0.3, sparse_anneal=0.2)

    assert SiteSchedule.of(parse_config(config), 7) == SiteSchedule(70, 28, 0.3, 0.2, has_teacher=True)
    assert SiteSchedule.of(parse_config(mini_dense.get_config()), 7) == SiteSchedule(
        210, 0, 1.0, 0.0, has_teacher=False
    )
