"""The figures of the documentation are those that their scripts draw."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from docs.figures import sparse_blocks


def test_the_figure_of_the_sparse_blocks_is_current(tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.png"
    subprocess.run([sys.executable, "-m", "docs.figures.sparse_blocks", f"--out={drawn}"], check=True)

    stored, new = imread(sparse_blocks.FILE), imread(drawn)
    assert stored.shape == new.shape
    # Letters may be drawn a little otherwise elsewhere; one site more or less is a thousandth of the picture.
    assert np.mean(np.abs(stored - new)) < 2e-4
    assert sparse_blocks.FILE.stat().st_size < 200_000


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
    assert len(found.sites.place) == 1024
