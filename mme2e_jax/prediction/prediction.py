"""What prediction says of a clip, and the files that hold it.

Axes: `t` frames, `s` mel chunks, `h`, `w` height and width of a stage's sites.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.conventions import MODALITY_NAMES
from mme2e_jax.metrics import Task


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


@dataclass(frozen=True)
class Utterance:
    """One cue or window.

    Attributes:
      start, end: seconds from the clip's start.
      transcript: as given.
      logits: of each label.
      scores: probabilities of each label (over the labels, where the model chooses one; values, where it was trained
        on values).
      decided: the labels that are said to be there.
      contributions: by modality, what it adds to the logit of each label; their sum is `logits`.
      shares: by modality, its part in moving the logits away from 0, up or down, mean over the labels; sums to 1.
      frames, faces_found, chunks, tokens: that the model was given.
      notes: what is missing or stands in.
      evidence: of some utterances; None of the others, and of all where an exported model said so.
    """

    start: float
    end: float
    transcript: str
    logits: Mapping[str, float]
    scores: Mapping[str, float]
    decided: tuple[str, ...]
    contributions: Mapping[str, Mapping[str, float]]
    shares: Mapping[str, float]
    frames: int
    faces_found: int
    chunks: int
    tokens: int
    notes: tuple[str, ...]
    evidence: Evidence | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the evidence."""
        values = {name: value for name, value in self.__dict__.items() if name != "evidence"}
        return values | {
            "contributions": {MODALITY_NAMES[m]: added for m, added in self.contributions.items()},
            "shares": {MODALITY_NAMES[m]: share for m, share in self.shares.items()},
        }


@dataclass(frozen=True)
class Prediction:
    """What a model says of a clip.

    Attributes:
      clip: name of the file.
      seconds: that it states to last.
      run, step, model: which checkpoint said so; `run` is the directory of the run, or the exported file.
      label_names: in the order of the model's outputs.
      thresholds: by label, of the scores; nothing where the highest score decides.
      task: what scores mean.
      modalities: that the model reads, of "tva".
      sparse_threshold: share of the attention that kept sites hold; None for the dense model.
      notes: on the clip as a whole.
      utterances: in the order of time.
    """

    clip: str
    seconds: float
    run: str
    step: int
    model: str
    label_names: tuple[str, ...]
    thresholds: Mapping[str, float]
    task: Task
    modalities: str
    sparse_threshold: float | None
    notes: tuple[str, ...]
    utterances: tuple[Utterance, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the evidence."""
        return self.__dict__ | {
            "task": self.task.value,
            "modalities": [MODALITY_NAMES[m] for m in self.modalities],
            "utterances": [utterance.to_json() for utterance in self.utterances],
        }

    def write(self, directory: str | Path) -> list[Path]:
        """Writes `predictions.json`, `predictions.csv` and the page `predictions.html`; returns their paths.

        There is no page where no utterance has evidence, as of exported models.
        """
        # Here, not at the top: pages are made of predictions.
        from mme2e_jax.prediction.page import page

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        paths = [directory / f"predictions.{suffix}" for suffix in ("json", "csv")]
        paths[0].write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self._write_csv(paths[1])
        if any(utterance.evidence is not None for utterance in self.utterances):
            paths.append(directory / "predictions.html")
            paths[2].write_text(page(self), encoding="utf-8")
        return paths

    def _write_csv(self, path: Path) -> None:
        """A row an utterance: times, a score and 0 or 1 for each label, shares, words."""
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            shares = [f"share_{MODALITY_NAMES[m]}" for m in self.modalities]
            decisions = [f"{name}_decided" for name in self.label_names]
            rows.writerow(["start", "end", *self.label_names, *decisions, *shares, "transcript", "notes"])
            for u in self.utterances:
                scores = [f"{u.scores[name]:.6g}" for name in self.label_names]
                decided = [int(name in u.decided) for name in self.label_names]
                shares = [f"{u.shares[m]:.4f}" for m in self.modalities]
                times = [f"{u.start:.3f}", f"{u.end:.3f}"]
                rows.writerow([*times, *scores, *decided, *shares, u.transcript, " ".join(u.notes)])
