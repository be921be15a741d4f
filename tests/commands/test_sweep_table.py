"""Mean and spread of several runs' metrics, against hand-computed values."""

import io

import pytest
from rich.console import Console

from mme2e_jax.commands.sweep_table import summary, summary_table


def report(f1: float, auc: float | None) -> dict:
    return {"valid": {"mean": {"f1": f1 / 2, "auc": auc}}, "test": {"mean": {"f1": f1, "auc": auc}}}


def test_the_spread_is_that_of_a_sample() -> None:
    found = summary([report(0.2, 0.5), report(0.4, 0.5), report(0.6, 0.5)])

    # Squares of -0.2, 0, 0.2 over 2 degrees of freedom: 0.04.
    assert found["test"]["f1"] == {"mean": pytest.approx(0.4), "std": pytest.approx(0.2), "n": 3}
    assert found["valid"]["f1"] == {"mean": pytest.approx(0.2), "std": pytest.approx(0.1), "n": 3}
    assert found["test"]["auc"]["std"] == 0.0
    assert found["runs"] == 3


def test_a_metric_that_a_run_does_not_have_is_left_out_of_the_mean() -> None:
    found = summary([report(0.2, None), report(0.4, 0.7)])

    assert found["test"]["auc"] == {"mean": 0.7, "std": None, "n": 1}
    assert summary([report(0.2, None)])["test"]["auc"] == {"mean": None, "std": None, "n": 0}


def test_the_table_has_a_row_for_each_metric_of_each_point_and_names_the_deviation() -> None:
    points = [
        {"values": {"optim.lr": "0.1"}, **summary([report(0.2, 0.5), report(0.4, 0.7)])},
        {"values": {"optim.lr": "0.2"}, **summary([report(0.3, None)])},
    ]
    output = io.StringIO()
    Console(file=output, width=100).print(summary_table(points))
    text = output.getvalue()

    assert "sample standard deviation (ddof=1)" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["optim.lr=0.1", "2", "f1", "0.150 ± 0.071", "0.300 ± 0.141"],
        ["", "", "auc", "0.600 ± 0.141", "0.600 ± 0.141"],
        ["optim.lr=0.2", "1", "f1", "0.150", "0.300"],
        ["", "", "auc", "", ""],
    ]
