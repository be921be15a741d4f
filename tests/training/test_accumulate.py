"""Gradients of several steps that make one update."""

import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mme2e_jax.checkpoints.reader import Checkpoints, RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import TrainState
from mme2e_jax.runs.load import make_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime import pytree
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training import setup
from mme2e_jax.training.optimizer import learning_rate, optimizer
from tests.helpers.synthetic import shrink


def updates_of(tx: optax.GradientTransformation, gradients: list[float]) -> list[float]:
    """Updates of one parameter, step by step."""
    params: Any = {"fusion": jnp.array([2.0])}
    state, found = tx.init(params), []
    for gradient in gradients:
        updates: Any
        updates, state = tx.update({"fusion": jnp.array([gradient])}, state, params)
        found.append(float(updates["fusion"][0]))
    return found


def sgd(accumulate: int, *, clip: float = 0.0, schedule: str = "constant", updates: int = 10):
    rate = learning_rate(0.1, schedule, updates)
    return optimizer("sgd", rate, text_lr_factor=1.0, weight_decay=0.0, clip=clip, accumulate=accumulate)


def test_an_update_comes_every_so_many_steps_and_of_the_mean_gradient():
    found = updates_of(sgd(3), [1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    # Means 3 and 1; with momentum 0.9 the second update is of 0.9 * 3 + 1.
    np.testing.assert_allclose(found, [0, 0, -0.3, 0, 0, -0.37], rtol=1e-6)


def test_clipping_acts_on_the_mean():
    # Each of the gradients is longer than 1; their mean is 0.5.
    np.testing.assert_allclose(updates_of(sgd(2, clip=1.0), [4.0, -3.0]), [0, -0.05], rtol=1e-6)


def test_the_schedule_counts_updates():
    found = updates_of(sgd(2, schedule="cosine", updates=2), [1.0] * 4)
    # Half way down the cosine after one update of two; momentum makes 1.9 of the second.
    np.testing.assert_allclose(found, [0, -0.1, 0, -0.05 * 1.9], rtol=1e-6)


def config_of(experiment: str, records: Path, **optim: Any) -> Any:
    """A shrunk config of text alone, which has no batch statistics and no dropout."""
    config = shrink(importlib.import_module(f"configs.{experiment}").get_config(), records)
    config.model.modalities = "t"
    config.model.dropout = 0.0
    config.optim.update(optim)
    return config


class Trainee:
    """Training of a config on synthetic records, step by step."""

    def __init__(self, config: Any):
        kind = "features" if "lf" in config.model.name else "media"
        dataset = open_dataset(config.data.dir, kind=kind)
        self.mesh = DataMesh(1)
        self.batches = make_batch_loader(parse_config(config), dataset, self.mesh, config.optim.epochs)
        self.tx = setup.make_optimizer(parse_config(config), self.batches.total_steps)
        spec = model_spec(parse_config(config), len(dataset.label_names), dataset.tokenizer)
        variables = self.mesh.put_replicated(setup.start_variables(parse_config(config), spec))
        fresh = TrainState(jnp.zeros((), jnp.int32), variables, self.tx.init(variables.params))
        self.state = self.start = self.mesh.put_replicated(fresh)
        self._step = jax.jit(setup.make_step(parse_config(config), dataset, self.tx))

    def train(self, batches: Any) -> list[dict[str, np.ndarray]]:
        """The parameters after each batch."""
        after = []
        for batch in batches:
            self.state, _ = self._step(self.state, self.mesh.put_batch(batch), jnp.float32(1.0))
            after.append(self.parameters)
        return after

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        return jax.device_get(self.state.variables.arrays())


def parts(batch: Any, count: int) -> list[Any]:
    """A batch's utterances in `count` batches; fit for models of text alone."""
    rows = batch.example.shape[1]
    cut = np.array_split(np.arange(rows), count)
    return [type(batch)(*(x[:, part] if x.shape[1] == rows else x for x in batch)) for part in cut]


@pytest.mark.parametrize("name", [pytest.param("mini_dense", marks=pytest.mark.slow), "lf_rnn"])
def test_parts_of_a_batch_make_the_update_of_the_whole(name: str, records: Path, feature_records: Path) -> None:
    directory = feature_records if "lf" in name else records
    whole, cut = (Trainee(config_of(name, directory, name="sgd", accumulate=k, lr=0.1)) for k in (1, 4))
    start = whole.parameters
    batch = next(b for b in whole.batches.training(0) if (b.example >= 0).all())

    (expected,) = whole.train([batch])
    *between, found = cut.train(parts(batch, 4))

    for path, before in start.items():
        assert all(np.array_equal(after[path], before) for after in between), path
        moved = expected[path] - before
        # Differences of parameters are known to the parameters' own rounding; some gradients are 0 but for theirs.
        atol = 1e-5 * np.abs(moved).max() + 1e-7 * np.abs(before).max() + 1e-9
        np.testing.assert_allclose(found[path] - before, moved, rtol=1e-5, atol=atol, err_msg=path)
    assert any(np.abs(expected[path] - before).max() > 1e-3 for path, before in start.items())
    assert int(cut.state.step) == 4


def test_a_run_that_stops_within_a_window_resumes_with_the_same_numbers(feature_records: Path, tmp_path: Path) -> None:
    config = config_of("lf_rnn", feature_records, accumulate=2)
    run = Trainee(config)
    # Three steps an epoch: the first epoch's end cuts the second window.
    assert run.batches.steps_per_epoch == 3
    run.train(run.batches.training(0))
    whole, run.state = run.state, run.start
    run.train(batch for _, batch in zip(range(3), run.batches.training(0), strict=False))
    writer = CheckpointWriter(tmp_path)
    writer.save(run.state, RunRecord({}, [], {}, {}, {}, [{"epoch": 0, "valid": {"f1": 0.0}}]))
    writer.wait()

    run.state = Checkpoints(tmp_path).restore_state(3, run.mesh.abstract(run.start))
    assert int(optax.tree.get(run.state.optimizer, "mini_step")) == 1
    run.train(run.batches.training(3))

    assert int(run.state.step) == int(whole.step) == 6
    assert int(optax.tree.get(whole.optimizer, "gradient_step")) == 3
    for a, b in zip(jax.tree.leaves(run.state), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_accumulation_the_optimizer_has_no_other_state() -> None:
    params = {"fusion": jnp.zeros(2)}
    plain, accumulated = (set(pytree.flatten(sgd(k).init(params))) for k in (1, 2))

    assert not any("acc_grads" in path for path in plain)
    assert {"mini_step", "gradient_step", "acc_grads/fusion"} < accumulated


def test_schedules_of_a_run_count_its_updates(records: Path) -> None:
    config = config_of("mini_dense", records, name="sgd", lr=0.1, schedule="cosine", clip=0.0, accumulate=2)
    # The fifth of five steps makes no update.
    found = updates_of(setup.make_optimizer(parse_config(config), total_steps=5), [1.0] * 5)
    np.testing.assert_allclose(found, [0, -0.1, 0, -0.05 * 1.9, 0], rtol=1e-6)


def test_a_run_too_short_for_an_update_is_refused(records: Path) -> None:
    config = config_of("mini_dense", records, accumulate=6)

    setup.make_optimizer(parse_config(config), total_steps=6)
    with pytest.raises(UserError, match=r"accumulate: expected at most the 5 steps of the run, found 6"):
        setup.make_optimizer(parse_config(config), total_steps=5)
