"""What prediction says of a clip, and the files that hold it.

Axes: `t` frames, `s` mel chunks, `h`, `w` height and width of a stage's sites.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import Evidence


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

        There is no page if no utterance has evidence, as with exported models.
        """
        # Not at the top: most users of this module write nothing.
        from mme2e_jax.predict.write import write_prediction

        return write_prediction(self, Path(directory))
