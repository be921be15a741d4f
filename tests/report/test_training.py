"""Losses of a run from its step log."""

from pathlib import Path

from mme2e_jax.report.training import read_step_losses, thin_out


def test_invalid_lines_of_a_step_log_are_skipped(tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text('{"step": 0, "loss": 1.5}\n{"step": 1, "loss": null}\n{"step": 2, "loss": 1.25}\n{"step": 3, "lo')

    assert read_step_losses(log) == [(0, 1.5), (2, 1.25)]
    assert read_step_losses(tmp_path / "none") == []


def test_long_runs_are_averaged_over_neighbours() -> None:
    few = [(0, 1.0), (1, 2.0)]

    assert thin_out(few) == few
    assert thin_out([]) == []
    # 2,500 steps in threes: 0, 1, 2 first, 2,499 alone at the end.
    found = thin_out([(step, 2.0 * step) for step in range(2500)])
    assert len(found) == 834
    assert found[0] == (1, 2)
    assert found[-1] == (2499, 4998)
