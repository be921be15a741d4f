"""Dropout by coordinates."""

import jax
import jax.numpy as jnp
import numpy as np

from mme2e_jax.models.dropout import dropout, step_seed
from mme2e_jax.training.step import compiler_options


def grid(rows, columns):
    return jnp.asarray(rows)[:, None], jnp.arange(columns)[None]


def test_the_rate_is_kept_and_the_mean_too():
    out = dropout(jnp.ones((300, 400)), 0.3, step_seed(1, 2), grid(np.arange(300), 400))
    dropped = np.asarray(out == 0)
    assert abs(dropped.mean() - 0.3) < 0.005
    assert abs(float(out.mean()) - 1) < 0.01
    # No row or column is favoured, and neighbours are independent.
    assert dropped.mean(0).std() < 0.05
    assert dropped.mean(1).std() < 0.05
    assert abs(np.mean(dropped[1:] & dropped[:-1]) - 0.09) < 0.01


def test_an_element_keeps_its_decision_wherever_it_lies():
    x = jnp.ones((4, 50))
    seed = step_seed(0, 0)
    there = dropout(x, 0.5, seed, grid([7, 8, 9, 10], 50))
    elsewhere = dropout(x, 0.5, seed, grid([10, 3, 7, 8], 50))
    np.testing.assert_array_equal(there[0], elsewhere[2])
    np.testing.assert_array_equal(there[3], elsewhere[0])


def test_steps_layers_and_runs_differ():
    coordinates, x = grid(np.arange(20), 50), jnp.ones((20, 50))
    seeds = [step_seed(0, 0), step_seed(0, 1), step_seed(1, 0), step_seed(0, 0).fold("a"), step_seed(0, 0).fold("b")]
    masks = [np.asarray(dropout(x, 0.5, seed, coordinates)) > 0 for seed in seeds]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert 0.4 < np.mean(a == b) < 0.6


def test_the_order_of_coordinates_matters():
    x = jnp.ones((30, 30))
    a = np.asarray(dropout(x, 0.5, step_seed(0, 0), grid(np.arange(30), 30)))
    assert not np.array_equal(a, a.T)


def numpy_bits(seed: int, *coordinates: np.ndarray) -> np.ndarray:
    """Hashes by MurmurHash3's finaliser, in 64 bits."""

    def mix(x):
        x = ((x ^ (x >> 16)) * 0x85EBCA6B) % 2**32
        x = ((x ^ (x >> 13)) * 0xC2B2AE35) % 2**32
        return x ^ (x >> 16)

    bits = np.asarray(seed, np.uint64)
    for c in coordinates:
        bits = mix((bits * 0x9E3779B1 + mix((c.astype(np.uint64) + 0x6A09E667) % 2**32)) % 2**32)
    return bits


def test_masks_are_those_of_a_hash_of_all_coordinates():
    coordinates = np.arange(5)[:, None, None], np.arange(3, 7)[None, :, None], np.arange(6)[None, None]
    x = jnp.ones((5, 4, 6))
    seed = step_seed(3, 4)
    given = [jnp.asarray(c) for c in coordinates]
    jitted = jax.jit(lambda x: dropout(x, 0.25, seed, given), compiler_options=compiler_options())
    expected = np.where(numpy_bits(int(seed.value), *coordinates) >= 2**30, 1 / 0.75, 0)
    np.testing.assert_allclose(jitted(x), expected, rtol=1e-6)


def test_evaluation_and_rate_zero_change_nothing():
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(dropout(x, 0.5, None, grid([0, 1], 3)), x)
    np.testing.assert_array_equal(dropout(x, 0.0, step_seed(0, 0), grid([0, 1], 3)), x)
