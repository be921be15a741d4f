"""The training step and its options, on the synthetic records."""

import importlib

import numpy as np
import pytest

from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.step import sparse_threshold
from tests.steps import run_steps
from tests.synthetic import shrink


def shrunk(name: str, records, **overrides):
    config = shrink(importlib.import_module(f"configs.{name}").get_config(), records)
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    return config


def test_the_threshold_falls_linearly_and_then_stays():
    found = [sparse_threshold(step, 100, 0.6, 0.5) for step in (0, 25, 50, 99)]
    np.testing.assert_allclose(found, [1.0, 0.8, 0.6, 0.6])
    assert sparse_threshold(0, 100, 0.6, 0.0) == 0.6


@pytest.mark.parametrize("loss", ["bce", "ce", "mse", "l1"])
def test_every_loss_falls_and_gives_scores_of_its_kind(loss, records):
    config = shrunk("mini_dense", records, model__modalities="t", optim__loss=loss, optim__lr=1e-2, optim__epochs=8)
    trained = run_steps(config, open_dataset(records), steps=20)
    assert np.mean(trained.losses[-3:]) < np.mean(trained.losses[:3])
    if loss == "ce":
        np.testing.assert_allclose(trained.score.sum(1), 1.0, rtol=1e-6)
    if loss in ("bce", "ce"):
        assert np.all((trained.score > 0) & (trained.score < 1))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_every_optimizer_trains(name, records):
    config = shrunk("mini_dense", records, model__modalities="t", optim__name=name, optim__lr=3e-3, optim__epochs=8)
    config.optim.weight_decay = 1e-2
    trained = run_steps(config, open_dataset(records), steps=20)
    assert np.mean(trained.losses[-3:]) < np.mean(trained.losses[:3])


def test_attention_learns_where_it_is_asked_to(records):
    config = shrunk("mini_sparse", records, model__modalities="tv", model__attention_grad="renormalized")
    config.model.attention_entropy = 0.1
    trained = run_steps(config, open_dataset(records), steps=2)
    assert np.isfinite(trained.losses).all()
    scores = {path for path in trained.start if "/scores/" in path and not path.endswith("score/bias")}
    moved = {path for path in scores if not np.array_equal(trained.start[path], trained.end[path])}
    assert moved == scores
