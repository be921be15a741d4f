"""Chooses a face where an image shows several.

Boxes are (left, top, right, bottom) in pixels of the image.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from mme2e_jax.media.framing import Box

MOST_PROBABLE = "most_probable"


class Face(NamedTuple):
    """A detected face: its box and the detector's probability, [0, 1]."""

    box: Box
    probability: float


class Scene(NamedTuple):
    """The context of a choice."""

    width: int  # of the image, in pixels
    height: int
    previous: Box | None = None  # last face chosen in the same utterance; None before the first


def choose_face(faces: Sequence[Face], choice: str, scene: Scene) -> Box | None:
    """The box of the best face by one of `CHOICES`, the first of equally good ones; None without faces."""
    if not faces:
        return None
    score = CHOICES[choice]
    return max(faces, key=lambda face: score(face, scene)).box


def _probability(face: Face, _: Scene) -> float:
    return face.probability


def _area(face: Face, _: Scene) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _nearness_to_centre(face: Face, scene: Scene) -> float:
    return -math.dist(_centre(face.box), (scene.width / 2, scene.height / 2))


def _nearness_to_previous(face: Face, scene: Scene) -> float:
    if scene.previous is None:
        return _area(face, scene)
    return -math.dist(_centre(face.box), _centre(scene.previous))


def _centre(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


# Scores by name:
#   most_probable  probability of the detector
#   largest        area
#   central        nearness of the face's centre to the image's centre
#   previous       nearness to the last face chosen in the utterance; area for the first
CHOICES: Mapping[str, Callable[[Face, Scene], float]] = {
    MOST_PROBABLE: _probability,
    "largest": _area,
    "central": _nearness_to_centre,
    "previous": _nearness_to_previous,
}
