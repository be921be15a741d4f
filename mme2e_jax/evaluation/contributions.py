"""How much each modality adds to a decision."""

from collections.abc import Mapping

import numpy as np


def contributions(by_modality: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> dict[str, np.ndarray]:
    """What each modality adds to the fused logits: its own logits times its weight; their sum is the logits.

    Args:
      by_modality: float `[l]` each.
      weights: of fusion, see `state.fusion_weights`.
    """
    return {m: by_modality[m] * weight for m, weight in weights.items()}


def shares(added: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each label, the share of each modality in what moved its logit away from 0, up or down: `[l]` in [0, 1]."""
    whole = sum(np.abs(values) for values in added.values())
    return {m: np.abs(values) / np.maximum(whole, np.finfo(np.float32).tiny) for m, values in added.items()}
