"""Holds a model's input for one utterance, and its kept sites."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evidence:
    """The input of a model for one utterance, and the sites that it kept.

    Axes: `t` frames, `s` mel chunks, `h`, `w` height and width of the sites of a stage.

    Attributes:
      faces: face crops, uint8 RGB `[t, 48, 48, 3]`.
      face_found: bool `[t]`; False where the middle of the frame replaces a missing face.
      frame_ms: milliseconds from the start of the utterance, float32 `[t]`.
      mel: mel power, float32 `[s, 128, 32]`.
      kept: kept sites, bool `[t or s, h, w]` by modality (v, a) and stage; empty for the dense model.
    """

    faces: np.ndarray
    face_found: np.ndarray
    frame_ms: np.ndarray
    mel: np.ndarray
    kept: Mapping[str, list[np.ndarray]]
