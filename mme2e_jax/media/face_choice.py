"""Chooses a face where an image shows several."""

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


def _area(face: Face) -> float:
    left, top, right, bottom = face.box
    return (right - left) * (bottom - top)


def _nearness(face: Face, point: tuple[float, float]) -> float:
    return -math.dist(_centre(face.box), point)


def _centre(box: Box) -> tuple[float, float]:
    left, top, right, bottom = box
    return (left + right) / 2, (top + bottom) / 2


# Scores by name; `previous` takes the largest face if none was chosen before.
CHOICES: Mapping[str, Callable[[Face, Scene], float]] = {
    MOST_PROBABLE: lambda face, _: face.probability,
    "largest": lambda face, _: _area(face),
    "central": lambda face, scene: _nearness(face, (scene.width / 2, scene.height / 2)),
    "previous": lambda face, s: _nearness(face, _centre(s.previous)) if s.previous else _area(face),
}
