"""The content of a report, as plain values and arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mme2e_jax.evaluation.inference import Decisions
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.report.preparation import Preparation
from mme2e_jax.report.training import Training
from mme2e_jax.report.utterances import Shown

REPORTED = "test"


@dataclass(frozen=True)
class Content:
    """The content of a report."""

    run: str  # run directory
    metrics: Mapping[str, Any]  # content of `metrics.json`
    config: Mapping[str, Any]  # config of the run, sections as mappings
    task: Task  # meaning of the scores
    label_names: Sequence[str]  # labels in the order of the model's outputs
    modalities: str  # modalities that the model reads, of "tva"
    thresholds: Mapping[str, float]  # score threshold by label; empty if the highest score decides
    sparse_threshold: float | None  # threshold of the sparse attention; None for a model without any
    imported: bool  # whether the weights were trained elsewhere
    parameters: int  # number of learned values
    decisions: Mapping[str, Decisions]  # decisions by split, the validation split first
    training: Training | None  # losses and scores of the run; None if it was not trained
    examples: Sequence[Shown]  # example utterances of the test split
    outcomes: Mapping[str, int]  # number of its utterances by outcome: RIGHT, PARTLY, WRONG
    preparation: Preparation | None  # report of the preparation of the records; None if it cannot be read
    skipped_steps: Sequence[int]  # training steps that were skipped because their loss or gradient was not finite
    provenance: Mapping[str, str]  # versions and devices by name

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
