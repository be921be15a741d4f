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
    """A few utterances, of how many."""

    shown: Sequence[Shown]
    counts: Mapping[str, int]  # utterances of the split by kind: RIGHT, PARTLY, WRONG


@dataclass(frozen=True)
class Content:
    """A report.

    Attributes:
      run: its directory.
      metrics: what `metrics.json` holds.
      config: of the run, sections as mappings.
      task: what scores mean.
      label_names: in the order of the model's outputs.
      modalities: that the model reads, of "tva".
      thresholds: by label, of the scores; nothing where the highest score decides.
      sparse_threshold: of the attention; None for a model that keeps all sites, or has none.
      imported: the weights were trained elsewhere.
      parameters: learned values.
      judged: by split, the validation first.
      training: the course of the run; None where there is none.
      examples: of the test split.
      preparation: of the records; None where it cannot be read.
      unlearned_steps: that training skipped because their loss was not finite.
      provenance: what else the numbers depend on, by name.
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
    judged: Mapping[str, Decisions]
    training: Training | None
    examples: Examples
    preparation: Preparation | None
    unlearned_steps: Sequence[int]
    provenance: Mapping[str, str]

    @property
    def scores(self) -> Mapping[str, Any]:
        """Scores of the split that is reported."""
        return self.metrics[REPORTED]

    @property
    def intervals(self) -> Mapping[str, Any]:
        """Their intervals."""
        return self.metrics["intervals"][REPORTED]

    def positives(self, split: str) -> Mapping[str, int]:
        """Utterances of a split that have each label."""
        return dict(zip(self.label_names, self.judged[split].truth.sum(0).tolist(), strict=True))
