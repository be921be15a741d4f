"""Draws a mouth in any shape.

The photograph smiles and shows teeth, which no warp can remove. So the mouth is painted over with skin once and drawn
in every frame.
"""

import cv2
import numpy as np

from data_tools.mini_corpus.expressions import Expression

HALF_WIDTH = 0.40  # of the relaxed mouth, in eye distances
_UPPER_LIP, _LOWER_LIP = 0.075, 0.105  # thickness in the middle, in eye distances
_INSIDE = (60, 22, 24)  # RGB
_TEETH = (226, 218, 208)
_SUBPIXEL_BITS = 4
_POINTS = 25


def paint_out(image: np.ndarray, center: np.ndarray, eye_distance: float) -> np.ndarray:
    """Replaces the mouth around `center` (x, y) by skin; `image` is uint8 RGB `[h, w, 3]`."""
    mask = np.zeros(image.shape[:2], np.uint8)
    middle = (int(center[0]), int(center[1] + 0.07 * eye_distance))
    axes = (int(0.68 * eye_distance), int(0.36 * eye_distance))
    cv2.ellipse(mask, middle, axes, 0, 0, 360, 255, -1)
    return cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA)


def draw_mouth(
    image: np.ndarray, center: np.ndarray, eye_distance: float, expression: Expression, lip_color: np.ndarray
) -> None:
    """Draws the mouth onto `image`, uint8 RGB `[h, w, 3]`, in place, around `center` (x, y) in pixels."""
    half = HALF_WIDTH + expression.width
    x = np.linspace(-1, 1, _POINTS)
    arch = 1 - x**2
    # Heights in eye distances, downwards; the line between the lips bends with the corners.
    line = -expression.corner * (x**2 - 0.35)
    gap = max(expression.opening, 0.0) * arch**0.6
    sneer = expression.sneer * np.exp(-(((x - 0.45) / 0.4) ** 2))
    upper = line - 0.25 * gap - sneer
    lower = line + 0.75 * gap
    cupid = 1 - 0.25 * np.exp(-((x / 0.12) ** 2))
    top = upper - _UPPER_LIP * arch**0.7 * cupid
    bottom = lower + _LOWER_LIP * arch**0.6
    teeth = np.minimum(upper + expression.teeth * 0.16 * arch**0.3, lower)

    box, canvas = _patch(image, center, 1.1 * eye_distance)
    origin = np.array([box[1].start, box[0].start])

    def fill(above: np.ndarray, below: np.ndarray, color) -> None:
        outline = np.concatenate([np.stack([half * x, above], 1), np.stack([half * x, below], 1)[::-1]])
        pixels = center - origin + outline * eye_distance
        points = np.round(pixels * 2**_SUBPIXEL_BITS).astype(np.int32)
        cv2.fillPoly(canvas, [points], [int(c) for c in color], cv2.LINE_AA, _SUBPIXEL_BITS)

    fill(top, bottom, lip_color)
    fill(upper - 0.006, lower + 0.012, _INSIDE)
    if expression.opening > 0.02 and expression.teeth > 0:
        fill(upper, teeth, _TEETH)
    image[box] = cv2.GaussianBlur(canvas, (3, 3), 0.7)


def _patch(image: np.ndarray, center: np.ndarray, size: float):
    """The slices and a copy of the square of side 2 * `size` around `center`, clamped to the image."""
    height, width = image.shape[:2]
    left, right = (int(np.clip(center[0] + side * size, 0, width)) for side in (-1, 1))
    top, bottom = (int(np.clip(center[1] + side * size, 0, height)) for side in (-1, 1))
    box = (slice(top, bottom), slice(left, right))
    return box, image[box].copy()
