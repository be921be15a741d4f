"""Rematerialized towers give the same numbers in less memory."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mme2e_jax.models.towers import DenseTower, SparseTower
from mme2e_jax.models.variables import Variables
from mme2e_jax.training.step import compiler_options

IMAGES, SIZE, D_TEXT = 16, 32, 6


def tower(sparse: bool, remat: bool) -> Variables:
    """Drawn alike for both values of `remat`."""

    def make():
        size, rngs = (SIZE, SIZE, 3), nnx.Rngs(0)
        if sparse:
            module = SparseTower(size, 5, D_TEXT, 0.0625, renormalize=True, rows_threshold=1.0, rngs=rngs, remat=remat)
        else:
            module = DenseTower(size, 5, 0.0625, rngs, remat=remat)
        return Variables(*nnx.split(module, nnx.Param, nnx.BatchStat))

    abstract, rng = jax.eval_shape(make), np.random.default_rng(0)
    drawn = {path: 0.3 * rng.standard_normal(leaf.shape) for path, leaf in abstract.arrays().items()}
    return abstract.with_arrays({path: abs(x) if path.endswith("var") else x for path, x in drawn.items()})


def compiled(sparse: bool, remat: bool):
    """The tower, and its gradient with the statistics afterwards as a compiled program of parameters."""
    variables = tower(sparse, remat)
    rng = np.random.default_rng(1)
    x, text = rng.normal(size=(IMAGES, SIZE, SIZE, 3)), rng.normal(size=(1, 2, D_TEXT))
    valid, utterance = jnp.arange(IMAGES) < IMAGES - 3, jnp.arange(IMAGES)[None] % 2

    def loss(params):
        model: Any = nnx.merge(variables.graphdef, params, variables.batch_stats, copy=True)
        if sparse:
            vectors, _ = model(x, valid, text, utterance, 0.6, train=True)
        else:
            vectors = model(x, valid, train=True)
        return jnp.sum(jnp.tanh(vectors) * valid[:, None]), nnx.state(model, nnx.BatchStat)

    step: Any = jax.jit(jax.grad(loss, has_aux=True), compiler_options=compiler_options())
    return variables, step.lower(variables.params).compile()


@pytest.mark.slow
@pytest.mark.parametrize("sparse", [False, True])
def test_gradients_and_statistics_are_the_same_and_less_is_kept(sparse: bool) -> None:
    # In float64: programs that are put together in other ways round in other ways.
    with jax.enable_x64(True):
        variables, kept = compiled(sparse, remat=False)
        again, computed = compiled(sparse, remat=True)
        gradient, stats = jax.device_get(kept(variables.params))
        gradient_again, stats_again = jax.device_get(computed(again.params))

    # The structures differ in the flag alone.
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(gradient_again), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-6, atol=1e-9)
    assert sum(np.any(x != 0) for x in jax.tree.leaves(gradient)) > 20
    # A second update of the statistics would move them further.
    before = jax.tree.leaves(variables.batch_stats)
    for old, a, b in zip(before, jax.tree.leaves(stats), jax.tree.leaves(stats_again), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9)
        assert not np.allclose(a, old, rtol=1e-3, atol=0)
    less, more = (p.memory_analysis().temp_size_in_bytes for p in (computed, kept))
    assert less < 0.9 * more
