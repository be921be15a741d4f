"""Tests crops with hand-computed corners."""

import numpy as np
import pytest

from mme2e_jax.media.framing import VIEWS, centre_view, crop_centre, crop_face, view_part


def coordinates(height: int, width: int) -> np.ndarray:
    """A picture whose red is the row, green the column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_a_tall_frame_is_halved_and_cut_in_the_middle() -> None:
    frame = np.zeros((720, 1280, 3), np.uint8)
    # Halved: 360 x 640, of which columns 140 to 500 stay, that is 280 to 1000 of the frame.
    frame[:, 280:1000] = 200

    view = centre_view(frame)

    assert view.shape == (360, 360, 3)
    assert (view == 200).all()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("height", "width"), [(720, 1280), (360, 640), (240, 320), (300, 200), (480, 600)])
def test_the_part_that_a_view_shows_is_where_its_pixels_come_from(view: str, height: int, width: int) -> None:
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([(columns + 0.5) / width, (rows + 0.5) / height, 0 * rows], axis=-1).astype(np.float32)

    seen = VIEWS[view](frame)

    left, top, right, bottom = view_part(view, width, height)
    x, y = ((np.arange(size) + 0.5) / size for size in (seen.shape[1], seen.shape[0]))
    np.testing.assert_allclose(seen[0, :, 0], left + x * (right - left), atol=1e-5)
    np.testing.assert_allclose(seen[:, 0, 1], top + y * (bottom - top), atol=1e-5)


def test_a_frame_of_360_rows_is_not_halved() -> None:
    frame = np.zeros((360, 640, 3), np.uint8)
    frame[:, 140:500] = 200

    assert (centre_view(frame) == 200).all()
    assert centre_view(frame).shape == (360, 360, 3)


@pytest.mark.parametrize(
    ("height", "width", "size"), [(240, 320, 240), (360, 300, 300), (1080, 1920, 360), (500, 600, 250)]
)
def test_small_frames_give_the_largest_centred_square(height: int, width: int, size: int) -> None:
    assert centre_view(np.zeros((height, width, 3), np.uint8)).shape == (size, size, 3)


def test_the_square_of_a_small_frame_is_central() -> None:
    view = centre_view(coordinates(100, 120))

    np.testing.assert_array_equal(view[0, 0], [0, 10, 0])
    np.testing.assert_array_equal(view[-1, -1], [99, 109, 0])


def test_a_face_of_46_pixels_gets_one_pixel_of_margin_on_each_side() -> None:
    # margin = 2 * 46 / (48 - 2) = 2 pixels, 1 on each side: rows 29 to 77, columns 49 to 97, which
    # are 48 pixels and need no resizing.
    face = crop_face(coordinates(120, 160), (50.0, 30.0, 96.0, 76.0))

    np.testing.assert_array_equal(face, coordinates(120, 160)[29:77, 49:97])


def test_a_face_of_92_pixels_is_averaged_over_two_by_two() -> None:
    # margin = 2 * 92 / 46 = 4, 2 on each side: rows 8 to 104, columns 18 to 114, 96 pixels each.
    picture = coordinates(120, 160)

    face = crop_face(picture, (20.0, 10.0, 112.0, 102.0))

    # The mean of rows 8 and 9 is 8.5, which rounds to 8 or 9; so on in steps of 2.
    assert face.shape == (48, 48, 3)
    assert abs(int(face[0, 0, 0]) - 8.5) <= 0.5
    assert abs(int(face[47, 47, 0]) - (8.5 + 94)) <= 0.5
    assert abs(int(face[0, 47, 1]) - (18.5 + 94)) <= 0.5


def test_a_face_at_the_border_is_clamped() -> None:
    # margin = 2 * 46 / 46 = 2: from -1 and 75 in both directions, clamped to 0 and 60.
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[:60, :60] = 90

    face = crop_face(picture, (0.0, 0.0, 74.0, 74.0))

    assert face.shape == (48, 48, 3)
    assert (face == 90).all()


def test_fractions_of_a_pixel_are_cut_off() -> None:
    # margin = 2 * 43.7 / 46 = 1.9, 0.95 on each side: 10.75 to 56.35, so 10 to 56: 46 pixels.
    picture = coordinates(80, 80)

    face = crop_face(picture, (11.7, 11.7, 55.4, 55.4))

    assert face[0, 0].tolist()[:2] == [10, 10]
    assert face[47, 47].tolist()[:2] == [55, 55]


def test_the_stand_in_is_the_true_centre() -> None:
    # (240 - 48) / 2 = 96: rows and columns 96 to 144.
    np.testing.assert_array_equal(crop_centre(coordinates(240, 240)), coordinates(240, 240)[96:144, 96:144])


def test_the_stand_in_of_a_tiny_picture_is_enlarged() -> None:
    assert crop_centre(np.full((20, 30, 3), 7, np.uint8)).shape == (48, 48, 3)


def test_each_half_is_cut_in_its_own_middle() -> None:
    # 480 x 720 as IEMOCAP's: halves of 360 columns, rows 128..351 and columns 68..291 of them.
    frame = np.zeros((480, 720, 3), np.uint8)
    frame[128:352, 68:292] = 1
    frame[128:352, 428:652] = 2

    left, right = VIEWS["left"](frame), VIEWS["right"](frame)

    assert left.shape == right.shape == (224, 224, 3)
    assert (left == 1).all()
    assert (right == 2).all()


def test_halves_of_small_frames_give_their_largest_square() -> None:
    assert VIEWS["left"](np.zeros((100, 641, 3), np.uint8)).shape == (100, 100, 3)
    assert VIEWS["right"](np.zeros((300, 101, 3), np.uint8)).shape == (50, 50, 3)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_of_a_single_pixel_is_that_pixel(view: str) -> None:
    np.testing.assert_array_equal(VIEWS[view](np.full((1, 1, 3), 7, np.uint8)), np.full((1, 1, 3), 7))
