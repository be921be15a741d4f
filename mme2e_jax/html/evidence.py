"""Holds a model's input for one utterance, and its kept sites."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

_STAGES = ("first stage", "second stage", "third stage")


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

    def kept_sites(self, modality: str) -> dict[str, np.ndarray]:
        """Kept sites to draw, by caption; stages that keep the same part of every image are drawn once."""
        stages = self.kept.get(modality, [])
        shown: dict[str, np.ndarray] = dict(zip(_STAGES, stages, strict=False))
        if len(stages) > 1 and all(map(_same_part, stages, stages[1:])):
            shown = {"all stages": stages[0]}
        untaught = self.untaught.get(modality)
        return shown if untaught is None else {"with untrained scores": untaught} | shown


def _same_part(finer: np.ndarray, coarser: np.ndarray) -> bool:
    """Whether a stage and the next one, of half the height and width, keep the same part of each image."""
    return np.array_equal(finer, coarser.repeat(2, axis=1).repeat(2, axis=2))
