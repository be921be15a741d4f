"""The faces of a video, found with and without the search for small ones."""

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
import pytest
from skimage import data

from mme2e_jax.media.face_choice import MOST_PROBABLE, TRACKED, Box, Face, Scene, choose_face
from mme2e_jax.media.face_search import FaceSearch, Frame
from mme2e_jax.media.faces import BATCH_SIZE, FaceDetector

SIZE = (480, 360)  # width and height of the made pictures


class Recorded:
    """A detector that notes what it was asked for."""

    def __init__(self, faces_of: Any):
        """Args: faces_of: function of pictures and smallest side, as `FaceDetector.find`."""
        self._faces_of = faces_of
        self.calls: list[tuple[int, float]] = []  # number of pictures, and side of the smallest faces

    def find(self, images: Sequence[np.ndarray], smallest: float = 0.0) -> list[list[Face]]:
        self.calls.append((len(images), smallest))
        return self._faces_of(images, smallest)


def searched(
    detector: Recorded, images: Sequence[np.ndarray], choice: str = TRACKED, view: str = ""
) -> list[Box | None]:
    """The boxes that an utterance of these frames takes."""
    search = FaceSearch(cast(FaceDetector, detector), choice)
    taken: list[Box | None] = []
    last: list[Box] = []

    def take(frame: Frame, faces: list[Face]) -> list[Box]:
        height, width = frame.image.shape[:2]
        box = choose_face(faces, choice, Scene(width, height, last[0] if last else None))
        taken.append(box)
        if box or faces:
            last[:] = [box] if box else []
        return [box] if box else []

    frames = [Frame(i, view[i : i + 1], image) for i, image in enumerate(images)]
    for start in range(0, len(frames), BATCH_SIZE):
        search.find(frames[start : start + BATCH_SIZE], lambda _: last, take)
    return taken


def picture(*faces: tuple[int, int, int], blank: int = 90) -> np.ndarray:
    """A picture with the astronaut's head at places: left, top and width in pixels, of which the face has a half."""
    head = data.astronaut()[20:220, 130:320]
    made = np.full((SIZE[1], SIZE[0], 3), blank, np.uint8)
    for left, top, width in faces:
        height = round(width * head.shape[0] / head.shape[1])
        small = cv2.resize(head, (width, height), interpolation=cv2.INTER_AREA)
        x, y = max(left, 0), max(top, 0)
        part = small[y - top : SIZE[1] - top, x - left : SIZE[0] - left]
        made[y : y + part.shape[0], x : x + part.shape[1]] = part
    return made


MOVES = {
    "moves": [picture((20 + 12 * i, 40 + 4 * i, 160)) for i in range(12)],
    "comes nearer and goes away": [picture((60, 40, w)) for w in (90, 110, 140, 180, 220, 260, 220, 170, 120, 90)],
    "leaves and comes back": [picture((left, 60, 150)) for left in (40, 180, 320, 470, 470, 330, 120, 60)],
    "cuts to a wider view": [picture((60, 30, 240))] * 3 + [picture((300, 150, 70))] * 4 + [picture((60, 30, 240))],
    "a larger face enters": [picture((20, 40, 140))] * 3 + [picture((20, 40, 140), (220, 60, 230))] * 5,
    "two faces": [picture((20 + 5 * i, 40, 150), (280, 80 + 5 * i, 110)) for i in range(9)],
    "no face at first": [picture()] * 10 + [picture((100, 60, 130))] * 3,
}


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.mark.parametrize("name", MOVES)
def test_the_same_faces_are_taken_as_among_faces_of_all_sizes(name: str, detector: FaceDetector) -> None:
    recorded = Recorded(detector.find)
    everything = Recorded(lambda images, _: detector.find(images))

    found, wanted = searched(recorded, MOVES[name]), searched(everything, MOVES[name])

    assert [box is None for box in found] == [box is None for box in wanted]
    pairs = [(box, other) for box, other in zip(found, wanted, strict=True) if box and other]
    assert pairs
    for box, other in pairs:
        np.testing.assert_allclose(box, other, atol=2)
    if name != "no face at first":
        # Most pictures are searched once, for large faces.
        assert sum(count for count, smallest in recorded.calls if smallest > 20) > len(found) / 2


def test_small_faces_are_looked_for_until_one_is_followed() -> None:
    detector = Recorded(lambda images, _: [[Face((0, 0, 100, 120), 0.9)]] * len(images))

    searched(detector, [picture()] * (BATCH_SIZE + 3))

    assert detector.calls == [(1, 0.0), (BATCH_SIZE - 1, 50.0), (3, 50.0)]


def test_pictures_without_a_face_are_searched_together() -> None:
    detector = Recorded(lambda images, _: [[]] * len(images))

    searched(detector, [picture()] * BATCH_SIZE)

    assert detector.calls == [(1, 0.0), (BATCH_SIZE - 1, 0.0)]


def test_other_choices_need_all_faces() -> None:
    detector = Recorded(lambda images, _: [[Face((0, 0, 100, 120), 0.9)]] * len(images))

    searched(detector, [picture()] * BATCH_SIZE, MOST_PROBABLE)

    assert detector.calls == [(BATCH_SIZE, 0.0)]


def test_views_are_followed_each_for_itself() -> None:
    detector = Recorded(lambda images, _: [[Face((0, 0, 100, 120), 0.9)]] * len(images))

    searched(detector, [picture()] * 5, view="llrrl")

    assert detector.calls == [(1, 0.0), (1, 50.0), (1, 0.0), (1, 50.0), (1, 50.0)]


@pytest.mark.parametrize(
    "second",
    [
        [],  # gone
        [Face((0, 0, 70, 70), 0.9)],  # smaller than it was
        [Face((300, 0, 420, 120), 0.9)],  # another person
    ],
)
def test_a_frame_whose_faces_do_not_suffice_is_searched_again(second: list[Face]) -> None:
    first, small = Face((0, 0, 100, 120), 0.9), Face((5, 5, 95, 105), 0.95)

    def faces_of(images: Sequence[np.ndarray], smallest: float) -> list[list[Face]]:
        return [[first] if image.mean() < 50 else second if smallest else [small] for image in images]

    detector = Recorded(faces_of)

    found = searched(detector, [picture(blank=10), picture(blank=200), picture(blank=10)])

    assert found == [first.box, small.box, first.box]
    assert detector.calls == [(1, 0.0), (2, 50.0), (1, 0.0)]
