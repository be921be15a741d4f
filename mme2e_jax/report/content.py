"""The content of a report, as plain values and arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mme2e_jax.evaluation.inference import Decisions
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.report.preparation import Preparation
from mme2e_jax.report.training import Training
from mme2e_jax.report.utterances import Shown

REPORTED = "test"


class Examples(NamedTuple):
    """Example utterances of a split."""

    shown: Sequence[Shown]
    counts: Mapping[str, int]  # utterances of the split by outcome: RIGHT, PARTLY, WRONG


@dataclass(frozen=True)
class Content:
    """The content of a report.

    Attributes:
      run: run directory.
      metrics: content of `metrics.json`.
      config: config of the run, sections as mappings.
      task: meaning of the scores.
      label_names: labels in the order of the model's outputs.
      modalities: modalities that the model reads, of "tva".
      thresholds: score threshold by label; empty if the highest score decides.
      sparse_threshold: threshold of the sparse attention; None for a model without any.
      imported: whether the weights were trained elsewhere.
      parameters: number of learned values.
      decisions: decisions by split, the validation split first.
      training: losses and scores of the run; None if it was not trained.
      examples: example utterances of the test split.
      preparation: report of the preparation of the records; None if it cannot be read.
      skipped_steps: training steps that were skipped because their loss or gradient was not finite.
      provenance: versions and devices by name.
    """

    run: str
    metrics: Mapping[str, Any]
    config: Mapping[str, Any]
    task: Task
    label_names: Sequence[str]
    modalities: str
    thresholds: Mapping[str, float]
    sparse_threshold: float | None
    imported: bool
    parameters: int
    decisions: Mapping[str, Decisions]
    training: Training | None
    examples: Examples
    preparation: Preparation | None
    skipped_steps: Sequence[int]
    provenance: Mapping[str, str]

    @property
    def scores(self) -> Mapping[str, Any]:
        """Scores of the reported split."""
        return self.metrics[REPORTED]

    @property
    def intervals(self) -> Mapping[str, Any]:
        """Confidence intervals of the reported split."""
        return self.metrics["intervals"][REPORTED]

    def positives(self, split: str) -> Mapping[str, int]:
        """Number of utterances of a split by label."""
        return dict(zip(self.label_names, self.decisions[split].truth.sum(0).tolist(), strict=True))
