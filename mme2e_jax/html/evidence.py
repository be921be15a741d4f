"""The inputs of one utterance and the sites that the model kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evidence:
    """What the model was given of an utterance, and looked at.

    Attributes:
      faces: uint8 RGB `[t, 48, 48, 3]`.
      face_found: bool `[t]`; False where the middle of the frame stands in for a face.
      frame_ms: float32 `[t]`, milliseconds from the utterance's start.
      mel: float32 `[s, 128, 32]`, power.
      kept: bool `[t or s, h, w]` by modality (v, a) and stage of the sparse model; nothing for the dense one.
    """

    faces: np.ndarray
    face_found: np.ndarray
    frame_ms: np.ndarray
    mel: np.ndarray
    kept: Mapping[str, list[np.ndarray]]
