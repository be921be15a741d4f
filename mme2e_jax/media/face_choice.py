"""Which face is taken where a picture shows several.

Boxes are (left, top, right, bottom) in pixels of the picture.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mme2e_jax.media.framing import Box

MOST_PROBABLE = "most_probable"


class Face(NamedTuple):
    """One face that was found: its box, and how sure the detector is of it, [0, 1]."""

    box: Box
    probability: float


class Scene(NamedTuple):
    """What a choice may look at beside the faces.

    Attributes:
      width, height: of the picture, in pixels.
      previous: the face taken in the last frame of the same utterance in which one was found; None before the first.
    """

    width: int
    height: int
    previous: Box | None = None


def choose_face(faces: Sequence[Face], choice: str, scene: Scene) -> Box | None:
    """The box of the face to take, by one of `CHOICES`; the first listed of several that are equally good.

    Returns:
      None if there is no face.
    """
    if not faces:
        return None
    goodness = CHOICES[choice]
    return max(faces, key=lambda face: goodness(face, scene)).box


def _probability(face: Face, _: Scene) -> float:
    return face.probability


def _area(face: Face, _: Scene) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _nearness_to_middle(face: Face, scene: Scene) -> float:
    return -math.dist(_centre(face.box), (scene.width / 2, scene.height / 2))


def _nearness_to_previous(face: Face, scene: Scene) -> float:
    if scene.previous is None:
        return _area(face, scene)
    return -math.dist(_centre(face.box), _centre(scene.previous))


def _centre(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


# By name, how good a face is:
#   most_probable  the one that the detector is surest of
#   largest        by area
#   central        whose centre is nearest to that of the picture
#   previous       whose centre is nearest to that of the last face taken in the utterance; to begin with, the largest
CHOICES: Mapping[str, Callable[[Face, Scene], float]] = {
    MOST_PROBABLE: _probability,
    "largest": _area,
    "central": _nearness_to_middle,
    "previous": _nearness_to_previous,
}
