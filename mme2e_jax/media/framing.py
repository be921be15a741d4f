"""Cuts pictures out of frames: the part in which faces are searched, and the face itself.

Pictures are uint8 RGB `[height, width, 3]`; boxes are (left, top, right, bottom) in pixels.
"""

import functools
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from mme2e_jax.constants import FACE_SIZE

VIEW_SIZE = 360
HALF_VIEW_SIZE = 224
_MARGIN = 2

Box = tuple[float, float, float, float]


def centre_view(frame: np.ndarray) -> np.ndarray:
    """The part of a MOSEI frame in which faces are searched.

    As in the paper's code, a frame taller than 360 pixels is halved, and the middle 360 x 360 are
    cut out (REFERENCE: "One utterance"). A frame with a side below 360 gives the largest centred
    square instead.

    Returns:
      a picture of n x n pixels, n = min(360, height, width) after halving.
    """
    height, width = frame.shape[:2]
    if height > VIEW_SIZE:
        size = (max(width // 2, 1), height // 2)
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return _centre(frame, min(VIEW_SIZE, *frame.shape[:2]))


def half_view(frame: np.ndarray, side: str) -> np.ndarray:
    """The part of an IEMOCAP frame in which faces of the speaker on one side are searched.

    As in the paper's code, the middle 224 x 224 of the `left` or `right` half (REFERENCE: "One
    utterance"). A half with a side below 224 gives the largest centred square instead.
    """
    middle = frame.shape[1] // 2
    half = frame[:, :middle] if side == "left" else frame[:, frame.shape[1] - middle :]
    return _centre(half, min(HALF_VIEW_SIZE, *half.shape[:2]))


# By name, from a frame to the part in which the speaker's face is searched.
VIEWS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "centre": centre_view,
    "left": functools.partial(half_view, side="left"),
    "right": functools.partial(half_view, side="right"),
    "whole": lambda frame: frame,
}


def crop_face(picture: np.ndarray, box: Box) -> np.ndarray:
    """Cuts out a face as facenet-pytorch does with image size 48 and margin 2, without scaling values.

    The margin is 2 pixels of the finished crop: 2 * side / (48 - 2) pixels of the picture, half of
    it on each side. The widened box is clamped to the picture, its edges are cut off to whole
    pixels, and what it holds is resized by area to 48 x 48 (the aspect ratio is not kept).

    Args:
      picture: as given to the face detector.
      box: with at least one pixel inside the picture.

    Returns:
      uint8 `[48, 48, 3]`.
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    margin_x = _MARGIN * (right - left) / (FACE_SIZE - _MARGIN) / 2
    margin_y = _MARGIN * (bottom - top) / (FACE_SIZE - _MARGIN) / 2
    x0, y0 = int(max(left - margin_x, 0)), int(max(top - margin_y, 0))
    x1, y1 = int(min(right + margin_x, width)), int(min(bottom + margin_y, height))
    return _to_face_size(picture[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])


def crop_centre(picture: np.ndarray) -> np.ndarray:
    """What stands for the face where none is found: the 48 x 48 pixels in the middle.

    (The paper's code cuts them 24 pixels too far left.) A smaller picture is enlarged.

    Returns:
      uint8 `[48, 48, 3]`.
    """
    return _to_face_size(_centre(picture, min(FACE_SIZE, *picture.shape[:2])))


def _centre(picture: np.ndarray, size: int) -> np.ndarray:
    height, width = picture.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return picture[top : top + size, left : left + size]


def _to_face_size(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
