"""The training step and its options, on the synthetic records."""

import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.training import setup
from mme2e_jax.training.step import make_train_step
from tests.helpers.steps import begin, run_steps
from tests.helpers.synthetic import shrink


def shrunk(name: str, records, **overrides):
    config = shrink(importlib.import_module(f"configs.{name}").get_config(), records)
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    return config


def text_baseline(records: Path, **overrides: Any) -> Any:
    """The model whose step compiles soonest."""
    return shrunk("lf_rnn", records, model__modalities="t", optim__epochs=8, **overrides)


@pytest.mark.parametrize("loss", ["bce", "ce", *(pytest.param(loss, marks=pytest.mark.slow) for loss in ("mse", "l1"))])
def test_every_loss_falls_and_gives_scores_of_its_kind(loss, feature_records):
    config = text_baseline(feature_records, optim__loss=loss, optim__lr=1e-2)
    trained = run_steps(config, open_dataset(feature_records, kind="features"), steps=20)
    assert np.mean(trained.losses[-3:]) < np.mean(trained.losses[:3])
    if loss == "ce":
        np.testing.assert_allclose(trained.score.sum(1), 1.0, rtol=1e-6)
    if loss in ("bce", "ce"):
        assert np.all((trained.score > 0) & (trained.score < 1))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_every_optimizer_trains(name, feature_records):
    config = text_baseline(feature_records, optim__name=name, optim__lr=3e-3, optim__weight_decay=1e-2)
    trained = run_steps(config, open_dataset(feature_records, kind="features"), steps=20)
    assert np.mean(trained.losses[-3:]) < np.mean(trained.losses[:3])


@pytest.mark.slow
def test_attention_learns_where_it_is_asked_to(records):
    config = shrunk("mini_sparse", records, model__modalities="tv", model__attention_grad="renormalized")
    config.model.attention_entropy = 0.1
    trained = run_steps(config, open_dataset(records), steps=2)
    assert np.isfinite(trained.losses).all()
    scores = {path for path in trained.start if "/scores/" in path and not path.endswith("score/bias")}
    moved = {path for path in scores if not np.array_equal(trained.start[path], trained.end[path])}
    assert moved == scores


def one_step(step: Any, mesh: Any, state: Any, batch: Any) -> tuple[Any, Any]:
    with mesh.active():
        return jax.device_get(jax.jit(step)(state, mesh.put_batch(batch), jnp.float32(1.0)))


@pytest.mark.slow
@pytest.mark.parametrize("skip", [0, 1])
def test_a_step_that_is_not_finite_changes_nothing_but_the_step_where_it_may_be_skipped(skip: int, records: Path):
    config = shrunk("mini_dense", records, model__modalities="a", optim__skip_nonfinite=skip)
    start = begin(config, open_dataset(records))
    batch = next(start.batches.training(0))
    broken = batch._replace(mel=np.where(np.arange(batch.mel.shape[1])[:, None, None] == 0, np.nan, batch.mel))
    before = jax.device_get(start.state)

    with start.mesh.active():
        after, metrics = jax.device_get(start.step(start.state, start.mesh.put_batch(broken), jnp.float32(1.0)))

    assert not np.isfinite(metrics.loss)
    assert after.step == before.step + 1 == 1
    arrays = [state.variables.arrays() for state in (before, after)]
    statistics = [name for name in arrays[0] if name.endswith(("norm/mean", "norm/var"))]
    assert statistics
    if not skip:
        assert any(np.isnan(arrays[1][name]).any() for name in statistics)
        return
    for name, value in arrays[0].items():
        np.testing.assert_array_equal(arrays[1][name], value, err_msg=name)
    # Adam's moments and its count, by which it corrects them.
    pairs = [jax.tree.leaves(state.optimizer) for state in (before, after)]
    assert len(pairs[0]) > 3
    for value, same in zip(*pairs, strict=True):
        np.testing.assert_array_equal(same, value)


def test_a_gradient_that_is_not_finite_is_skipped_though_the_loss_is_and_finite_steps_are_not(feature_records: Path):
    config = text_baseline(feature_records)
    mesh, batches, _, state, _ = begin(config, open_dataset(feature_records, kind="features"))
    batch, tx = next(batches.training(0)), setup.make_optimizer(parse_config(config), batches.total_steps)

    def root_of_zero(logits, labels, real):
        # 0, with the gradient infinity times 0.
        return jnp.sqrt(jnp.sum(logits * 0))

    def mean_of_squares(logits, labels, real):
        return jnp.mean(logits**2)

    before = jax.device_get(state)
    for loss, changes in ((root_of_zero, False), (mean_of_squares, True)):
        step = make_train_step(tx, loss, seed=0, attention_entropy=0.0, skip_nonfinite=True)
        after, metrics = one_step(step, mesh, state, batch)
        assert np.isfinite(metrics.loss)
        assert np.isfinite(metrics.gradient_norm) == changes
        assert after.step == 1
        pairs = zip(before.variables.arrays().values(), after.variables.arrays().values(), strict=True)
        assert any(not np.array_equal(*pair) for pair in pairs) == changes
