"""Tests video features by hand for painted squares."""

import numpy as np
import pytest

from mme2e_jax.media.features.video import REGIONS, STATISTICS, video_features
from tests.helpers.closeness import assert_close


def one(face: np.ndarray) -> np.ndarray:
    (row,) = video_features(face[None].astype(np.uint8), np.ones(1, bool))
    return row


def column(region: str, statistic: str) -> int:
    return 4 + 5 * list(REGIONS).index(region) + STATISTICS.index(statistic)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1)


def paint(face: np.ndarray, region: str, color: tuple[int, int, int]) -> np.ndarray:
    top, bottom, left, right = REGIONS[region]
    painted = face.copy()
    painted[top:bottom, left:right] = color
    return painted


FLAT = np.full((48, 48, 3), 119)
Y, X = np.mgrid[:48, :48]


def test_a_frame_without_a_face_is_zero_whatever_it_shows() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)

    rows = video_features(faces, np.array([True, False, True]))

    assert rows.shape == (3, 35)
    assert rows.dtype == np.float32
    assert (rows[1] == 0).all()
    assert rows[:, 34].tolist() == [1, 0, 1]
    assert_close(rows[2], one(faces[2]))


def test_no_frames_are_no_rows() -> None:
    rows = video_features(np.zeros((0, 48, 48, 3), np.uint8), np.zeros(0, bool))

    assert rows.shape == (0, 35)
    assert rows.dtype == np.float32


def test_a_flat_grey_face_has_a_lightness_and_nothing_else() -> None:
    row = one(FLAT)

    # Grey 119 has lightness 50 in CIE Lab, and neither redness nor yellowness (which is centred at 10).
    np.testing.assert_allclose(row[:4], [(50 - 60) / 15, -15 / 5, 0, -1], atol=0.01)
    for region in REGIONS:
        start = column(region, "lightness")
        # log10 of the faintest slope is -3; edges are centred at -1.
        np.testing.assert_allclose(row[start : start + 5], [0, 0, -2, 0, 0], atol=0.01)


@pytest.mark.parametrize(
    ("stripes", "upright", "slanted"),
    [(X, 1, 0), (Y, -1, 0), (X + Y, 0, 1), (X - Y, 0, -1)],
    ids=["upright", "flat", "rising", "falling"],
)
def test_edges_have_a_direction(stripes: np.ndarray, upright: float, slanted: float) -> None:
    # Lines of equal X + Y rise from bottom left to top right: rows count downwards.
    row = one(grey(128 + 100 * np.sin(stripes * 0.7)))

    for region in REGIONS:
        assert row[column(region, "edges")] > 0
        assert row[column(region, "edges_upright")] == pytest.approx(upright, abs=0.2)
        assert row[column(region, "edges_slanted")] == pytest.approx(slanted, abs=0.2)


@pytest.mark.parametrize("region", REGIONS)
def test_a_region_sees_what_is_painted_in_it(region: str) -> None:
    dark, red = one(paint(FLAT, region, (20, 20, 20))), one(paint(FLAT, region, (200, 60, 60)))

    lightness = {name: dark[column(name, "lightness")] for name in REGIONS}
    redness = {name: red[column(name, "redness")] for name in REGIONS}

    assert min(lightness, key=lambda name: lightness[name]) == region
    assert lightness[region] < -1
    assert all(lightness[name] > 0 for name in REGIONS if name != region)
    assert max(redness, key=lambda name: redness[name]) == region
    assert all(redness[name] < 0 for name in REGIONS if name != region)


def test_a_mirrored_face_swaps_left_and_right() -> None:
    smooth = 60 + 2 * X + 40 * np.sin(Y / 4) + 30 * np.cos((X - 2 * Y) / 9)
    row, mirrored = one(grey(smooth)), one(grey(smooth[:, ::-1]))

    for left, right in (("left_brow", "right_brow"), ("mouth_left", "mouth_right")):
        for statistic, sign in zip(STATISTICS, (1, 1, 1, 1, -1), strict=True):
            assert row[column(left, statistic)] == pytest.approx(sign * mirrored[column(right, statistic)], abs=0.02)


@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_are_finite(value: int) -> None:
    assert np.isfinite(one(np.full((48, 48, 3), value))).all()
