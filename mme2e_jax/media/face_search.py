"""Finds a video's faces, small ones only where they matter.

Most of a detection is the search for faces of 20 to 60 pixels. While a face is followed (`face_choice.TRACKED`), faces
of less than half its size have no chance to be taken. A frame in which the followed face is gone, or smaller than it
was, is searched again for faces of all sizes.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mme2e_jax.media.face_choice import TRACKED, Box, Face, is_same_face
from mme2e_jax.media.faces import FaceDetector

_SMALLEST = 0.5  # side of the smallest faces that are looked for, relative to the face before
_LEAST = 0.8  # side of the largest face that must be found then, relative to the face before


class Frame(NamedTuple):
    """A picture of a video."""

    index: int
    view: str  # the part of the video's pictures that it shows
    image: np.ndarray  # uint8 RGB `[h, w, 3]`
    part: Box = (0.0, 0.0, 1.0, 1.0)  # what the image shows of the video's picture, see `framing.view_part`


class FaceSearch:
    """Finds the faces of the frames of one video, in order of time."""

    def __init__(self, detector: FaceDetector, choice: str):
        """Args: choice: one of `face_choice.CHOICES`; only `TRACKED` allows to leave out small faces."""
        self._detector, self._tracked = detector, choice == TRACKED
        self._sides: dict[str, float] = {}  # by view, the side of the smallest face that was taken in the last frame

    def find(
        self,
        frames: Sequence[Frame],
        followed: Callable[[Frame], Sequence[Box]],
        take: Callable[[Frame, list[Face]], Sequence[Box]],
    ) -> None:
        """Calls `take` with the faces of each frame.

        Args:
          frames: the next frames, all of one size.
          followed: the boxes that the faces of a frame may follow, called just before `take`.
          take: chooses among the faces of a frame, and returns the chosen boxes.
        """
        alone = self._tracked
        while frames:
            view = frames[0].view
            side = self._sides.get(view)
            if side is None:
                # After the first frame the size of the face is known.
                group, smallest = frames[: 1 if alone else None], 0.0
            else:
                group = [*itertools.takewhile(lambda frame, view=view: frame.view == view, frames)]
                smallest = _SMALLEST * side
            frames = frames[len(group) :]
            for frame, faces in zip(group, self._find(group, smallest), strict=True):
                if side is not None and not _suffice(faces, side, followed(frame)):
                    (faces,) = self._find([frame], 0.0)
                self._remember(frame.view, take(frame, faces))
                alone &= frame.view in self._sides

    def _find(self, frames: Sequence[Frame], smallest: float) -> list[list[Face]]:
        return self._detector.find([frame.image for frame in frames], smallest)

    def _remember(self, view: str, boxes: Sequence[Box]) -> None:
        if self._tracked and boxes:
            self._sides[view] = min(_side(box) for box in boxes)
        else:
            self._sides.pop(view, None)


def _suffice(faces: Sequence[Face], side: float, followed: Sequence[Box]) -> bool:
    """Whether faces that were not found, of at most half the side, could not be taken."""
    large = any(_side(face.box) >= _LEAST * side for face in faces)
    return large and all(any(is_same_face(face.box, box) for face in faces) for box in followed)


def _side(box: Box) -> float:
    return min(box[2] - box[0], box[3] - box[1])
