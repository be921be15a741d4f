"""Renders expressions of a face by smooth warps of a photograph.

Axes: `h`, `w` pixels of the canvas; `y`, `x` pixels of the region around the face.
"""

import cv2
import numpy as np

from data_tools.mini_corpus.expressions import Expression
from data_tools.mini_corpus.mouth import draw_mouth, paint_out

_INNER_BROW, _OUTER_BROW = 0.20, 0.24  # from the pupil to the ends of a brow, in eye distances
_BROW_HEIGHT = 0.33  # from the pupil up to the brow
_BROW_OPACITY = 0.7
_FLUSH_TINT = np.array([0.10, -0.07, -0.07], np.float32)  # RGB, relative


class Face:
    """The face of one speaker on a canvas."""

    def __init__(self, canvas: np.ndarray, landmarks: np.ndarray):
        """Computes everything that is the same for all frames of `canvas`, uint8 RGB `[h, w, 3]` with an upright face.

        `landmarks` are float `[5, 2]`, (x, y) in pixels: left eye, right eye, nose, left and right corner of the mouth,
        as seen in the image.
        """
        eye_left, eye_right, self._nose, mouth_left, mouth_right = np.asarray(landmarks, np.float32)
        self._eyes = (eye_left, eye_right)
        self._unit = float(np.linalg.norm(eye_right - eye_left))
        self._mouth = (mouth_left + mouth_right) / 2
        self._lip_color = _lip_color(canvas, self._mouth, self._unit)
        self._canvas = paint_out(canvas, self._mouth, self._unit)
        self._brow_color = np.array([78, 52, 34]) * np.clip(canvas.mean() / 120, 0.6, 1.3)

        height, width = canvas.shape[:2]
        middle = (eye_left + eye_right + self._nose) / 3
        reach = np.array([1.5, 2.0], np.float32) * self._unit
        left, top = np.maximum(middle - reach[0], 0).astype(int)
        right, bottom = np.minimum(middle + reach, (width, height)).astype(int)
        self._box = (slice(top, bottom), slice(left, right))
        self._y, self._x = np.mgrid[top:bottom, left:right].astype(np.float32)
        self._fields = self._displacements()
        self._masks = self._shading()

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in pixels: approximate box of a face detector for the relaxed face."""
        x, y = (self._eyes[0] + self._eyes[1]) / 2
        unit = self._unit
        return (x - 1.05 * unit, y - 1.0 * unit, x + 1.05 * unit, y + 1.75 * unit)

    def render(self, expression: Expression, shift: tuple[float, float] = (0.0, 0.0), roll: float = 0.0) -> np.ndarray:
        """Renders the canvas with the face showing `expression`, uint8 RGB `[h, w, 3]`.

        The head moves by `shift`, (x, y) in pixels, and turns by `roll` degrees in addition to the expression's tilt.
        """
        frame = self._canvas.copy()
        patch = self._shade(self._warp(expression), expression)
        frame[self._box] = np.clip(patch, 0, 255).astype(np.uint8)
        self._draw_brows(frame, expression)
        drop = max(expression.opening, 0.0) * 0.12 * self._unit
        mouth = self._mouth + np.array([0, drop], np.float32)
        draw_mouth(frame, mouth, self._unit, expression, self._lip_color)
        return self._move(frame, shift, roll, expression)

    def _bump(self, center, width: float, height: float) -> np.ndarray:
        """A Gaussian `[y, x]` with the given standard deviations in eye distances."""
        across = (self._x - center[0]) / (width * self._unit)
        down = (self._y - center[1]) / (height * self._unit)
        return np.exp(-0.5 * (across**2 + down**2))

    def _bumps(self, origin, right: float, down: float, width: float, height: float) -> np.ndarray:
        """Two Gaussians at the same distance on both sides of `origin`."""
        left_bump = self._bump(self._at(origin, -right, down), width, height)
        return left_bump + self._bump(self._at(origin, right, down), width, height)

    def _at(self, origin, right: float, down: float) -> np.ndarray:
        return np.asarray(origin) + np.array([right, down], np.float32) * self._unit

    def _displacements(self) -> dict[str, np.ndarray]:
        """Pixels by which the image moves for one unit of each parameter, (x, y): `[2, y, x]`."""

        def upward(bump: np.ndarray) -> np.ndarray:
            return np.stack([np.zeros_like(bump), -bump]) * self._unit

        inner, outer, lid = (np.zeros((2, *self._x.shape), np.float32) for _ in range(3))
        for eye, inward in zip(self._eyes, (1, -1), strict=True):
            inner += upward(self._bump(self._at(eye, 0.20 * inward, -0.40), 0.16, 0.15))
            outer += upward(self._bump(self._at(eye, -0.22 * inward, -0.40), 0.20, 0.15))
            lid += upward(self._bump(self._at(eye, 0, -0.10), 0.18, 0.08))
            lid -= 0.6 * upward(self._bump(self._at(eye, 0, 0.10), 0.18, 0.08))
        cheeks = upward(self._bumps(self._mouth, 0.52, -0.25, 0.22, 0.20))
        nostrils = upward(self._bumps(self._nose, 0.18, -0.02, 0.12, 0.14))
        across = (self._x - self._mouth[0]) / self._unit
        below = (self._y - self._mouth[1]) / self._unit
        jaw = 1 / (1 + np.exp(-(below - 0.1) / 0.05))
        jaw = jaw * np.exp(-0.5 * (across / 0.55) ** 2)
        jaw = jaw * np.exp(-0.5 * (np.maximum(below - 0.5, 0) / 0.35) ** 2)
        return {
            "brow_inner": inner,
            "brow_outer": outer,
            "lid": lid,
            "corner": 0.5 * cheeks,
            "sneer": 0.6 * nostrils,
            "opening": -0.8 * upward(jaw),
        }

    def _shading(self) -> dict[str, np.ndarray]:
        """Masks of darker or redder skin, `[y, x]` in [0, 1]."""
        between = (self._eyes[0] + self._eyes[1]) / 2
        furrow = self._bumps(between, 0.10, -0.26, 0.03, 0.13)
        crease = self._bumps(self._nose, 0.36, 0.12, 0.05, 0.16)
        skin = self._bump((between + self._nose + self._mouth) / 3, 0.75, 0.85)
        return {"furrow": furrow, "crease": crease, "flush": skin}

    def _warp(self, expression: Expression) -> np.ndarray:
        moved = np.zeros((2, *self._x.shape), np.float32)
        for name, field in self._fields.items():
            moved += getattr(expression, name) * field
        x, y = self._x - moved[0], self._y - moved[1]
        warped = cv2.remap(self._canvas, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        return warped.astype(np.float32)

    def _shade(self, patch: np.ndarray, expression: Expression) -> np.ndarray:
        dark = 1 - 0.35 * max(expression.furrow, 0) * self._masks["furrow"]
        dark -= 0.28 * max(expression.crease, 0) * self._masks["crease"]
        tint = _FLUSH_TINT * expression.flush
        return patch * (dark[..., None] + self._masks["flush"][..., None] * tint)

    def _draw_brows(self, frame: np.ndarray, expression: Expression) -> None:
        overlay = frame.copy()
        for eye, inward in zip(self._eyes, (1, -1), strict=True):
            along = np.linspace(0, 1, 9)
            across = inward * (_INNER_BROW * (1 - along) - _OUTER_BROW * along * 1.1)
            height = expression.brow_inner * (1 - along) + expression.brow_outer * along
            arch = 0.07 * np.sin(np.pi * along)
            line = np.stack([across, -_BROW_HEIGHT - height - arch], 1)
            points = np.round((eye + line * self._unit) * 16).astype(np.int32)
            thickness = max(1, round(0.055 * self._unit))
            color = [int(c) for c in self._brow_color]
            cv2.polylines(overlay, [points], False, color, thickness, cv2.LINE_AA, 4)
        frame[self._box] = cv2.addWeighted(overlay[self._box], _BROW_OPACITY, frame[self._box], 1 - _BROW_OPACITY, 0)

    def _move(self, frame, shift, roll: float, expression: Expression) -> np.ndarray:
        pivot = (float(self._mouth[0]), float(self._mouth[1]))
        matrix = cv2.getRotationMatrix2D(pivot, roll + expression.tilt, 1.0)
        matrix[:, 2] += (shift[0], shift[1] + expression.drop * self._unit)
        return cv2.warpAffine(frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def _lip_color(canvas: np.ndarray, mouth: np.ndarray, unit: float) -> np.ndarray:
    """The RGB colour of the lips: a redder and darker colour of the cheek."""
    x, y = (mouth - np.array([0.55 * unit, 0.35 * unit])).astype(int)
    cheek = canvas[y - 3 : y + 3, x - 3 : x + 3].reshape(-1, 3).mean(0)
    return np.clip(cheek * (0.80, 0.52, 0.52), 0, 255)
