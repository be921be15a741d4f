"""The plan: which utterances form which batch, in which group, padded to which shape."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme2e_jax.data import plan
from mme2e_jax.data.plan import FEATURES, MEDIA, Lengths, Shape


def make_lengths(rows: Sequence[tuple[int, int, int]]) -> Lengths:
    return Lengths(*(np.array(column, np.int64) for column in zip(*rows, strict=True)))


def drawn_lengths(n: int, seed: int = 0) -> Lengths:
    rng = np.random.default_rng(seed)
    return Lengths(rng.integers(3, 120, n), rng.integers(0, 40, n), rng.integers(0, 60, n))


any_lengths = st.lists(
    st.tuples(st.integers(2, 130), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=60
).map(make_lengths)

any_layout = st.sampled_from([MEDIA, FEATURES])


def test_text_rungs_end_with_the_longest_text() -> None:
    assert plan.text_rungs(100) == (16, 32, 48, 64, 100)
    assert plan.text_rungs(64) == (16, 32, 48, 64)
    assert plan.text_rungs(40) == (16, 32, 40)
    assert plan.text_rungs(10) == (10,)


@settings(deadline=None, max_examples=60)
@given(any_lengths, st.integers(1, 16), st.integers(0, 3), st.integers(0, 5))
def test_an_epoch_has_every_utterance_exactly_once(lengths, batch_size, seed, epoch) -> None:
    batches = plan.training_batches(lengths, batch_size, 100, seed, epoch)

    assert Counter(np.concatenate(batches).tolist()) == Counter(range(len(lengths.tokens)))
    assert len(batches) == plan.steps_per_epoch(len(lengths.tokens), batch_size)
    assert all(0 < len(b) <= batch_size for b in batches)
    assert sum(len(b) < batch_size for b in batches) <= 1


@settings(deadline=None, max_examples=40)
@given(any_lengths, st.integers(1, 16), any_layout)
def test_an_evaluation_has_every_utterance_exactly_once(lengths, batch_size, layout) -> None:
    batches = plan.evaluation_batches(lengths, batch_size, layout)

    assert Counter(np.concatenate(batches).tolist()) == Counter(range(len(lengths.tokens)))


@settings(deadline=None, max_examples=60)
@given(any_lengths, st.integers(1, 4), st.integers(1, 4), any_layout)
def test_a_grouped_batch_keeps_its_utterances_and_fits_the_last_resort(lengths, groups, rows, layout) -> None:
    batch_size = groups * rows
    bound = plan.largest_shape(lengths, rows, 100, layout)
    for batch in plan.training_batches(lengths, batch_size, 100, 0, 0):
        grouped = plan.group(batch, lengths, groups, batch_size, layout)

        assert grouped.shape == (groups, rows)
        assert sorted(grouped[grouped >= 0]) == sorted(batch)
        assert all(
            need <= most for need, most in zip(plan.required_shape(grouped, lengths, 100, layout), bound, strict=True)
        )


def test_the_same_seed_and_epoch_give_the_same_plan_and_others_another() -> None:
    lengths = drawn_lengths(50)

    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(plan.training_batches(lengths, 8, 100, seed, epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_full_batches_have_texts_of_one_rung() -> None:
    # Six utterances on each of two rungs, batches of two: no remainder, so no batch mixes.
    lengths = make_lengths([(10, 1, 1)] * 6 + [(30, 1, 1)] * 6)

    for epoch in range(5):
        for batch in plan.training_batches(lengths, 2, 100, 0, epoch):
            assert len(set(lengths.tokens[batch])) == 1


def test_what_a_rung_leaves_over_is_filled_up_from_the_next() -> None:
    lengths = make_lengths([(10, 1, 1)] * 3 + [(30, 1, 1)] * 3)

    batches = plan.training_batches(lengths, 2, 100, 0, 0)

    assert sorted(tuple(sorted(lengths.tokens[b])) for b in batches) == [(10, 10), (10, 30), (30, 30)]


def test_groups_are_dealt_longest_first_to_the_one_with_least_to_do() -> None:
    # Frames only: 9 goes to group 0, 8 to group 1, 5 to group 1's smaller load, 2 to the place that is left.
    lengths = make_lengths([(5, 2, 0), (5, 9, 0), (5, 5, 0), (5, 8, 0)])

    grouped = plan.group(np.array([0, 1, 2, 3], np.int32), lengths, groups=2, batch_size=4, layout=MEDIA)

    assert grouped.tolist() == [[0, 1], [2, 3]]


def test_groups_get_equally_many_rows_even_where_loads_are_unequal() -> None:
    # After 100 in group 0, all others go to group 1 until its two rows are full.
    lengths = make_lengths([(5, 100, 0), (5, 3, 0), (5, 2, 0), (5, 1, 0)])

    grouped = plan.group(np.arange(4, dtype=np.int32), lengths, groups=2, batch_size=4, layout=MEDIA)

    assert grouped.tolist() == [[0, 3], [1, 2]]


def test_rows_left_over_are_padding() -> None:
    lengths = make_lengths([(5, 4, 0), (5, 3, 0), (5, 2, 0)])

    grouped = plan.group(np.arange(3, dtype=np.int32), lengths, groups=2, batch_size=8, layout=MEDIA)

    assert grouped.tolist() == [[0, -1, -1, -1], [1, 2, -1, -1]]


def test_groups_do_not_depend_on_the_order_within_a_batch() -> None:
    lengths = make_lengths([(5, 4, 2)] * 8)
    batch = np.arange(8, dtype=np.int32)

    grouped = [plan.group(order, lengths, 4, 8, MEDIA).tolist() for order in (batch, batch[::-1])]

    assert grouped[0] == grouped[1]


def test_need_is_the_fullest_group_and_the_longest_text_on_a_rung() -> None:
    lengths = make_lengths([(10, 1, 7), (17, 2, 0), (33, 4, 1), (5, 8, 1)])

    assert plan.required_shape(np.array([[0, 1], [2, 3]]), lengths, 100, MEDIA) == Shape(48, 12, 7)
    assert plan.required_shape(np.array([[0, 1], [2, 3]]), lengths, 20, MEDIA) == Shape(20, 12, 7)
    # Padding rows ask for nothing; an axis is never empty.
    assert plan.required_shape(np.array([[0, -1], [-1, -1]]), lengths, 100, MEDIA) == Shape(16, 1, 7)
    assert plan.required_shape(np.array([[1, -1]]), lengths, 100, MEDIA) == Shape(32, 2, 1)


shapes = st.builds(Shape, st.sampled_from([16, 32, 48, 64, 100]), st.integers(1, 200), st.integers(1, 200))


@settings(deadline=None, max_examples=60)
@given(st.lists(shapes, min_size=1, max_size=40), st.integers(1, 6), st.integers(1, 16), any_layout)
def test_a_ladder_holds_all_needs_in_no_more_shapes_than_asked_for(needs, count, rows, layout) -> None:
    ladder = plan.fit_ladder(needs, count, rows, layout)

    assert 1 <= len(ladder) <= count
    for need in needs:
        chosen = plan.choose_shape(ladder, need, rows, layout)
        assert all(have >= want for have, want in zip(chosen, need, strict=True))


def test_a_ladder_of_one_is_the_least_shape_that_holds_all() -> None:
    needs = [Shape(16, 10, 3), Shape(48, 2, 9), Shape(32, 5, 5)]

    assert plan.fit_ladder(needs, 1, rows=4, layout=MEDIA) == (Shape(48, 10, 9),)


def test_a_ladder_merges_what_costs_least_padding() -> None:
    # Two near shapes that many batches need, and a far one.
    needs = [Shape(16, 10, 10)] * 5 + [Shape(16, 11, 11)] * 5 + [Shape(100, 100, 100)]

    assert plan.fit_ladder(needs, 2, rows=4, layout=MEDIA) == (Shape(16, 11, 11), Shape(100, 100, 100))


def test_the_cheapest_shape_that_fits_is_chosen() -> None:
    # One chunk costs 10, one frame 5.6, one token of each of the 8 rows 8.
    ladder = (Shape(16, 10, 10), Shape(16, 20, 10), Shape(16, 10, 20), Shape(32, 20, 20))

    assert plan.choose_shape(ladder, Shape(16, 9, 9), 8, MEDIA) == Shape(16, 10, 10)
    assert plan.choose_shape(ladder, Shape(16, 11, 9), 8, MEDIA) == Shape(16, 20, 10)
    assert plan.choose_shape(ladder, Shape(16, 9, 11), 8, MEDIA) == Shape(16, 10, 20)
    assert plan.choose_shape(ladder, Shape(32, 1, 1), 8, MEDIA) == Shape(32, 20, 20)
    with pytest.raises(ValueError, match="No shape of"):
        plan.choose_shape(ladder, Shape(48, 1, 1), 8, MEDIA)


def test_the_last_resort_is_made_of_the_longest_utterances() -> None:
    lengths = make_lengths([(5, 1, 9), (5, 7, 2), (5, 5, 4)])

    assert plan.largest_shape(lengths, 2, 64, MEDIA) == Shape(64, 12, 13)
    assert plan.largest_shape(make_lengths([(5, 0, 0)]), 2, 64, MEDIA) == Shape(64, 1, 1)


def test_features_need_the_longest_utterance_of_any_group() -> None:
    lengths = make_lengths([(10, 1, 7), (17, 2, 0), (33, 4, 1), (5, 8, 1)])

    assert plan.required_shape(np.array([[0, 1], [2, 3]]), lengths, 100, FEATURES) == Shape(48, 8, 7)
    assert plan.required_shape(np.array([[0, -1], [1, -1]]), lengths, 100, FEATURES) == Shape(32, 2, 7)
    assert plan.required_shape(np.array([[-1, -1]]), lengths, 100, FEATURES) == Shape(16, 1, 1)
    assert plan.largest_shape(lengths, 2, 64, FEATURES) == Shape(64, 8, 7)


def test_a_row_of_features_costs_what_it_costs_in_every_utterance() -> None:
    np.testing.assert_allclose(FEATURES.weights(8), [8.0, 0.112, 1.84])
    np.testing.assert_allclose(MEDIA.weights(8), [8.0, 5.6, 10.0])
    # One text row more is cheaper than ten audio rows more.
    ladder = (Shape(17, 10, 10), Shape(16, 10, 20))

    assert plan.choose_shape(ladder, Shape(16, 9, 9), 8, FEATURES) == Shape(17, 10, 10)


def test_steps_of_an_epoch_count_the_last_smaller_batch() -> None:
    assert [plan.steps_per_epoch(n, 8) for n in (1, 8, 9, 16)] == [1, 1, 2, 2]


def test_padding_stays_small_in_a_realistic_split() -> None:
    """Eight utterances a device, their lengths spread about as CMU-MOSEI's are; measured: 9.8 %."""
    rng = np.random.default_rng(0)
    seconds = np.clip(rng.lognormal(1.9, 0.6, 3000), 0.5, 60)
    lengths = plan.Lengths(
        np.maximum(3, 3 * seconds).astype(int), (2 * seconds).astype(int), (seconds / 0.4).astype(int)
    )
    grouped = [
        plan.group(b, lengths, 1, 8, MEDIA) for e in range(3) for b in plan.training_batches(lengths, 8, 100, 0, e)
    ]
    needs = [plan.required_shape(g, lengths, 100, MEDIA) for g in grouped]
    ladder = plan.fit_ladder(needs, 8, 8, MEDIA)
    held = sum(int(lengths.frames[g[g >= 0]].sum()) for g in grouped)
    padded = sum(plan.choose_shape(ladder, need, 8, MEDIA).frames for need in needs)

    assert 1 - held / padded < 0.15
