"""What logits mean: the task and the scores of each training loss."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mme2e_jax.evaluation.metrics import Task

# Names of `optim.loss` -> what is decided by the scores that come of it.
TASKS: Mapping[str, Task] = {
    "bce": Task.MULTI_LABEL,
    "ce": Task.SINGLE_LABEL,
    "mse": Task.REGRESSION,
    "l1": Task.REGRESSION,
}


def scores(logits: Float[np.ndarray, "n l"], name: str) -> Float[np.ndarray, "n l"]:
    """Logits as the loss means them, float64: probabilities of each label (bce), over the labels (ce), or values."""
    logits = logits.astype(np.float64)
    if name == "bce":
        return 1 / (1 + np.exp(-logits))
    if name == "ce":
        power = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return power / power.sum(axis=-1, keepdims=True)
    return logits
