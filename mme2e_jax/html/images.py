"""Draws faces, sound and kept sites as images within a page."""

import base64

import cv2
import numpy as np

# Cover of sites that are not kept, RGBA: a colour that occurs neither in faces nor in spectrograms.
_VEIL = (196, 212, 232, 230)
_DECIBELS = 80.0
_SILENCE = -100.0  # in decibels


def data_uri(picture: np.ndarray) -> str:
    """Encodes an image as a PNG in a data URI: uint8 `[h, w]` grey, `[h, w, 3]` RGB or `[h, w, 4]` RGBA."""
    if picture.ndim == 3:
        # OpenCV expects BGR.
        picture = cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    ok, png = cv2.imencode(".png", picture)
    assert ok
    return "data:image/png;base64," + base64.b64encode(png.tobytes()).decode()


def mel_picture(mel: np.ndarray) -> np.ndarray:
    """Draws mel chunks `[s, 128, 32]`, s > 0, as a spectrogram, grey uint8 `[128, 32 s]`.

    Dark is loud, over 80 dB below the loudest point; silence is white.
    """
    level = 10 * np.log10(np.maximum(join_chunks(mel), 10 ** (_SILENCE / 10)))
    share = np.clip((level - max(level.max(), _SILENCE + _DECIBELS)) / _DECIBELS + 1, 0, 1)
    return (255 * (1 - share)).astype(np.uint8)


def veil(kept: np.ndarray) -> np.ndarray:
    """Returns a cover for an image, RGBA `[h, w, 4]`: transparent at kept sites `[h, w]`, nearly opaque elsewhere."""
    return np.where(kept[..., None], 0, np.array(_VEIL)).astype(np.uint8)


def join_chunks(chunks: np.ndarray) -> np.ndarray:
    """Joins the kept sites or the power of mel chunks, `[s, h, w]`, as an image `[h, s w]`: the highest band first."""
    return np.concatenate(list(chunks), axis=1)[::-1]
