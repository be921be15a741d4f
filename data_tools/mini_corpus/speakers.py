"""Derives speakers from scikit-image's portrait of Eileen Collins (NASA, public domain)."""

from functools import cache

import cv2
import numpy as np
from skimage import data

from data_tools.mini_corpus.face import Face

WIDTH, HEIGHT = 320, 240  # pixels of the videos

# (x, y) in the photograph: left eye, right eye, nose, left and right corner of the mouth.
_LANDMARKS = ((204, 100), (245, 102), (224, 126), (202, 139), (244, 140))
_MIRRORED_ORDER = [1, 0, 2, 4, 3]
_LOOKS_SEED = 20_000


@cache
def photograph() -> tuple[np.ndarray, np.ndarray]:
    """The photograph, uint8 RGB `[512, 512, 3]`, and its landmarks, float32 `[5, 2]`."""
    return data.astronaut(), np.array(_LANDMARKS, np.float32)


def make_face(speaker: int, rng: np.random.Generator) -> Face:
    """Speaker number `speaker` at a position and distance drawn from `rng`."""
    image, landmarks = _look(speaker)
    eye_distance = rng.uniform(40, 48)
    center = np.array([WIDTH / 2 + rng.uniform(-20, 20), 108 + rng.uniform(-8, 8)])
    scale = eye_distance / np.linalg.norm(landmarks[1] - landmarks[0])
    offset = center - scale * landmarks[:3].mean(0)
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    canvas = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Face(canvas, landmarks * scale + offset)


def empty_room(rng: np.random.Generator) -> np.ndarray:
    """A room without a person, uint8 RGB `[h, w, 3]`."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    wall = rng.uniform(110, 190, 3).astype(np.float32)
    light = 0.7 + 0.4 * np.exp(-(((x - rng.uniform(0, WIDTH)) / 180) ** 2) - (y / 200) ** 2)
    room = np.clip(wall * light[..., None], 0, 255).astype(np.uint8)
    floor = int(rng.uniform(190, 215))
    room[floor:] = (room[floor:] * 0.6).astype(np.uint8)
    for _ in range(3):
        left, top = int(rng.uniform(0, WIDTH - 80)), int(rng.uniform(10, 100))
        right, bottom = left + int(rng.uniform(30, 80)), top + int(rng.uniform(30, 70))
        color = [int(c) for c in rng.uniform(40, 220, 3)]
        cv2.rectangle(room, (left, top), (right, bottom), color, -1)
        cv2.rectangle(room, (left, top), (right, bottom), (60, 45, 30), 2)
    return room


def _look(speaker: int) -> tuple[np.ndarray, np.ndarray]:
    """Another look of the photograph, mirrored, stretched, lighter or darker, and its landmarks."""
    rng = np.random.default_rng([_LOOKS_SEED, speaker])
    image, landmarks = (array.copy() for array in photograph())
    if speaker % 2:
        image = np.ascontiguousarray(image[:, ::-1])
        landmarks[:, 0] = image.shape[1] - 1 - landmarks[:, 0]
        landmarks = landmarks[_MIRRORED_ORDER]
    stretch = np.array([1 + rng.uniform(-0.07, 0.07), 1 + rng.uniform(-0.04, 0.04)], np.float32)
    image = cv2.resize(image, None, fx=float(stretch[0]), fy=float(stretch[1]))
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] = 255 * (lab[..., 0] / 255) ** rng.uniform(0.85, 1.2)
    lab[..., 1:] += rng.uniform(-5, 5, 2)
    tinted = np.clip(lab, 0, 255).astype(np.uint8)
    return cv2.cvtColor(tinted, cv2.COLOR_LAB2RGB), landmarks * stretch
