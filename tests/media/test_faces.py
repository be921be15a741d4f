"""Tests face detection on a photograph, and the guards around mtcnn."""

from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from mme2e_jax.media.face_choice import MOST_PROBABLE, Box, Face, Scene, choose_face
from mme2e_jax.media.faces import FaceDetector
from mme2e_jax.media.framing import crop_face

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


def first(faces: list[Face]) -> Box:
    """The box of the face that is taken if nothing else is asked for."""
    box = choose_face(faces, MOST_PROBABLE, Scene(256, 256))
    assert box is not None
    return box


def test_the_face_is_where_it_is(detector: FaceDetector, portrait: np.ndarray) -> None:
    (faces,) = detector.find([portrait])

    box = first(faces)
    left, top, right, bottom = FACE
    assert overlap(box, (left / 2, top / 2, right / 2, bottom / 2)) > 0.6


def test_pictures_without_a_face_do_not_disturb_the_others(detector: FaceDetector, portrait: np.ndarray) -> None:
    mirrored = np.ascontiguousarray(portrait[:, ::-1])

    found = detector.find([BLANK, portrait, BLANK, mirrored, BLANK])

    assert [bool(faces) for faces in found] == [False, True, False, True, False]
    left, top, right, bottom = first(found[3])
    # The mirrored face lies at the mirrored place.
    assert overlap(first(found[1]), (256 - right, top, 256 - left, bottom)) > 0.85


def test_a_face_at_the_side_of_a_large_picture_is_found_in_its_own_pixels(detector: FaceDetector) -> None:
    picture = np.full((1080, 1920, 3), 128, np.uint8)
    picture[40:552, 1400:1912] = data.astronaut()

    (faces,) = detector.find([picture])

    left, top, right, bottom = FACE
    assert overlap(first(faces), (1400 + left, 40 + top, 1400 + right, 40 + bottom)) > 0.6


def test_no_face_in_any_picture_is_an_empty_list_for_each(detector: FaceDetector) -> None:
    assert detector.find([BLANK, BLANK]) == [[], []]
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

    found = detector.find([portrait, BLANK])

    assert [bool(faces) for faces in found] == [True, False]
    assert sizes == [2, 1, 1]


def test_every_face_that_has_an_area_is_found(detector: FaceDetector, monkeypatch: pytest.MonkeyPatch) -> None:
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

    assert detector.find([BLANK, BLANK]) == [
        [Face((0, 0, 90, 90), 0.91), Face((10, 10, 40, 40), 0.99)],
        [Face((5, 5, 9, 9), 0.85)],
    ]


@pytest.mark.parametrize(
    ("choice", "previous", "taken"),
    [
        ("largest", None, "large"),
        ("central", None, "small"),
        ("previous", None, "large"),
        ("previous", (240.0, 100.0, 300.0, 170.0), "small"),
    ],
)
def test_of_two_faces_in_a_photograph_the_chosen_one_is_taken(
    detector: FaceDetector, portrait: np.ndarray, choice: str, previous: Box | None, taken: str
) -> None:
    # A face of 48 x 60 pixels at the left, and one of half that size in the middle.
    picture = np.full((256, 512, 3), 128, np.uint8)
    picture[:, :256] = portrait
    picture[64:192, 200:328] = cv2.resize(portrait, (128, 128), interpolation=cv2.INTER_AREA)
    left, top, right, bottom = (side / 2 for side in FACE)
    small = (200 + left / 2, 64 + top / 2, 200 + right / 2, 64 + bottom / 2)
    boxes = {"large": (left, top, right, bottom), "small": small}

    (faces,) = detector.find([picture])
    box = choose_face(faces, choice, Scene(512, 256, previous))

    assert len(faces) == 2
    assert box is not None
    assert overlap(box, boxes[taken]) > 0.5


def test_graphs_of_the_networks_find_the_same_boxes_as_the_package(
    detector: FaceDetector, portrait: np.ndarray
) -> None:
    from mtcnn import MTCNN

    found: Any = MTCNN().detect_faces([portrait], box_format="xyxy")

    (faces,) = detector.find([portrait])

    np.testing.assert_allclose(first(faces), found[0][0]["box"], atol=0.5 + 1e-3)  # the package rounds


def test_the_crop_of_a_found_face_is_mostly_skin(detector: FaceDetector, portrait: np.ndarray) -> None:
    (faces,) = detector.find([portrait])

    red, green, blue = crop_face(portrait, first(faces))[16:40, 12:36].reshape(-1, 3).mean(0)

    assert red > green > blue
    assert red > 150


def test_after_a_warm_up_no_search_makes_another_graph(portrait: np.ndarray) -> None:
    detector = FaceDetector()
    models = [stage._model for stage in detector._mtcnn.stages]

    detector.warm_up()

    made = [model.experimental_get_tracing_count() for model in models]
    assert all(detector.find([portrait]))
    assert all(detector.find([portrait[:, ::-1], portrait, portrait]))
    assert all(detector.find([cv2.resize(portrait, (320, 200))]))
    assert [model.experimental_get_tracing_count() for model in models] == made


@pytest.mark.parametrize("size", [20, 36, 48, 97])
def test_small_pictures_are_no_error(detector: FaceDetector, size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)

    assert len(detector.find([noise, noise])) == 2
