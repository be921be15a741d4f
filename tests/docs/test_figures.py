"""The stored figures of the documentation are what their scripts draw."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from docs.figures import sparse_blocks


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
