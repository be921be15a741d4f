"""Faces, sound and kept sites as pictures within a page.

Axes: `s` mel chunks, `h`, `w` height and width.
"""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

# What is not kept fades to so much white.
_FADED = 205
_DECIBELS = 80.0


def data_uri(picture: np.ndarray) -> str:
    """A PNG: uint8 `[h, w]` grey, `[h, w, 3]` RGB or `[h, w, 4]` RGBA."""
    channels = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[
        picture.ndim if picture.ndim == 2 else picture.shape[2]
    ]
    ok, png = cv2.imencode(".png", picture if channels is None else cv2.cvtColor(picture, channels))
    assert ok
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()


def mel_picture(mel: np.ndarray) -> np.ndarray:
    """Sound as grey uint8 `[128, 32 s]`: time to the right, pitch upwards, dark is loud, over a range of 80 dB.

    Args:
      mel: power `[s, 128, 32]`, at least one chunk.
    """
    power = _in_a_row(mel)
    level = 10 * np.log10(np.maximum(power, 1e-10))
    share = np.clip((level - level.max()) / _DECIBELS + 1, 0, 1)
    return (255 * (1 - share)).astype(np.uint8)


def veil(kept: np.ndarray) -> np.ndarray:
    """What lies over a picture to show a stage's kept sites: RGBA `[h, w, 4]`, clear there and nearly white elsewhere."""
    picture = np.full((*kept.shape, 4), 255, np.uint8)
    picture[..., 3] = np.where(kept, 0, _FADED)
    return picture


def mel_sites(kept: np.ndarray) -> np.ndarray:
    """The kept sites `[s, h, w]` of all chunks as they lie over `mel_picture`: bool `[h, s w]`."""
    return _in_a_row(kept)


def _in_a_row(chunks: np.ndarray) -> np.ndarray:
    # The lowest band comes first in the arrays, and last in a picture.
    row: Sequence[np.ndarray] = list(chunks)
    return np.concatenate(row, axis=1)[::-1]
