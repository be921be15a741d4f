"""Hooks of the training loop, and the checks for finite values."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.console import console
from mme2e_jax.training.step import StepMetrics


class Hook:
    """A periodic action of the training loop; by default it does nothing. `metrics` are arrays on the host."""

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        """Runs after step `step` (from 0), in order but up to one step late; `seconds` is a `Clock.lap`."""

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        """Runs after epoch `epoch` (from 0) and its validation; `step` steps are complete."""

    def waiting(self, reason: str) -> None:
        """Runs when the loop waits before a step; `reason` is such as "compiling 1 of 2: ..."."""

    def close(self) -> None:
        """Runs when training ends, also after an error."""


class NonFiniteLoss(UserError):
    """A loss, gradient or validation score is not finite."""


class FiniteCheck(Hook):
    """Stops a run whose loss or gradient is not finite, before such parameters are saved."""

    def __init__(self, utterances: Callable[[int], Sequence[str]], allowed: int, skipped: Sequence[int]):
        """Args: utterances: ids by step; allowed: steps that the run may skip; skipped: steps skipped before."""
        self._utterances, self._allowed = utterances, allowed
        self.skipped = list(skipped)

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        if np.isfinite(metrics.loss) and np.isfinite(metrics.gradient_norm):
            return
        found = (
            f"Step {step}: loss {metrics.loss}, gradient norm {metrics.gradient_norm}. The step's utterances: "
            f"{', '.join(self._utterances(step))}."
        )
        self.skipped.append(step)
        number = len(self.skipped)
        if number <= self._allowed:
            console.print(f"Warning: {found} The step was skipped ({number} of {self._allowed} allowed).")
            return
        limit = f" The run may skip {self._allowed} such steps; this is number {number}." if self._allowed else ""
        raise NonFiniteLoss(
            f"{found}{limit} The last checkpoint is older than this step. Try a lower --config.optim.lr or "
            "--config.optim.clip=1, or skip such steps with --config.optim.skip_nonfinite=N."
        )


def refuse_nonfinite_scores(epoch: int, score: np.ndarray) -> None:
    """Raises `NonFiniteLoss` if a score of the validation after epoch `epoch` (from 0) is not finite."""
    wrong = int(np.sum(~np.isfinite(score)))
    if wrong:
        raise NonFiniteLoss(
            f"Validation after epoch {epoch + 1}: {wrong} of {score.size} scores are not finite, probably after an "
            "update that was too large. Start a new run in another --workdir with a lower --config.optim.lr or "
            "--config.optim.clip=1."
        )
