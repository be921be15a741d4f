"""Scores over time from overlapping utterances, and the sentence about them."""

from typing import NamedTuple

import pytest

from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.predict.timeline import Moment, compute_moments, headline


class Window(NamedTuple):
    """A time with scores."""

    start: float
    end: float
    scores: dict[str, float]


NAMES, THRESHOLDS = ("calm", "tense"), {"calm": 0.5, "tense": 0.6}


def test_a_moment_has_the_mean_of_the_windows_that_hold_its_middle() -> None:
    windows = [
        Window(0.0, 1.0, {"calm": 0.9, "tense": 0.1}),
        Window(0.5, 1.5, {"calm": 0.3, "tense": 0.9}),
        Window(2.0, 2.3, {"calm": 0.4, "tense": 0.7}),
    ]

    moments = compute_moments(windows, NAMES, THRESHOLDS, Task.MULTI_LABEL, 0.5)

    assert [m.start for m in moments] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [m.end for m in moments] == [0.5, 1.0, 1.5, 2.0, 2.3]
    assert moments[0].scores == {"calm": 0.9, "tense": 0.1}
    assert moments[1].scores == pytest.approx({"calm": 0.6, "tense": 0.5})
    assert moments[2].scores == {"calm": 0.3, "tense": 0.9}
    assert moments[3] == Moment(1.5, 2.0, {}, ())
    # The last moment ends with the last window, which holds its middle.
    assert moments[4].scores == {"calm": 0.4, "tense": 0.7}
    assert [m.decided for m in moments] == [("calm",), ("calm",), ("tense",), (), ("tense",)]


@pytest.mark.parametrize("end", [2.1, 2.01, 2.5, 2.499999])
def test_the_last_moment_has_the_scores_of_the_last_window(end: float) -> None:
    moments = compute_moments([Window(0.0, end, {"calm": 0.9, "tense": 0.1})], NAMES, THRESHOLDS, Task.MULTI_LABEL, 0.5)

    assert [m.decided for m in moments] == [("calm",)] * 5
    assert moments[-1].end == end


def test_where_one_label_is_chosen_a_moment_without_windows_has_none() -> None:
    windows = [Window(0.0, 1.0, {"calm": 0.2, "tense": 0.8}), Window(2.0, 3.0, {"calm": 0.7, "tense": 0.3})]

    moments = compute_moments(windows, NAMES, {}, Task.SINGLE_LABEL, 1.0)

    assert [m.decided for m in moments] == [("tense",), (), ("calm",)]
    assert compute_moments([], NAMES, {}, Task.SINGLE_LABEL, 1.0) == []


def seconds(*decided: str) -> list[Moment]:
    """One moment of a second for each name; a comma joins labels, "" is none, "-" a moment without windows."""
    return [
        Moment(
            float(k),
            k + 1.0,
            {} if names == "-" else {"calm": 0.5},
            tuple(n for n in names.split(",") if n != "-" and n),
        )
        for k, names in enumerate(decided)
    ]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        (seconds("sad", "sad"), "sad throughout"),
        (seconds("", ""), "no emotion throughout"),
        (
            seconds("sad", "sad", "happy,calm", "", "-", ""),
            "sad until 0:02, then happy and calm until 0:03, then no emotion",
        ),
        (seconds(*["sad"] * 61, "happy"), "sad until 1:01, then happy"),
        (seconds("fear,happy,sad", "fear"), "fear, happy and sad until 0:01, then fear"),
        (seconds("a", "b", "a", "c", "a", "b"), "mostly a (3 s); also b (2 s); c (1 s)"),
        # The second part ends half a second after a whole one.
        (
            [Moment(0.0, 11.5, {"a": 1.0}, ("a",)), Moment(11.5, 12.5, {"a": 1.0}, ("b",)), *seconds("c", "c")],
            "a until 0:12, then b until 0:13, then c",
        ),
        ([], ""),
    ],
)
def test_the_headline_lists_the_emotions_in_the_order_of_time(moments: list[Moment], expected: str) -> None:
    assert headline(moments) == expected


def test_the_headline_leaves_out_what_is_shorter_than_a_second() -> None:
    moments = [Moment(k / 2, k / 2 + 0.5, {"a": 1.0}, (name,)) for k, name in enumerate(["a", "a", "b", "a", "a"])]

    assert headline(moments) == "a throughout"
