"""Convolution at active sites against a dense one with a mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme2e_jax.models import rows
from mme2e_jax.models.rows import convolve_rows, gather_rows, index_sites, rows_to_images
from tests.helpers.closeness import assert_close

both_ways = pytest.mark.parametrize("loop", [True, False])


def drawn(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def sites_of(density, shape=(3, 6, 5), seed=0):
    return jnp.asarray(np.random.default_rng(seed).random(shape) < density)


def masked(x, kernel, kept):
    """What the rows must give."""
    x = jnp.where(kept[..., None], x, 0.0)
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return jnp.where(kept[..., None], y, 0.0)


def by_rows(x, kernel, kept, loop) -> jax.Array:
    sites = index_sites(kept, kept[0].size)
    y = convolve_rows(gather_rows(x, sites), kernel, sites, loop)
    return jnp.asarray(rows_to_images(y, sites, kept.shape))


def test_rows_stand_in_the_order_of_images_and_places():
    kept = jnp.zeros((2, 2, 2), bool).at[0, 1, 0].set(True).at[1, 0, 1].set(True)
    sites = index_sites(kept, 4)
    last = len(sites.site) - 1
    assert int(sites.count[0]) == 2
    assert sites.site[:2].tolist() == [2, 5]
    assert sites.row.tolist() == [last, last, 0, last, last, 1, last, last]
    # Neighbours in place 4 are the sites themselves; the two are in different images.
    assert sites.neighbours[0].tolist() == [last] * 4 + [0] + [last] * 4
    assert sites.neighbours[1].tolist() == [last] * 4 + [1] + [last] * 4
    assert sites.active.tolist() == [True, True] + [False] * (last - 1)


def test_neighbours_run_from_top_left_to_bottom_right():
    sites = index_sites(jnp.ones((1, 3, 3), bool), 9)
    assert sites.neighbours[4].tolist() == list(range(9))
    last = len(sites.site) - 1
    assert sites.neighbours[0].tolist() == [last, last, last, last, 0, 1, last, 3, 4]


@both_ways
@settings(deadline=None, max_examples=12)
@given(st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.8, 1.0]), st.integers(0, 3))
def test_values_and_gradients_are_those_of_a_masked_convolution(loop, density, seed):
    kept = sites_of(density, seed=seed)
    x, kernel, weight = drawn((*kept.shape, 3), seed), drawn((3, 3, 3, 4), seed + 1), drawn((*kept.shape, 4), seed + 2)

    def run(f):
        return jax.value_and_grad(lambda x, k: jnp.sum(weight * jnp.tanh(f(x, k))), (0, 1))(x, kernel)

    value, found = run(lambda x, k: by_rows(x, k, kept, loop))
    value_wanted, wanted = run(lambda x, k: masked(x, k, kept))
    # The value is one sum of terms of both signs, so that its scale is that of its terms and not its own.
    assert abs(value - value_wanted) <= 1e-5 * np.abs(weight).sum()
    jax.tree.map(assert_close, found, wanted)


@both_ways
@pytest.mark.parametrize("density", [0.1, 0.5, 0.9, 1.0])
def test_many_blocks_and_every_number_of_rows_on_offer(loop, density, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 4)
    kept = sites_of(density)
    x, kernel = drawn((*kept.shape, 3), 0), drawn((3, 3, 3, 4), 1)
    assert_close(by_rows(x, kernel, kept, loop), masked(x, kernel, kept))


@both_ways
def test_what_lies_at_inactive_sites_does_not_matter(loop):
    kept = sites_of(0.4)
    x, kernel = drawn((*kept.shape, 3), 0), drawn((3, 3, 3, 4), 1)
    spoiled = jnp.where(kept[..., None], x, jnp.nan)

    def loss(x, kernel):
        return jnp.sum(jnp.square(by_rows(x, kernel, kept, loop)))

    clean, other = (jax.grad(loss, (0, 1))(v, kernel) for v in (x, spoiled))
    jax.tree.map(np.testing.assert_array_equal, clean, other)


@both_ways
def test_no_number_of_active_sites_exceeds_the_rows(loop):
    for size in (1, rows.BLOCK_ROWS - 1, rows.BLOCK_ROWS):
        sites = index_sites(jnp.ones((1, 1, size), bool), size)
        assert int(sites.count[0]) == size < len(sites.site)
        x = jnp.where(sites.active[:, None], 1.0, 0.0)
        y = np.asarray(convolve_rows(x, jnp.ones((3, 3, 1, 1)), sites, loop))
        assert float(y.sum()) == 3 * size - 2
        assert float(y[-1, 0]) == 0.0


@both_ways
def test_more_sites_than_rows_are_not_lost_but_make_everything_nan(loop, monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_ROWS", 4)
    kept = jnp.ones((2, 4, 4), bool)
    sites = index_sites(kept, 6)
    assert len(sites.site) < kept.size
    x, kernel = jnp.ones((2, 4, 4, 1)), jnp.ones((3, 3, 1, 1))
    assert np.isnan(rows_to_images(convolve_rows(gather_rows(x, sites), kernel, sites, loop), sites, kept.shape)).any()
    sites = index_sites(kept.at[:, 2:].set(False).at[:, 1, 2:].set(False), 6)
    assert np.isfinite(gather_rows(x, sites)).all()
