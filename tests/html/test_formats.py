"""Formatting of times and scores."""

from mme2e_jax.html.formats import format_difference, format_score, format_time


def test_times_have_hours_only_where_needed() -> None:
    assert [format_time(s) for s in (0, 61.25, 59.96, 3723.4)] == ["0:00.0", "1:01.2", "1:00.0", "1:02:03.4"]


def test_a_missing_score_is_a_dash() -> None:
    assert [format_score(value) for value in (0.12345, None)] == ["0.123", "–"]


def test_a_difference_has_its_sign_and_its_interval() -> None:
    assert format_difference(-0.1234, -0.2, 0.01) == "-0.123 (-0.20 to +0.01)"
    assert format_difference(0.5, None, None) == "+0.500"
    assert format_difference(None, None, None) == "–"
