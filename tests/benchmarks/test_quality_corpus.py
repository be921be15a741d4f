"""Lift, and where faces move and speakers speak, on arrays made by hand."""

import json
from pathlib import Path

import numpy as np

from benchmarks.quality_corpus import lift, moving_region, per_site, voiced_columns


def test_lift_is_the_density_of_marked_pixels_relative_to_all_sites() -> None:
    marked = np.zeros((4, 4), bool)
    marked[:2, :2] = True
    share = per_site(marked, 2, 2)
    np.testing.assert_array_equal(share, [[1.0, 0.0], [0.0, 0.0]])

    kept = np.array([[[True, True], [False, False]], [[True, False], [False, False]]])
    # Two of three kept sites are marked, and a quarter of all.
    assert lift(kept, share) == (2 / 3) / (1 / 4)
    assert lift(np.ones_like(kept), share) == 1.0
    # An image that keeps more of its sites is no better for it.
    nothing = np.stack([share, np.zeros_like(share)])
    assert lift(np.array([[[True, False], [True, False]], [[True, True], [True, True]]]), nothing) == 2.0


def test_columns_are_voiced_down_to_a_hundredth_of_the_loudest_power() -> None:
    mel = np.zeros((2, 128, 3), np.float32)
    mel[0, 5], mel[1, 9] = [1.0, 0.02, 0.009], [0.0, 0.5, 0.0]

    np.testing.assert_array_equal(voiced_columns(mel), [[True, True, False], [False, True, False]])


def test_the_region_is_where_expressions_change_a_speakers_face(tmp_path: Path) -> None:
    shown = [[], ["happy"], ["happy", "sad"]]
    clips = [{"video": "v", "index": i, "speaker": 0, "face": face} for i, face in enumerate(shown)]
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "truth.json").write_text(json.dumps({"clips": clips}))
    neutral = np.full((4, 48, 48, 3), 100, np.uint8)
    happy, both = neutral.copy(), neutral.copy()
    # A mouth, which is fewer than a third of the inner face's pixels, and a change outside of it.
    happy[:, 34:40, 18:30], happy[:, :4, :4], both[:, 10:20, 10:38] = 150, 255, 0
    faces = {"v[0]": neutral, "v[1]": happy, "v[2]": both}

    region = moving_region(tmp_path, faces)

    assert region[34:40, 18:30].all()
    assert not region[:4, :4].any()
