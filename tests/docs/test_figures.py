"""The stored figures of the documentation are what their scripts draw."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from docs.figures import sparse_blocks, teacher
from tests.training.test_teaching import run, small


@pytest.mark.parametrize("name", ["sparse_blocks", "architecture"])
def test_a_figure_is_current(name: str, tmp_path: Path) -> None:
    drawn, stored = tmp_path / "drawn.png", Path(f"docs/figures/{name}.png")
    subprocess.run([sys.executable, "-m", f"docs.figures.{name}", f"--out={drawn}"], check=True)

    before, now = imread(stored), imread(drawn)
    assert before.shape == now.shape
    # Letters may be drawn slightly differently elsewhere; one site more or less is a thousandth of the picture.
    assert np.mean(np.abs(before - now)) < 2e-4, f"run python -m docs.figures.{name}"
    assert stored.stat().st_size < 200_000


def test_the_figure_shows_what_the_page_says() -> None:
    found = sparse_blocks.selection()

    for stage in found.stages:
        weight, kept = np.asarray(stage.weight, np.float64), np.asarray(stage.kept)
        held = (weight * kept).sum(axis=(1, 2))
        least = np.where(kept, weight, np.inf).min(axis=(1, 2))
        assert np.all(held >= sparse_blocks.THRESHOLD - 1e-5)
        assert np.all(held - least < sparse_blocks.THRESHOLD + 1e-5)
    # Not all or nothing, so that there is something to see.
    assert all(0.2 < np.asarray(stage.kept).mean() < 0.6 for stage in found.stages)
    assert len(found.sites.site) == 1024


@pytest.mark.slow
def test_a_taught_run_has_a_figure(records: Path, tmp_path: Path) -> None:
    config = small(records)
    run(config, tmp_path)

    images = teacher.look(*teacher.taught_run(tmp_path), faces=2, chunks=0)
    figure = teacher.draw(images)

    assert len(figure.axes) == 2 * 6
    for image in images:
        assert image.target.sum() == pytest.approx(1.0, abs=1e-5)
        assert image.target.shape == (24, 24)
        fresh, trained = image.attention
        assert not np.array_equal(fresh, trained)
        assert all(0 < kept.mean() <= 0.5 + 1 / 576 for kept in image.kept)


@pytest.mark.slow
def test_a_run_without_a_teacher_has_none(sparse_run: Path) -> None:
    with pytest.raises(SystemExit, match="expected a run with a teacher"):
        teacher.taught_run(sparse_run)
