"""Task and scores that each training loss implies."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mme2e_jax.evaluation.metrics import Task

# By `optim.loss`.
TASKS: Mapping[str, Task] = {
    "bce": Task.MULTI_LABEL,
    "ce": Task.SINGLE_LABEL,
    "mse": Task.REGRESSION,
    "l1": Task.REGRESSION,
}


def scores(logits: Float[np.ndarray, "n l"], name: str) -> Float[np.ndarray, "n l"]:
    """Scores of logits, float64: a probability per label (bce), over the labels (ce), or the values themselves."""
    logits = logits.astype(np.float64)
    if name == "bce":
        # Below -709 the power is infinite and the score 0.
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-logits))
    if name == "ce":
        power = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return power / power.sum(axis=-1, keepdims=True)
    return logits
