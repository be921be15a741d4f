"""The course of a run, from its log of steps."""

from pathlib import Path

from mme2e_jax.report.training import step_losses, thinned


def test_lines_that_are_no_steps_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text('{"step": 0, "loss": 1.5}\n{"step": 1, "loss": null}\n{"step": 2, "loss": 1.25}\n{"step": 3, "lo')

    assert step_losses(log) == [(0, 1.5), (2, 1.25)]
    assert step_losses(tmp_path / "none") == []


def test_long_runs_are_drawn_as_means_of_neighbours() -> None:
    few = [(0, 1.0), (1, 2.0)]

    assert thinned(few) == few
    assert thinned([]) == []
    # 2,500 steps in threes: 0, 1, 2 first, 2,499 alone at the end.
    found = thinned([(step, 2.0 * step) for step in range(2500)])
    assert len(found) == 834
    assert found[0] == (1, 2)
    assert found[-1] == (2499, 4998)
