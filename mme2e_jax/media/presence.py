"""Finds what of an utterance's media says anything.

Axes: `f` frames, `n` frames with a face, `c` mel chunks.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8

# Mel power below which a whole sound is silent: less than that of noise of one step of 16-bit sound.
SILENCE_POWER = 1e-7


def present_media(
    faces: UInt8[np.ndarray, "f 48 48 3"], face_found: Bool[np.ndarray, "f"], mel: Float[np.ndarray, "c 128 32"]
) -> tuple[UInt8[np.ndarray, "n 48 48 3"], Float[np.ndarray, "c 128 32"]]:
    """The crops that show a face, and all mel chunks; or no chunks if all of them are silent."""
    return faces[face_found], mel if mel.max(initial=0.0) >= SILENCE_POWER else mel[:0]
