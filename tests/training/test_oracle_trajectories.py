"""The first training steps of the end-to-end models against those of the paper's code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.models.variables import TrainState
from mme2e_jax.training.losses import make_loss
from mme2e_jax.training.optimizer import optimizer
from mme2e_jax.training.step import make_train_step
from tests.helpers import oracle
from tests.models.test_oracle_models import THRESHOLD, batch, expected, variables


@functools.cache
def compiled(name: str):
    """The step with the learning rate as an argument, so that one program serves all rates."""
    loss = make_loss("bce", oracle.arrays("models")["inputs/pos_weight"].astype(np.float32))

    def tx(lr):
        return optimizer("adam", lambda _: lr, text_lr_factor=10.0, weight_decay=0.0, clip=0.0)

    def step(state, b, lr):
        return make_train_step(tx(lr), loss, seed=0, attention_entropy=0.0)(state, b, jnp.float32(THRESHOLD))

    v = jax.tree.map(jnp.asarray, variables(name))
    return jax.jit(step), TrainState(jnp.zeros((), jnp.int32), v, tx(0.0).init(v.params))


# Losses follow until float32's rounding has grown: a start moved by one part in 2**24 alone changes the dense model's
# losses at 5e-05 by up to 5e-4 within 20 steps, in float64. Adam makes full steps of gradients that are rounding noise.
@pytest.mark.parametrize(
    ("name", "lr", "steps", "tolerance"),
    [
        ("dense", "5e-05", 21, 2e-3),
        ("dense", "0.001", 4, 1e-3),
        ("sparse", "5e-05", 4, 1e-3),
        ("sparse", "0.001", 4, 2e-3),
    ],
)
def test_adam_steps_follow_the_paper_codes_losses(name, lr, steps, tolerance):
    step, state = compiled(name)
    losses = []
    for _ in range(steps):
        state, metrics = step(state, batch(), jnp.float32(float(lr)))
        losses.append(float(metrics.loss))
    np.testing.assert_allclose(losses, expected(name, "traj")[f"lr{lr}/losses"][:steps], rtol=tolerance)
