"""Holds a model's input for one utterance, and its kept sites."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Evidence:
    """A model's input for one utterance (`t` frames, `s` mel chunks), and its kept sites (`h`, `w` of a stage)."""

    faces: np.ndarray  # face crops, uint8 RGB `[t, 48, 48, 3]`
    face_found: np.ndarray  # bool `[t]`; False where the middle of the frame replaces a missing face
    frame_ms: np.ndarray  # milliseconds from the start of the utterance, float32 `[t]`
    mel: np.ndarray  # mel power, float32 `[s, 128, 32]`
    # Kept sites, bool `[t or s, h, w]` by modality (v, a) and stage; empty for the dense model.
    kept: Mapping[str, list[np.ndarray]]
    # For a model that a teacher trained: what its first stage kept with untrained scores, bool `[t or s, h, w]`.
    untaught: Mapping[str, np.ndarray] = field(default_factory=dict)
