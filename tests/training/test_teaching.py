"""Losses against values computed by hand, and training with a teacher."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import mini_sparse
from mme2e_jax.checkpoints.reader import Checkpoints
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.models.towers import Stage
from mme2e_jax.models.variables import TrainState
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.training import loop
from mme2e_jax.training.lessons import LessonStore
from mme2e_jax.training.loop import train
from mme2e_jax.training.optimizer import without_moments
from mme2e_jax.training.programs import teacher_like
from mme2e_jax.training.teaching import attention_loss, distillation_loss, logit_distance, site_cross_entropy
from tests.helpers.steps import begin
from tests.helpers.synthetic import shrink

NOTHING = jnp.zeros((1,))


@pytest.mark.parametrize(("exponent", "first"), [(0.5, 2 / 3), (1.0, 4 / 5), (1.5, 8 / 9)])
def test_attention_is_compared_with_a_power_of_the_saliency_over_the_candidates(exponent: float, first: float) -> None:
    # The third site is no candidate: its saliency does not count.
    saliency = jnp.array([[[4.0, 1.0, 100.0]]])
    weight = jnp.array([[[0.75, 0.25, 0.0]]])

    found = site_cross_entropy(saliency, weight, exponent)

    np.testing.assert_allclose(found, -(first * np.log(0.75) + (1 - first) * np.log(0.25)), rtol=1e-6)


def test_images_without_saliency_do_not_count_and_give_finite_gradients() -> None:
    saliency = jnp.array([[[4.0, 1.0]], [[0.0, 0.0]]])
    weight = jnp.array([[[0.75, 0.25]], [[1.0, 0.0]]])

    value, gradient = jax.value_and_grad(lambda weight: site_cross_entropy(saliency, weight, 0.5))(weight)

    np.testing.assert_allclose(value, site_cross_entropy(saliency[:1], weight[:1], 0.5), rtol=1e-6)
    np.testing.assert_allclose(gradient, [[[-2 / 3 / 0.75, -1 / 3 / 0.25]], [[0.0, 0.0]]], rtol=1e-6)


def test_the_loss_is_least_where_attention_is_the_target() -> None:
    saliency = jnp.array([[[9.0, 4.0, 1.0]]])

    def of_scores(scores):
        return site_cross_entropy(saliency, jax.nn.softmax(scores), 0.5)

    gradient = jax.grad(of_scores)(jnp.log(jnp.array([[[3.0, 2.0, 1.0]]])))
    np.testing.assert_allclose(gradient, np.zeros((1, 1, 3)), atol=1e-6)


def test_all_stages_of_all_towers_count_alike() -> None:
    def stage(*weight: float) -> Stage:
        return Stage(jnp.array([[weight]]), *[NOTHING] * 5)

    stages = {"v": [stage(0.5, 0.5), stage(0.75, 0.25)], "a": [stage(1.0, 0.0)]}
    saliency = {m: [jnp.array([[[1.0, 0.0]]])] * len(of_tower) for m, of_tower in stages.items()}

    found = attention_loss(saliency, stages, 1.0)

    np.testing.assert_allclose(found, -(np.log(0.5) + np.log(0.75) + np.log(1.0)) / 3, rtol=1e-6)
    assert attention_loss({}, {}, 1.0) == 0


@pytest.mark.parametrize("loss", ["bce", "ce", "mse", "l1"])
def test_logits_that_are_the_teachers_have_no_distance(loss: str) -> None:
    teacher = jnp.array([[[2.0, -1.0, 0.5]]])
    distance = logit_distance(loss)

    np.testing.assert_allclose(distance(teacher, teacher), [[0.0]], atol=1e-5)
    assert distance(teacher, teacher + jnp.array([[[0.5, 0.0, -0.5]]])).item() > 0.001


def test_the_distance_is_the_divergence_at_temperature_four() -> None:
    teacher, logits = jnp.array([[[4.0]]]), jnp.array([[[-8.0]]])
    p, q = (1 / (1 + np.exp(-x)) for x in (1.0, -2.0))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))

    np.testing.assert_allclose(logit_distance("bce")(teacher, logits), [[16 * divergence]], rtol=1e-5)


def test_padding_has_no_distance() -> None:
    teacher, logits = jnp.zeros((1, 2, 1)), jnp.array([[[1.0], [jnp.nan]]])
    found = distillation_loss(logit_distance("mse"), teacher, logits, jnp.array([[True, False]]))

    assert found == 1.0


def small(records: Path, **optim: Any) -> Any:
    """A sparse model that teaches itself after one of three epochs; it compiles two programs."""
    config: Any = shrink(mini_sparse.get_config(), records)
    config.model.update(modalities="tv", sparse_impl="masked")
    config.optim.update(epochs=3, dense_epochs=1, teacher_saliency=0.1, teacher_kd=0.5, score_lr_factor=5.0)
    config.optim.update(optim)
    return config


def run(config: Any, workdir: Path) -> dict[str, np.ndarray]:
    """The variables of a run's last checkpoint."""
    typed = parse_config(config)
    train(typed, open_dataset(typed.data.dir), workdir)
    checkpoints = Checkpoints(workdir)
    return checkpoints.restore_arrays(checkpoints.find_latest_step() or 0)


