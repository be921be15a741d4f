"""Computes video features: 35 values for each face.

    0-3      face: lightness, its standard deviation, redness, yellowness
    4-33     five statistics (`STATISTICS`) of each of six regions (`REGIONS`) around brows and mouth
    34       1 if a face was found; without a face the whole row is zero

OpenFace's 35 action units, which the paper's baselines read, have the same width but another meaning. Colours are in
CIE Lab. In the regions, lightness is relative to the face's mean and standard deviation and redness to its mean, which
reduces the effect of light and skin. All values are centred and scaled by round constants, not fitted to data.

Axes: `t` frames; `y`, `x` pixels of a crop.
"""

from typing import Any

import cv2
import numpy as np

from mme2e_jax.constants import FACE_SIZE

SIZE = 35
# (top, bottom, left, right) in pixels of a crop by MTCNN. Left is the left of the image.
REGIONS = {
    "left_brow": (8, 22, 4, 20),
    "right_brow": (8, 22, 28, 44),
    "between_brows": (8, 22, 20, 28),
    "mouth_left": (26, 42, 10, 20),
    "mouth_middle": (26, 42, 20, 28),
    "mouth_right": (26, 42, 28, 38),
}
STATISTICS = ("lightness", "redness", "edges", "edges_upright", "edges_slanted")
_SKIN = (8, 46, 6, 42)  # the part that is skin in most images
_LEAST_CONTRAST = 2.0  # of 100; avoids a division by 0 for a uniform image
_FAINT = 1e-3  # squared slope of noise

DESCRIPTION: dict[str, Any] = {
    "columns": "lightness, contrast, redness, yellowness; statistics of regions; face found",
    "crop": FACE_SIZE,
    "regions": {name: list(box) for name, box in REGIONS.items()},
    "statistics": list(STATISTICS),
}


def video_features(faces: np.ndarray, face_found: np.ndarray) -> np.ndarray:
    """The features of faces, uint8 RGB `[t, 48, 48, 3]`: finite float32 `[t, 35]`, zeros unless `face_found` `[t]`."""
    rows = np.zeros((len(faces), SIZE), np.float32)
    for i in np.flatnonzero(face_found):
        rows[i, :-1] = _face(faces[i])
        rows[i, -1] = 1
    return rows


def _face(face: np.ndarray) -> list[float]:
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    light, red, yellow = (lab[..., i] for i in range(3))
    skin = _pixels(_SKIN)
    mean, spread = light[skin].mean(), light[skin].std()
    redness, yellowness = red[skin].mean(), yellow[skin].mean()
    row = [(mean - 60) / 15, (spread - 15) / 5, redness / 10, yellowness / 10 - 1]

    light = (light - mean) / max(spread, _LEAST_CONTRAST)
    red = (red - redness) / 10
    # Sobel's weights sum to 8: the slopes are lightness per pixel.
    slopes = [cv2.Sobel(light, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0)]
    for box in REGIONS.values():
        region = _pixels(box)
        row += [light[region].mean(), red[region].mean(), *_edges(*(slope[region] for slope in slopes))]
    return row


def _edges(slope_x: np.ndarray, slope_y: np.ndarray) -> tuple[float, float, float]:
    """The strength and the orientation of the edges of a region, from its structure tensor.

    That is log10 of the mean squared slope, about in [-2, 1]; 1 for vertical and -1 for horizontal edges; 1 for edges
    that rise from bottom left to top right, -1 for edges that fall.
    """
    xx, yy, xy = (float((a * b).mean()) for a, b in ((slope_x, slope_x), (slope_y, slope_y), (slope_x, slope_y)))
    strength = xx + yy + _FAINT
    return np.log10(strength) + 1, (xx - yy) / strength, 2 * xy / strength


def _pixels(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    top, bottom, left, right = box
    return slice(top, bottom), slice(left, right)
