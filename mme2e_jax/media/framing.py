"""Crops frames: the view for face detection, and the face itself.

Images are uint8 RGB `[height, width, 3]`; boxes are (left, top, right, bottom) in pixels.
"""

import functools
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from mme2e_jax.constants import FACE_SIZE
from mme2e_jax.media.face_choice import Box

VIEW_SIZE = 360
HALF_VIEW_SIZE = 224
_MARGIN = 2


def centre_view(frame: np.ndarray) -> np.ndarray:
    """The part of a MOSEI frame in which faces are detected, n x n pixels.

    As in the paper's code, a frame taller than 360 pixels is halved, and its central 360 x 360 pixels are cropped
    (REFERENCE: "One utterance"). A frame with a side below 360 gives the largest centred square.
    """
    height, width = frame.shape[:2]
    if height > VIEW_SIZE:
        size = (max(width // 2, 1), height // 2)
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return _centre(frame, min(VIEW_SIZE, *frame.shape[:2]))


def half_view(frame: np.ndarray, side: str) -> np.ndarray:
    """The part of an IEMOCAP frame in which the face of the speaker on one side is detected.

    As in the paper's code, the central 224 x 224 pixels of the `left` or `right` half (REFERENCE: "One utterance").
    A half with a side below 224 gives the largest centred square.
    """
    middle = max(frame.shape[1] // 2, 1)
    half = frame[:, :middle] if side == "left" else frame[:, frame.shape[1] - middle :]
    return _centre(half, min(HALF_VIEW_SIZE, *half.shape[:2]))


# By name: crops a frame to the part in which the speaker's face is detected.
VIEWS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "centre": centre_view,
    "left": functools.partial(half_view, side="left"),
    "right": functools.partial(half_view, side="right"),
    "whole": lambda frame: frame,
}


def view_part(view: str, width: int, height: int) -> Box:
    """The part of a frame that a view shows: left, top, right, bottom as shares of the frame's width and height."""
    first, whole, size = 0, width, VIEW_SIZE
    if view == "whole":
        return 0.0, 0.0, 1.0, 1.0
    if view == "centre":
        if height > VIEW_SIZE:
            width, height = max(width // 2, 1), height // 2
        whole = width
    else:
        width, size = max(width // 2, 1), HALF_VIEW_SIZE
        first = 0 if view == "left" else whole - width
    size = min(size, width, height)
    left, top = first + (width - size) // 2, (height - size) // 2
    return left / whole, top / height, (left + size) / whole, (top + size) / height


def crop_face(image: np.ndarray, box: Box) -> np.ndarray:
    """Crops a face to uint8 `[48, 48, 3]`, as facenet-pytorch with image size 48 and margin 2; values are not scaled.

    The margin is 2 pixels of the crop, that is 2 * side / (48 - 2) pixels of the image, half of it on each side. The
    box, which has at least one pixel inside the image, is clamped with its margin to the image, truncated to whole
    pixels, and resized by area without keeping the aspect ratio.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    margin_x = _MARGIN * (right - left) / (FACE_SIZE - _MARGIN) / 2
    margin_y = _MARGIN * (bottom - top) / (FACE_SIZE - _MARGIN) / 2
    x0, y0 = int(max(left - margin_x, 0)), int(max(top - margin_y, 0))
    x1, y1 = int(min(right + margin_x, width)), int(min(bottom + margin_y, height))
    return _to_face_size(image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])


def crop_centre(image: np.ndarray) -> np.ndarray:
    """Crops the central pixels, which replace a face that was not found, to uint8 `[48, 48, 3]`.

    The paper's code crops 24 pixels too far left. A smaller image is enlarged.
    """
    return _to_face_size(_centre(image, min(FACE_SIZE, *image.shape[:2])))


def _centre(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    top, left = (height - size) // 2, (width - size) // 2
    return image[top : top + size, left : left + size]


def _to_face_size(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA)
