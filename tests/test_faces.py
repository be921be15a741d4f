"""Face detection on a real photograph, and the guards around the mtcnn package."""

from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from data_tools.faces import FaceDetector
from data_tools.framing import Box, crop_face

# The face of skimage.data.astronaut() (512 x 512), by eye: left, top, right, bottom.
FACE = (175.0, 60.0, 270.0, 180.0)
BLANK = np.full((256, 256, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return cv2.resize(data.astronaut(), (256, 256), interpolation=cv2.INTER_AREA)


def overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return common / (sum(areas) - common)


def test_the_face_is_where_it_is(detector: FaceDetector, portrait: np.ndarray) -> None:
    (box,) = detector.find([portrait])

    assert box is not None
    left, top, right, bottom = FACE
    assert overlap(box, (left / 2, top / 2, right / 2, bottom / 2)) > 0.6


def test_pictures_without_a_face_do_not_disturb_the_others(detector: FaceDetector, portrait: np.ndarray) -> None:
    mirrored = np.ascontiguousarray(portrait[:, ::-1])

    boxes = detector.find([BLANK, portrait, BLANK, mirrored, BLANK])

    assert [box is not None for box in boxes] == [False, True, False, True, False]
    assert boxes[1] is not None
    assert boxes[3] is not None
    # The mirrored face lies at the mirrored place.
    flipped = (256 - boxes[3][2], boxes[3][1], 256 - boxes[3][0], boxes[3][3])
    assert overlap(boxes[1], flipped) > 0.85


def test_no_face_in_any_picture_is_none_for_each(detector: FaceDetector) -> None:
    assert detector.find([BLANK, BLANK]) == [None, None]
    assert detector.find([]) == []


def test_a_batch_that_fails_in_silence_is_repeated_one_by_one(
    detector: FaceDetector, portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = detector._mtcnn.detect_faces
    sizes = []

    def fails_for_batches(pictures: list[np.ndarray], **options: Any) -> Any:
        sizes.append(len(pictures))
        # What mtcnn 1.0.0 returns after swallowing an error.
        return np.empty((0, 16)) if len(pictures) > 1 else whole(pictures, **options)

    monkeypatch.setattr(detector._mtcnn, "detect_faces", fails_for_batches)

    boxes = detector.find([portrait, BLANK])

    assert [box is not None for box in boxes] == [True, False]
    assert sizes == [2, 1, 1]


def test_the_most_probable_of_several_faces_is_taken(detector: FaceDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    def several(pictures: list[np.ndarray], **options: Any) -> np.ndarray:
        rows = np.zeros((4, 16))
        # picture, left, top, right, bottom, probability
        rows[:, :6] = [
            [0, 0, 0, 90, 90, 0.91],
            [0, 10, 10, 40, 40, 0.99],
            [1, 5, 5, 9, 9, 0.85],
            [0, 50, 50, 50, 60, 1.00],  # empty: no pixel inside
        ]
        return rows

    monkeypatch.setattr(detector._mtcnn, "detect_faces", several)

    assert detector.find([BLANK, BLANK]) == [(10, 10, 40, 40), (5, 5, 9, 9)]


def test_graphs_of_the_networks_find_the_same_boxes_as_the_package(
    detector: FaceDetector, portrait: np.ndarray
) -> None:
    from mtcnn import MTCNN

    found: Any = MTCNN().detect_faces([portrait], box_format="xyxy")

    (box,) = detector.find([portrait])

    assert box is not None
    np.testing.assert_allclose(box, found[0][0]["box"], atol=0.5 + 1e-3)  # the package rounds


def test_the_crop_of_a_found_face_is_mostly_skin(detector: FaceDetector, portrait: np.ndarray) -> None:
    (box,) = detector.find([portrait])
    assert box is not None

    red, green, blue = crop_face(portrait, box)[16:40, 12:36].reshape(-1, 3).mean(0)

    assert red > green > blue
    assert red > 150


@pytest.mark.parametrize("size", [20, 36, 48, 97])
def test_small_pictures_are_no_error(detector: FaceDetector, size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)

    assert len(detector.find([noise, noise])) == 2
