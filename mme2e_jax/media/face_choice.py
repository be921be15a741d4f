"""Chooses a face where an image shows several."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

MOST_PROBABLE = "most_probable"  # the choice of data and models that do not name theirs
TRACKED = "tracked"  # default of preparation
# A smaller share of the previous face's area is no face of the same person half a second later, but often an eye.
_FAR_SMALLER = 1 / 5
_SAME_FACE = 0.2  # intersection over union of two boxes, from which on they are taken for one person's


class Face(NamedTuple):
    """A detected face: its box and the detector's probability, [0, 1]."""

    box: Box
    probability: float


class Scene(NamedTuple):
    """The context of a choice."""

    width: int  # of the image, in pixels
    height: int
    # Last face chosen in the same utterance; None before the first, and after a frame whose faces were all left out.
    previous: Box | None = None


def choose_face(faces: Sequence[Face], choice: str, scene: Scene) -> Box | None:
    """The box of the best face by one of `CHOICES`, the first of equally good ones.

    None without faces; also if the choice is `TRACKED` and every face is far smaller than the previous one.
    """
    if choice == TRACKED and scene.previous:
        least = _FAR_SMALLER * _area(scene.previous)
        faces = [face for face in faces if _area(face.box) >= least]
    score = CHOICES[choice]
    return max(faces, key=lambda face: score(face, scene)).box if faces else None


def _area(box: Box) -> float:
    left, top, right, bottom = box
    return (right - left) * (bottom - top)


def is_same_face(box: Box, previous: Box) -> bool:
    """Whether two boxes, half a second apart, are taken for the face of one person."""
    width = min(box[2], previous[2]) - max(box[0], previous[0])
    height = min(box[3], previous[3]) - max(box[1], previous[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common >= _SAME_FACE * (_area(box) + _area(previous) - common)


def _tracked(face: Face, scene: Scene) -> tuple[bool, float]:
    followed = scene.previous is not None and is_same_face(face.box, scene.previous)
    return followed, face.probability * _area(face.box)


def _nearness(face: Face, point: tuple[float, float]) -> float:
    return -math.dist(_centre(face.box), point)


def _centre(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


# Scores by name. `previous` takes the largest face if none was chosen before. `tracked` takes the face with the largest
# product of probability and area, one that overlaps the previous face before all others.
CHOICES: Mapping[str, Callable[[Face, Scene], float | tuple[bool, float]]] = {
    TRACKED: _tracked,
    MOST_PROBABLE: lambda face, _: face.probability,
    "largest": lambda face, _: _area(face.box),
    "central": lambda face, scene: _nearness(face, (scene.width / 2, scene.height / 2)),
    "previous": lambda face, s: _nearness(face, _centre(s.previous)) if s.previous else _area(face.box),
}
