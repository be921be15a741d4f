"""The training step's parts: threshold schedule, optimisers and their groups."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mme2e_jax import tree
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.start import draw
from mme2e_jax.optimizer import group_labels, learning_rate, optimizer
from mme2e_jax.state import abstract_variables, initial_variables
from mme2e_jax.step import sparse_threshold

SPEC = ModelSpec("tav", True, 6, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.1)


def test_the_threshold_falls_linearly_and_then_stays():
    found = [sparse_threshold(step, 100, 0.6, 0.5) for step in (0, 25, 50, 99)]
    np.testing.assert_allclose(found, [1.0, 0.8, 0.6, 0.6])
    assert sparse_threshold(0, 100, 0.6, 0.0) == 0.6


def test_every_parameter_is_in_the_group_it_should_be():
    labels = tree.flatten(group_labels(abstract_variables(SPEC).params))
    text = {path for path, group in labels.items() if group == "text"}
    assert set(labels.values()) == {"text", "rest"}
    assert {"text/word", "text/layer/query/kernel", "heads/t/bias"} <= text
    assert all(path.startswith(("text/", "heads/t/")) for path in text)
    # What looks at the text in the towers is no part of the text encoder.
    assert labels["towers/v/scores/0/text/kernel"] == "rest"


def test_the_text_group_learns_more_slowly_and_clipping_acts_on_everything():
    params = {"text": {"word": jnp.ones(2)}, "heads": {"v": {"bias": jnp.ones(2)}}}
    tx = optimizer("adam", learning_rate(0.1, "constant", 10), text_lr_factor=10.0, weight_decay=0.0, clip=0.0)
    updates: Any = tx.update(params, tx.init(params), params)[0]
    # Adam's first update has size 1 whatever the gradient.
    np.testing.assert_allclose(updates["text"]["word"], -0.01, rtol=1e-4)
    np.testing.assert_allclose(updates["heads"]["v"]["bias"], -0.1, rtol=1e-4)
    clipped = optimizer("adam", learning_rate(0.1, "constant", 10), text_lr_factor=1.0, weight_decay=0.0, clip=1.0)
    _, state = clipped.update(params, clipped.init(params), params)
    first_moment = optax.tree.get(state, "mu")
    np.testing.assert_allclose(optax.tree.norm(first_moment), 0.1, rtol=1e-5)


def test_a_cosine_schedule_ends_at_zero():
    schedule = learning_rate(2.0, "cosine", 10)
    np.testing.assert_allclose([float(np.asarray(schedule(k))) for k in (0, 5, 10)], [2.0, 1.0, 0.0], atol=1e-6)


def test_initial_values_depend_on_the_seed_and_the_name_alone():
    a, b, c = (initial_variables(SPEC, seed).arrays() for seed in (0, 0, 1))
    for path in a:
        np.testing.assert_array_equal(a[path], b[path])
    assert not np.array_equal(a["towers/v/head/out/kernel"], c["towers/v/head/out/kernel"])
    assert not np.array_equal(a["towers/v/blocks/0/kernel2"], a["towers/a/blocks/0/kernel2"])


def test_initial_values_are_in_the_range_that_torch_draws_from():
    arrays = initial_variables(SPEC, 0).arrays()
    kernel, bias = arrays["sequences/v/layers/0/down/kernel"], arrays["sequences/v/layers/0/down/bias"]
    bound = 2048**-0.5
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert 0 < np.abs(bias).max() <= bound
    np.testing.assert_array_equal(arrays["towers/a/low_level/norm/var"], 1.0)
    np.testing.assert_allclose(arrays["fusion"], 1 / 3)
    assert arrays["text/word"].std() == pytest.approx(0.02, rel=0.1)


def test_a_parameter_without_a_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="new/thing"):
        draw({"new/thing": (3,)}, 0)