@pytest.mark.slow
def test_a_run_teaches_itself_and_resumes_before_and_after_its_teacher_is_there(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restarts: list[int] = []

    def restarted(state: Any) -> Any:
        restarts.append(int(optax.tree.get_all_with_path(state, "count")[0][1]))
        return without_moments(state)

    monkeypatch.setattr(loop, "without_moments", restarted)
    config = small(records)
    config.checkpoint.update(keep_last=9, every_steps=2)
    whole = run(config, tmp_path)
    directory, last = tmp_path / "checkpoints", 9
    teachers = {int(path.name): (path / "teacher").exists() for path in directory.glob("[0-9]*")}
    assert teachers == {2: False, 3: False, 4: True, 6: True, 8: True, 9: True}
    # The dense phase has no best checkpoint; its validation computes all sites.
    assert Checkpoints(tmp_path).find_best_step() in (6, 9)

    # At the end of the dense phase, and after it.
    for resumed in (3, 4):
        for step in teachers:
            if step > resumed:
                shutil.rmtree(directory / str(step))
        np.testing.assert_equal(run(config, tmp_path), whole)
    # In the whole run, and in the one that is resumed before its teacher is there.
    assert restarts == [3, 3]

    losses = [json.loads(line)["loss"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert len(losses) == last
    assert np.isfinite(losses).all()


def taught_step(config: Any, records: Path) -> tuple[TrainState, TrainState, float]:
    """The states before and after a step with a teacher that is the start of the run, and the norm of the gradient."""
    dataset = open_dataset(records)
    started = begin(config, dataset)
    teacher = teacher_like(started.state.variables, model_spec(parse_config(config), 6, dataset.tokenizer))
    before = jax.device_get(started.state)
    batch, lessons = next(started.batches.training(0)), LessonStore("tv")
    lessons.add_all(teacher, [batch], started.mesh)
    with started.mesh.active():
        given = started.mesh.put_batch((batch, lessons.for_batch(batch)))
        after, metrics = started.step(started.state, given[0], jnp.float32(0.5), given[1])
    return before, jax.device_get(after), float(metrics.gradient_norm)


@pytest.mark.slow
def test_scores_learn_from_a_teacher_alone(records: Path) -> None:
    before, after, _ = taught_step(small(records), records)

    old, new = before.variables.arrays(), after.variables.arrays()
    # A bias shifts all scores of a stage alike.
    scores = {path for path in old if "/scores/" in path and not path.endswith("score/bias")}
    assert {path for path in scores if np.array_equal(old[path], new[path])} == set()


@pytest.mark.slow
def test_a_lesson_that_is_not_known_changes_nothing(records: Path) -> None:
    found = []
    for lessons in (None, LessonStore("tv")):
        started = begin(small(records), open_dataset(records))
        batch = next(started.batches.training(0))
        with started.mesh.active():
            lesson = lessons and lessons.for_batch(batch)
            placed = started.mesh.put_batch((batch, lesson))
            _, metrics = started.step(started.state, placed[0], jnp.float32(1.0), placed[1])
        found.append((float(metrics.loss), float(metrics.gradient_norm)))

    # Two programs may round differently.
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.slow
def test_a_teacher_says_the_same_on_several_devices(records: Path) -> None:
    config = small(records)
    config.model.dropout = 0.0
    norms = []
    for devices in (1, 4):
        config.mesh.devices = devices
        norms.append(taught_step(config, records)[2])

    # Sums over devices have another order.
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-4)
