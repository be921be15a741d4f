"""Tests videos that are stored as numbered images."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from mme2e_jax.media.image_sequence import image_numbers, images_at, sequence_duration
from mme2e_jax.media.utterance import ImageSequence
from mme2e_jax.media.video import VideoError


@pytest.fixture
def pictures(tmp_path: Path) -> ImageSequence:
    """Twelve pictures at 4 a second; number i is of brightness 20 * i."""
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"image_{i}.jpg"), np.full((8, 8, 3), 20 * i, np.uint8))
    for name in ("image_L_3.jpg", "image_x.jpg", "audio.wav", "image_99.jpg.part"):
        (tmp_path / name).touch()
    return ImageSequence(tmp_path, "image_", 4.0)


def test_numbers_are_sorted_as_numbers(pictures: ImageSequence) -> None:
    assert image_numbers(pictures) == list(range(12))
    assert sequence_duration(pictures) == 3.0


def test_the_picture_on_screen_is_chosen(pictures: ImageSequence) -> None:
    # 0.4999 s is within the tolerance of a millisecond of picture 2.
    shown = {i: picture.mean() for i, picture in images_at(pictures, [0.0, 0.3, 0.4999, 2.75])}

    np.testing.assert_allclose(list(shown.values()), [0, 20, 40, 220], atol=2)
    assert list(shown) == [0, 1, 2, 3]


def test_the_name_of_the_folder_need_not_be_utf8(pictures: ImageSequence) -> None:
    folder = pictures.folder.rename(pictures.folder.with_name(os.fsdecode(b"caf\xe9")))

    ((_, picture),) = images_at(ImageSequence(folder, "image_", 4.0), [0.5])

    assert picture.mean() == pytest.approx(40, abs=2)


def test_colours_are_rgb(tmp_path: Path) -> None:
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 0] = 255  # as OpenCV has it
    cv2.imwrite(str(tmp_path / "image_R_0.jpg"), blue)

    ((_, picture),) = images_at(ImageSequence(tmp_path, "image_R_", 30.0), [0.0])

    np.testing.assert_allclose(picture.mean((0, 1)), [0, 0, 255], atol=3)


def test_a_missing_or_broken_picture_ends_the_video(pictures: ImageSequence) -> None:
    (pictures.folder / "image_2.jpg").write_bytes(b"no picture")
    read = []

    def read_all() -> None:
        for i, _ in images_at(pictures, [0.0, 0.25, 0.5, 0.75]):
            read.append(i)

    with pytest.raises(VideoError, match=r"image_2\.jpg is missing or not an image"):
        read_all()
    assert read == [0, 1]


def test_a_folder_without_pictures_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no images"):
        sequence_duration(ImageSequence(tmp_path, "image_", 2.0))


@pytest.mark.parametrize("size", [b"\x7f\xff\x7f\xff", b"\x20\x00\x20\x00"])
def test_an_image_that_states_a_size_beyond_memory_is_a_video_error(pictures: ImageSequence, size: bytes) -> None:
    content = (pictures.folder / "image_0.jpg").read_bytes()
    # Height and width are in the header of the frame, after its length and the bits of a sample.
    start = content.index(b"\xff\xc0") + 5
    (pictures.folder / "image_0.jpg").write_bytes(content[:start] + size + content[start + 4 :])

    with pytest.raises(VideoError, match=r"expected at most 40000000 pixels|image_0\.jpg is missing or not an image"):
        list(images_at(pictures, [0.0]))
