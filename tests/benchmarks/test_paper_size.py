"""Multiply-adds of a training step against counts by hand."""

import dataclasses

import numpy as np

from benchmarks.paper_size import training_macs
from mme2e_jax.data.plan import Lengths
from mme2e_jax.evaluation import flops
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec

# Towers of 4, 8, 16, 32 channels.
TINY = ModelSpec("tav", True, 6, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.0)


def test_training_costs_three_passes_but_for_images_and_scores():
    sizes = Lengths(tokens=np.array([4, 8]), frames=np.array([1, 3]), chunks=np.array([0, 2]))
    active = {"v": [100, 30, 6], "a": [50, 20, 2]}
    parts = flops.macs(TINY, sizes, active)
    total = sum(value for tower in parts.values() for value in tower.values())
    first = 2 * 48 * 48 * 25 * 3 * 4 + 1 * 128 * 32 * 25 * 1 * 4
    scores = parts["v"]["scores"] + parts["a"]["scores"]

    assert training_macs(TINY, sizes, active) == 3 * total - first - 2 * scores
    learning = dataclasses.replace(TINY, renormalize=True)
    assert training_macs(learning, sizes, active) == 3 * total - first
