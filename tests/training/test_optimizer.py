"""Optimizers with torch's semantics against hand-computed values; groups; schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import mini_sparse
from mme2e_jax.config.parse import parse_config
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import abstract_variables
from mme2e_jax.runtime import pytree
from mme2e_jax.training import setup
from mme2e_jax.training.optimizer import group_labels, learning_rate, optimizer, without_moments

SPEC = ModelSpec("tav", True, 6, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.1)


def test_every_parameter_is_in_the_group_it_should_be():
    labels = pytree.flatten(group_labels(abstract_variables(SPEC).params))
    text = {path for path, group in labels.items() if group == "text"}
    assert set(labels.values()) == {"text", "scores", "rest"}
    assert {"text/word", "text/layer/query/kernel", "heads/t/bias"} <= text
    assert all(path.startswith(("text/", "heads/t/")) for path in text)
    # What looks at the text in the towers is no part of the text encoder.
    assert labels["towers/v/scores/0/text/kernel"] == "scores"
    assert labels["towers/v/blocks/0/kernel1"] == "rest"


def test_the_text_group_learns_more_slowly_and_clipping_acts_on_everything():
    params = {"text": {"word": jnp.ones(2)}, "heads": {"v": {"bias": jnp.ones(2)}}}
    tx = optimizer("adam", learning_rate(0.1, "constant", 10), text_lr_factor=10.0, weight_decay=0.0, clip=0.0)
    updates: Any = tx.update(params, tx.init(params), params)[0]
    # Adam's first update has size 1 for any gradient.
    np.testing.assert_allclose(updates["text"]["word"], -0.01, rtol=1e-4)
    np.testing.assert_allclose(updates["heads"]["v"]["bias"], -0.1, rtol=1e-4)
    clipped = optimizer("adam", learning_rate(0.1, "constant", 10), text_lr_factor=1.0, weight_decay=0.0, clip=1.0)
    _, state = clipped.update(params, clipped.init(params), params)
    first_moment = optax.tree.get(state, "mu")
    np.testing.assert_allclose(optax.tree.norm(first_moment), 0.1, rtol=1e-5)


def test_scores_learn_at_their_own_rate() -> None:
    params = {"towers": {"v": {"scores": {"0": {"bias": jnp.ones(2)}}, "head": {"bias": jnp.ones(2)}}}}
    rate = learning_rate(0.1, "constant", 10)
    tx = optimizer("adam", rate, text_lr_factor=1.0, score_lr_factor=5.0, weight_decay=0.0, clip=0.0)
    updates: Any = tx.update(params, tx.init(params), params)[0]

    np.testing.assert_allclose(updates["towers"]["v"]["scores"]["0"]["bias"], -0.5, rtol=1e-4)
    np.testing.assert_allclose(updates["towers"]["v"]["head"]["bias"], -0.1, rtol=1e-4)
    # So that checkpoints of earlier versions still fit.
    assert not any("scores" in path and "towers" not in path for path in pytree.flatten(tx.init(params)))


def test_each_phase_of_a_run_that_teaches_itself_has_a_schedule_of_its_own() -> None:
    config: Any = mini_sparse.get_config()
    config.optim.update(name="sgd", lr=0.1, clip=0.0, schedule="cosine", epochs=4, dense_epochs=2)
    tx, params = setup.make_optimizer(parse_config(config), total_steps=8), {"fusion": jnp.zeros(1)}
    state, found = tx.init(params), []
    for _ in range(8):
        # The momentum of the update before is taken off.
        before = float(optax.tree.get(state, "trace")["fusion"][0])
        updates: Any
        updates, state = tx.update({"fusion": jnp.array([1.0])}, state, params)
        found.append(-float(updates["fusion"][0]) / (1 + 0.9 * before))

    # The first one is cut off at two thirds of its length; the second starts again and reaches 0.
    expected = 0.05 * (1 + np.cos(np.pi * np.concatenate([np.arange(4) / 6, np.arange(4) / 4])))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_without_moments_the_next_update_is_a_first_one_at_the_rate_of_its_place(name: str) -> None:
    def make(schedule: optax.Schedule) -> optax.GradientTransformation:
        return optimizer(name, schedule, text_lr_factor=1.0, weight_decay=0.0, clip=0.0)

    params, gradient = {"x": jnp.ones(3)}, {"x": jnp.full(3, 0.5)}
    tx = make(lambda update: 0.1 / (update + 1))
    state = tx.init(params)
    for _ in range(4):
        _, state = tx.update({"x": jnp.zeros(3)}, state, params)

    found, after = tx.update(gradient, without_moments(state), params)

    first = make(optax.constant_schedule(0.1 / 5))
    expected, _ = first.update(gradient, first.init(params), params)
    np.testing.assert_allclose(*(pytree.flatten(updates)["x"] for updates in (found, expected)), rtol=1e-6)
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_a_cosine_schedule_ends_at_zero():
    schedule = learning_rate(2.0, "cosine", 10)
    np.testing.assert_allclose([float(np.asarray(schedule(k))) for k in (0, 5, 10)], [2.0, 1.0, 0.0], atol=1e-6)


def by_hand(name: str, steps: int, lr: float, decay: float) -> list[float]:
    """A parameter that starts at 2 with gradients 0.5, 1.0, 1.5, ..., as torch's documentation has the updates."""
    value, m, v, buffer, path = 2.0, 0.0, 0.0, 0.0, []
    for k in range(1, steps + 1):
        gradient = 0.5 * k
        if name == "adamw":
            value -= lr * decay * value
        else:
            gradient += decay * value
        if name == "sgd":
            buffer = 0.9 * buffer + gradient
            value -= lr * buffer
        else:
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            value -= lr * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        path.append(value)
    return path


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_updates_are_torchs(name, decay):
    tx = optimizer(name, learning_rate(0.01, "constant", 10), text_lr_factor=10.0, weight_decay=decay, clip=0.0)
    params: Any = {"fusion": jnp.array(2.0)}
    state, found = tx.init(params), []
    for k in range(1, 5):
        updates, state = tx.update({"fusion": jnp.array(0.5 * k)}, state, params)
        params = optax.apply_updates(params, updates)
        found.append(float(params["fusion"]))
    np.testing.assert_allclose(found, by_hand(name, 4, 0.01, decay), rtol=1e-6)
