"""What happens beside the training loop, and the check for losses and scores that are not finite."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.metrics import Metrics
from mme2e_jax.runtime.console import console
from mme2e_jax.training.step import StepMetrics


class Hook(Protocol):
    """Called by the loop; `metrics` are numpy arrays by then."""

    def after_step(self, step: int, metrics: StepMetrics, seconds: Mapping[str, float]) -> None:
        """After step `step` (from 0), in order, maybe one step late; `seconds` as `Clock.lap` has them."""

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        """After epoch `epoch` (from 0) and its validation; `step` steps are done."""

    def close(self) -> None:
        """When training ends, well or not."""


class NonFiniteLoss(UserError):
    """The loss or a gradient is not finite: the message names the step and its utterances; or scores are not."""


class FiniteCheck:
    """Stops a run whose loss or gradient is not finite before it spoils a checkpoint."""

    def __init__(self, utterances: Callable[[int], Sequence[str]], allowed: int, skipped: Sequence[int]):
        """Prepares to check a run.

        Args:
          utterances: the ids of the utterances of a step.
          allowed: such steps that the run may have; they change nothing then.
          skipped: those it had before.
        """
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
        if len(self.skipped) <= self._allowed:
            number = f"{len(self.skipped)} of {self._allowed} that may be"
            # Utterances' names may have brackets.
            console.print(f"Warning: {found} It was skipped, as {number}.", markup=False)
            return
        before = f" It would be number {len(self.skipped)} of those skipped." if self._allowed else ""
        raise NonFiniteLoss(
            f"{found}{before} The last checkpoint is from before; try a lower --config.optim.lr, "
            "--config.optim.clip=1, or leave such steps out with --config.optim.skip_nonfinite=N."
        )

    def after_epoch(self, epoch: int, step: int, loss: float, valid: Metrics) -> None:
        pass

    def close(self) -> None:
        pass


def refuse_nonfinite_scores(epoch: int, score: np.ndarray) -> None:
    """Ends a run whose losses were finite, or skipped, and whose parameters are of no use all the same.

    Raises:
      NonFiniteLoss: if a score of the validation after epoch `epoch` (from 0) is not finite.
    """
    wrong = int(np.sum(~np.isfinite(score)))
    if wrong:
        raise NonFiniteLoss(
            f"Validation after epoch {epoch + 1}: {wrong} of {score.size} scores are not finite, so that the "
            "parameters are of no use, maybe since an update that was too large. Start another run, in another "
            "--workdir, with a lower --config.optim.lr or --config.optim.clip=1."
        )
