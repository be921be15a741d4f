"""Masked batch normalisation and pooling."""

import jax
import jax.numpy as jnp
import numpy as np

from mme2e_jax.models.layers import MaskedBatchNorm, max_pool


def test_statistics_see_only_what_the_mask_keeps():
    norm = MaskedBatchNorm(1, eps=0.0, momentum=0.9)
    x = jnp.array([1.0, 3.0, 500.0, 8.0]).reshape(4, 1)
    out = norm(x, jnp.array([True, True, False, True]), train=True)
    # Mean 4, biased variance (9 + 1 + 16) / 3, unbiased 26 / 2.
    np.testing.assert_allclose(out[jnp.array([0, 1, 3]), 0], np.array([-3, -1, 4]) / np.sqrt(26 / 3), rtol=1e-6)
    np.testing.assert_allclose(norm.mean[...], 0.1 * 4, rtol=1e-6)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * 13, rtol=1e-6)


def test_evaluation_uses_the_running_statistics_and_changes_nothing():
    norm = MaskedBatchNorm(2, eps=1.0, momentum=0.9)
    norm.mean[...], norm.var[...] = jnp.array([1.0, -1.0]), jnp.array([3.0, 8.0])
    out = norm(jnp.array([[5.0, 5.0]]), jnp.array([True]), train=False)
    np.testing.assert_allclose(out, [[2.0, 2.0]], rtol=1e-6)
    np.testing.assert_array_equal(norm.mean[...], [1.0, -1.0])


def test_masked_places_get_no_gradient_through_the_statistics():
    mask = jnp.array([True, True, True, False])

    def first(x):
        norm = MaskedBatchNorm(1, eps=1e-5, momentum=0.9)
        return norm(x, mask, train=True)[0, 0]

    gradient = jax.grad(first)(jnp.array([[1.0], [2.0], [4.0], [9.0]]))
    assert gradient[3, 0] == 0
    assert np.count_nonzero(gradient[:3]) == 3


def test_a_mask_that_keeps_nothing_leaves_the_statistics():
    norm = MaskedBatchNorm(1, eps=1e-5, momentum=0.9)
    out = norm(jnp.array([[2.0]]), jnp.array([False]), train=True)
    assert np.isfinite(out).all()
    assert (float(norm.mean[0]), float(norm.var[0])) == (0.0, 1.0)


def test_the_mask_broadcasts_over_height_and_width():
    norm = MaskedBatchNorm(1, eps=0.0, momentum=0.0)
    x = jnp.arange(8.0).reshape(2, 2, 2, 1)
    norm(x, jnp.array([True, False])[:, None, None], train=True)
    np.testing.assert_allclose(norm.mean[...], 1.5)


def test_max_pool_takes_the_largest_of_four():
    x = jnp.array([[1, 2, 5, 6], [3, 4, 8, 7]], jnp.float32).reshape(1, 2, 4, 1)
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[4, 8]])


def test_pooling_hands_the_gradient_to_the_first_of_the_largest():
    image = [[1, 5, 2, 2], [5, 0, 2, 2], [0, 0, 1, 2], [3, 4, 7, 6]]
    x = jnp.array(image, jnp.float32)[None, :, :, None]
    y, back = jax.vjp(max_pool, x)
    np.testing.assert_array_equal(y[0, ..., 0], [[5, 2], [4, 7]])
    (g,) = back(jnp.array([[10.0, 20.0], [30.0, 40.0]])[None, :, :, None])
    np.testing.assert_array_equal(g[0, ..., 0], [[0, 10, 20, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 30, 40, 0]])


def test_normalisation_has_the_gradient_of_its_definition():
    rng = np.random.default_rng(0)
    mask = jnp.asarray(rng.random((3, 4, 2)) < 0.6)

    def written_out(x, scale, bias):
        n, kept = mask.sum(), mask[..., None]
        mean = jnp.where(kept, x, 0).sum((0, 1, 2)) / n
        var = jnp.where(kept, (x - mean[None, None, None]) ** 2, 0).sum((0, 1, 2)) / n
        return (x - mean[None, None, None]) / jnp.sqrt(var + 1e-5)[None, None, None] * scale[None, None, None] + bias[
            None, None, None
        ]

    def module(x, scale, bias):
        norm = MaskedBatchNorm(5, eps=1e-5, momentum=0.9)
        norm.scale[...], norm.bias[...] = scale, bias
        return norm(x, mask, train=True)

    with jax.enable_x64(True):
        x, g = (jnp.asarray(rng.normal(size=(3, 4, 2, 5))) for _ in range(2))
        scale, bias = (jnp.asarray(rng.normal(size=5)) for _ in range(2))
        found, wanted = (jax.vjp(f, x, scale, bias)[1](g) for f in (module, written_out))
    # Places outside the mask count too: they are normalised, though nothing of them is in the statistics.
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
