"""Score, select, apply."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mme2e_jax.models import rows, sparse
from mme2e_jax.models.sparse import (
    PAPER_RULE,
    Selection,
    SiteScore,
    SparseBlock,
    attention,
    choose,
    effective_share,
    pooled_choice,
    renormalized,
    select,
)
from tests.helpers.closeness import assert_close

select_jitted = jax.jit(select, static_argnames="rule")


def selected(weights, threshold, candidates=None, rule="mass"):
    """Indices that one image of 2 x n sites keeps."""
    weight = jnp.asarray(weights, jnp.float32).reshape(1, 2, -1)
    candidate = weight >= 0 if candidates is None else jnp.asarray(candidates).reshape(weight.shape)
    return np.flatnonzero(select_jitted(weight, candidate, threshold, rule=rule)).tolist()


def by_weight(weight, candidate):
    return sorted(np.flatnonzero(candidate).tolist(), key=lambda i: (-weight[i], i))


def by_sorting(weight, candidate, threshold):
    """The definition: candidates by falling weight, then rising index, until their sum reaches the threshold."""
    order = by_weight(weight, candidate)
    kept, mass = [], np.float64(0)
    for i in order:
        if mass >= threshold and threshold < 1:
            break
        kept.append(i)
        mass += np.float64(weight[i])
    return sorted(int(i) for i in kept)


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (0.3, [1]),
        (0.4, [1]),
        (0.5, [1, 2]),
        (0.7, [1, 2]),
        (0.75, [1, 2, 4]),
        (0.95, [0, 1, 2, 4]),
        (1.0, list(range(6))),
    ],
)
def test_the_smallest_prefix_that_reaches_the_threshold_is_kept(threshold, kept):
    assert selected([0.1, 0.4, 0.3, 0.0, 0.2, 0.0], threshold) == kept


def test_ties_are_broken_by_index():
    assert selected([0.25, 0.25, 0.25, 0.25], 0.5) == [0, 1]
    assert selected([0.125, 0.5, 0.125, 0.125, 0.125, 0.0], 0.7) == [0, 1, 2]


def test_sites_that_are_no_candidates_are_never_kept():
    assert selected([0.0, 0.6, 0.4, 0.0], 1.0, [False, True, True, False]) == [1, 2]
    assert selected([0.0, 0.0, 0.0, 0.0], 0.5, [False] * 4) == []


def test_one_site_that_holds_everything_is_enough():
    assert selected([0.0, 1.0, 0.0, 0.0], 0.99) == [1]


def test_a_mass_that_falls_short_of_the_threshold_by_rounding_keeps_all_candidates():
    assert selected([0.3, 0.3, 0.3, 0.0], 0.95) == [0, 1, 2, 3]


@settings(max_examples=200, deadline=None)
@given(
    # Multiples of 1/64 sum without rounding, so both ways see the same sums, ties included.
    parts=hnp.arrays(np.int64, 12, elements=st.integers(0, 6)),
    candidate=hnp.arrays(bool, 12),
    threshold=st.integers(1, 64),
)
def test_bisection_keeps_what_sorting_keeps(parts, candidate, threshold):
    weight = np.where(candidate, parts, 0) / 64
    if weight.sum() * 64 < threshold:
        threshold = max(1, int(weight.sum() * 64))
    if weight.sum() == 0:
        return
    assert selected(weight, threshold / 64, candidate) == by_sorting(weight, candidate, threshold / 64)


@settings(max_examples=100, deadline=None)
@given(score=hnp.arrays(np.float32, (3, 4, 5), elements=st.floats(-30, 30, width=32)), threshold=st.floats(0.05, 0.999))
def test_never_more_than_the_bound_is_kept_and_the_mass_is_reached(score, threshold):
    candidate = jnp.ones(score.shape, bool)
    weight = jax.jit(attention)(jnp.asarray(score), candidate)
    kept = np.asarray(select_jitted(weight, candidate, threshold))
    # One more than the bound for the rounding of the sum.
    assert kept.sum((1, 2)).max() <= np.ceil(threshold * 20) + 1
    assert np.sum(np.where(kept, weight, 0), (1, 2)).min() >= threshold - 1e-5


@settings(max_examples=200)
@given(
    parts=hnp.arrays(np.int64, 12, elements=st.integers(0, 4)),
    candidate=hnp.arrays(bool, 12),
    share=st.floats(1 / 64, 1, width=32),
)
def test_by_share_a_fixed_number_of_the_largest_weights_is_kept(parts, candidate, share):
    weight = np.where(candidate, parts, 0) / 48
    count = int(np.ceil(share * 12 - 1e-3))
    assert selected(weight, share, candidate, rule="share") == sorted(by_weight(weight, candidate)[:count])


def test_shares_that_float32_cannot_hold_are_not_rounded_up():
    for count in range(1, 577):
        assert Selection("share").limits([(24, 24)], count / 576) == [count]
    weight, all_sites = jnp.ones((1, 24, 24)) / 576, jnp.ones((1, 24, 24), bool)
    counts = np.array([1, 7, 58, 115, 231, 403])
    kept = [int(select_jitted(weight, all_sites, np.float32(count / 576), rule="share").sum()) for count in counts]
    assert kept == counts.tolist()


def test_regions_are_scored_by_their_mean_and_kept_whole():
    # Four regions of 2 x 2 sites; the second has the largest mean, the first the largest single score.
    score = jnp.array([[[9.0, 0, 3, 3], [0, 0, 3, 3], [1, 1, 0, 0], [1, 1, 0, 0]]])
    choice = choose(score, jnp.ones((1, 4, 4), bool), 0.25, Selection("share", region=2), 0)
    assert np.argwhere(choice.kept[0]).tolist() == [[0, 2], [0, 3], [1, 2], [1, 3]]
    by_region = np.exp([2.25, 3, 1, 0])
    wanted = np.kron((by_region / by_region.sum()).reshape(2, 2), np.full((2, 2), 1 / 4))
    np.testing.assert_allclose(choice.weight[0], wanted, rtol=1e-6)
    np.testing.assert_allclose(choice.score[0, 0], [2.25, 2.25, 3, 3])


def test_regions_shrink_with_the_images():
    assert [Selection(region=4).side(k) for k in range(3)] == [4, 2, 1]
    assert [PAPER_RULE.side(k) for k in range(3)] == [1, 1, 1]


def test_a_choice_for_all_stages_is_pooled_with_the_features():
    score = jnp.log(jnp.array([[[4.0, 1, 1, 1], [1, 1, 1, 1]]]))
    first = choose(score, jnp.ones((1, 2, 4), bool), 0.1, PAPER_RULE, 0)
    second = pooled_choice(first)
    assert second.kept.tolist() == [[[True, False]]]
    np.testing.assert_allclose(second.weight, [[[7 / 11, 4 / 11]]], rtol=1e-6)


@pytest.mark.parametrize(
    ("selection", "limits"),
    [
        # ceil(p * sites) and one more for rounding.
        (PAPER_RULE, [174, 45, 12]),
        (Selection("share"), [173, 44, 11]),
        # 11 of 36 regions, of 16, 4 and 1 sites.
        (Selection("share", region=4), [176, 44, 11]),
        (Selection("mass", region=4, once=True), [192, 48, 12]),
        # Every kept site may be pooled into a site of its own.
        (Selection("share", once=True), [173, 144, 36]),
    ],
)
def test_limits_hold_for_every_stage(selection, limits):
    assert selection.limits([(24, 24), (12, 12), (6, 6)], 0.3) == limits


def test_attention_is_a_softmax_over_the_candidates():
    weight = attention(jnp.log(jnp.array([[[1.0, 2.0], [5.0, 1.0]]])), jnp.array([[[True, True], [False, True]]]))
    np.testing.assert_allclose(weight, [[[0.25, 0.5], [0.0, 0.25]]], rtol=1e-6)


def test_scores_see_the_text_of_the_images_own_utterance():
    score = SiteScore(1, 1, nnx.Rngs(0))
    for layer, value in ((score.image, 1.0), (score.text, 1.0), (score.score, 2.0)):
        layer.kernel[...] = jnp.full_like(layer.kernel[...], value)
    x, text = jnp.array([0.1, 0.2]).reshape(2, 1, 1, 1), jnp.array([[[0.3], [-0.2]]])
    found = score(x, text, jnp.array([[1, 0]]))
    np.testing.assert_allclose(found[:, 0, 0], 2 * np.tanh([0.1 - 0.2, 0.2 + 0.3]), rtol=1e-6)


both_ways = pytest.mark.parametrize("row_limit", [0, 16])


def block_with_ones(row_limit: int) -> SparseBlock:
    block = SparseBlock(1, 1, row_limit=row_limit)
    for kernel in (block.kernel1, block.kernel2):
        kernel[...] = jnp.ones_like(kernel[...])
    return block


@both_ways
def test_a_submanifold_convolution_ignores_inactive_neighbours_and_stays_where_it_is(row_limit):
    block = block_with_ones(row_limit)
    x = jnp.full((1, 4, 4, 1), 7.0).at[0, 0, 0, 0].set(1.0).at[0, 0, 1, 0].set(2.0)
    active = jnp.zeros((1, 4, 4), bool).at[0, 0, :2].set(True)
    out, there = block(x, active, jnp.array([True]), train=False)
    # Running mean 0 and variance 1: normalisation only divides by sqrt(1 + 1e-4). Both sites see 1 + 2, then 3 + 3.
    np.testing.assert_allclose(out[0, 0, 0, 0], 6 / 1.0001, rtol=1e-5)
    assert np.asarray(there[0]).tolist() == [[True, False], [False, False]]
    assert np.count_nonzero(out) == 1


@both_ways
def test_a_block_counts_only_active_sites_of_valid_images(row_limit):
    block = block_with_ones(row_limit)
    x = jnp.zeros((2, 2, 2, 1)).at[0, 0, 0].set(3.0).at[1].set(100.0)
    active = jnp.zeros((2, 2, 2), bool).at[0, 0, 0].set(True).at[0, 1, 1].set(True).at[1].set(True)
    block(x, active, jnp.array([True, False]), train=True)
    # The two active sites of the first image are diagonal neighbours: each sees 3 + 0.
    np.testing.assert_allclose(block.norm1.mean[...], 0.01 * 3.0, rtol=1e-6)


def test_the_momentum_of_a_blocks_statistics_is_adjustable():
    block = SparseBlock(1, 1, row_limit=0, momentum=0.75)
    block.kernel1[...] = jnp.ones((3, 3, 1, 1))
    block(jnp.full((1, 2, 2, 1), 4.0), jnp.zeros((1, 2, 2), bool).at[0, 0, 0].set(True), jnp.array([True]), train=True)
    np.testing.assert_allclose(block.norm1.mean[...], 0.25 * 4.0, rtol=1e-6)


@both_ways
def test_a_block_without_any_active_site_stays_finite_and_keeps_its_statistics(row_limit):
    block = block_with_ones(row_limit)

    def total(x):
        return block(x, jnp.zeros((1, 2, 2), bool), jnp.array([True]), train=False)[0].sum()

    assert np.isfinite(jax.grad(total)(jnp.ones((1, 2, 2, 1)))).all()
    block(jnp.ones((1, 2, 2, 1)), jnp.zeros((1, 2, 2), bool), jnp.array([True]), train=True)
    np.testing.assert_array_equal(block.norm1.mean[...], 0.0)
    np.testing.assert_array_equal(block.norm1.var[...], 1.0)


def random_block(row_limit: int) -> SparseBlock:
    block, rng = SparseBlock(3, 5, row_limit=row_limit), np.random.default_rng(0)
    for kernel in (block.kernel1, block.kernel2):
        kernel[...] = jnp.asarray(rng.normal(size=kernel[...].shape) / 5, jnp.float32)
    for norm in (block.norm1, block.norm2):
        norm.scale[...] = jnp.asarray(rng.uniform(0.5, 2, 5), jnp.float32)
        norm.bias[...] = jnp.asarray(rng.normal(size=5), jnp.float32)
    return block


@functools.cache
def training_step(row_limit: int):
    """Value, sites, gradients and statistics of a step, as a function of images, their kept sites and validity."""
    graphdef, params, stats = nnx.split(random_block(row_limit), nnx.Param, nnx.BatchStat)

    def run(params, x, kept, valid):
        block = nnx.merge(graphdef, params, stats, copy=True)
        y, there = block(x, kept, valid, train=True)
        y = jnp.where(valid[:, None, None, None], y, 0.0)
        weight = jnp.asarray(np.random.default_rng(2).normal(size=y.shape), jnp.float32)
        return jnp.sum(weight * jnp.tanh(y)), (y, there, jax.tree.leaves(nnx.state(block, nnx.BatchStat)))

    step = jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True))
    return lambda *images: step(params, *images)


WEIGHTS = {
    "random": lambda rng: rng.random((6, 8, 6)),
    "tied": lambda rng: np.ones((6, 8, 6)),
    "few values": lambda rng: rng.integers(0, 3, (6, 8, 6)),
    "one site": lambda rng: np.eye(48)[:6].reshape(6, 8, 6),
}


@pytest.mark.parametrize("thresholds", [(0.05, 0.5, 1.0), pytest.param((0.3, 0.8), marks=pytest.mark.slow)])
@pytest.mark.parametrize("loop", [True, False])
def test_rows_of_active_sites_give_what_masks_give(loop, thresholds, monkeypatch):
    monkeypatch.setattr(sparse, "prefers_loop", lambda: loop)
    monkeypatch.setattr(rows, "BLOCK_ROWS", 16)
    training_step.cache_clear()
    x = jnp.asarray(np.random.default_rng(1).normal(size=(6, 8, 6, 3)), jnp.float32)
    for draw, threshold in itertools.product(WEIGHTS.values(), thresholds):
        weight = jnp.asarray(draw(np.random.default_rng(0)), jnp.float32)
        weight /= weight.sum((1, 2), keepdims=True)
        kept = select_jitted(weight, weight > 0, threshold)
        # One image is padding; then all are, as on a device that got none of an uneven batch.
        for valid in (jnp.arange(6) != 4, jnp.zeros(6, bool)):
            found, wanted = (
                training_step(row_limit)(x, kept, valid) for row_limit in (PAPER_RULE.limits([(8, 6)], threshold)[0], 0)
            )
            (_, (y, there, statistics)), gradients = found
            (_, (y_wanted, there_wanted, statistics_wanted)), gradients_wanted = wanted
            assert_close(y, y_wanted)
            np.testing.assert_array_equal(there, there_wanted)
            for a, b in zip(statistics, statistics_wanted, strict=True):
                assert_close(a, b)
            for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(gradients_wanted), strict=True):
                assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b) + 1e-6


def image(values):
    return jnp.asarray(values, jnp.float32).reshape(1, 2, -1)


def test_multipliers_of_kept_sites_average_one_and_follow_their_attention():
    score = image(np.log([0.1, 0.4, 0.2, 0.3]))
    kept = image([0, 1, 1, 0]) > 0
    found = renormalized(score, kept)
    # 0.4 and 0.2 of what is kept, 0.6: 2/3 and 1/3, times two sites.
    np.testing.assert_allclose(found.reshape(-1), [0, 4 / 3, 2 / 3, 0], rtol=1e-6)


@settings(deadline=None)
@given(hnp.arrays(np.float32, 6, elements=st.floats(-30, 30, width=32)), hnp.arrays(bool, 6))
def test_multipliers_average_exactly_one_whatever_the_scores(score, kept):
    found = np.asarray(renormalized(image(score), image(kept) > 0)).reshape(-1)
    assert np.all(found[~kept] == 0)
    if kept.any():
        assert found.sum() / kept.sum() == pytest.approx(1.0, abs=1e-6)


def test_uniform_scores_and_single_sites_change_nothing():
    kept = image([1, 0, 1, 1]) > 0
    np.testing.assert_allclose(renormalized(image([2.5] * 4), kept), kept.astype(np.float32), rtol=1e-6)
    one = image([0, 0, 1, 0]) > 0
    np.testing.assert_array_equal(renormalized(image([0.3, 9.0, -4.0, 1.0]), one), one.astype(np.float32))
    none = image([0, 0, 0, 0]) > 0
    np.testing.assert_array_equal(renormalized(image([1.0] * 4), none), 0.0)


def test_the_effective_share_is_one_for_even_attention_and_least_for_a_single_site():
    candidate = image([1, 1, 1, 0]) > 0
    even = effective_share(image([1 / 3, 1 / 3, 1 / 3, 0]), candidate)
    single = effective_share(image([0, 1, 0, 0]), candidate)
    np.testing.assert_allclose([even[0], single[0]], [1.0, 1 / 3], rtol=1e-6)
    halves = effective_share(image([0.5, 0.25, 0.25, 0]), candidate)
    np.testing.assert_allclose(halves, [np.exp(1.5 * np.log(2)) / 3], rtol=1e-6)


def test_gradients_of_the_effective_share_are_finite_where_attention_is_zero():
    candidate = image([1, 1, 0, 0]) > 0

    def share(score):
        return effective_share(attention(score, candidate), candidate).sum()

    assert np.all(np.isfinite(jax.grad(share)(image([200.0, -200.0, 0.0, 0.0]))))
