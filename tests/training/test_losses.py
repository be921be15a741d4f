"""Losses against hand-computed values and optax, and the meaning of logits for each."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.tasks import TASKS
from mme2e_jax.training.losses import check_labels, make_loss, positive_weights

VALID = jnp.array([[True, False]])
ONES = np.ones(2, np.float32)


def test_binary_cross_entropy_weighs_positives_and_leaves_padding_rows_out():
    logits = jnp.array([[[0.0, 2.0], [9.0, 9.0]]])
    labels = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])
    found = make_loss("bce", np.array([3.0, 5.0]))(logits, labels, VALID)
    assert float(found) == pytest.approx((3 * np.log(2) + np.log(1 + np.exp(2))) / 2, rel=1e-6)


@pytest.mark.parametrize(("name", "value"), [("ce", np.log(1 + np.exp(2))), ("mse", 2.5), ("l1", 1.5)])
def test_the_other_losses_by_hand(name, value):
    logits = jnp.array([[[0.0, 2.0], [9.0, 9.0]]])
    labels = jnp.array([[[1.0, 0.0], [0.0, 0.0]]])
    assert float(make_loss(name, ONES)(logits, labels, VALID)) == pytest.approx(value, rel=1e-6)


def test_losses_agree_with_optax():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 3, 4)), jnp.float32)
    labels = jax.nn.one_hot(jnp.asarray(rng.integers(0, 4, (2, 3))), 4)
    valid = jnp.ones((2, 3), bool)
    ones = np.ones(4, np.float32)
    want = {
        "bce": optax.sigmoid_binary_cross_entropy(logits, labels).mean(),
        "ce": optax.softmax_cross_entropy(logits, labels).mean(),
        "mse": optax.squared_error(logits, labels).mean(),
        "l1": jnp.abs(logits - labels).mean(),
    }
    assert set(want) == set(TASKS)
    for name, value in want.items():
        np.testing.assert_allclose(make_loss(name, ones)(logits, labels, valid), value, rtol=1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_padding_rows_get_no_gradient_even_when_their_logits_overflow(name):
    def loss(logits):
        return make_loss(name, np.ones(1, np.float32))(logits, jnp.zeros((1, 2, 1)), VALID)

    gradient = jax.grad(loss)(jnp.array([[[1.0], [1e30]]]))
    assert np.all(np.isfinite(gradient))
    assert float(gradient[0, 1, 0]) == 0.0


def test_a_batch_without_any_valid_row_has_no_loss():
    for name in TASKS:
        assert float(make_loss(name, ONES)(jnp.ones((1, 2, 2)), jnp.zeros((1, 2, 2)), VALID & False)) == 0.0


def test_positives_weigh_as_much_as_negatives_together():
    np.testing.assert_allclose(positive_weights(np.array([10, 25, 0]), 50), [4.0, 1.0, 1.0])


def test_cross_entropy_refuses_utterances_with_several_emotions(records):
    dataset = open_dataset(records)
    for name in TASKS:
        check_labels(name, dataset)
    train = dataset.split("train")
    double = dataclasses.replace(train, positives=train.positives + 1)
    doubled = dataclasses.replace(dataset, splits={**dataset.splits, "train": double})
    with pytest.raises(UserError, match=r"exactly one emotion per utterance; the train split .* 20 utterances with 26"):
        check_labels("ce", doubled)
    for name in itertools.chain(["bce"], ["mse", "l1"]):
        check_labels(name, doubled)
