"""Contribution of each modality to a decision."""

from collections.abc import Mapping

import numpy as np


def contributions(by_modality: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> dict[str, np.ndarray]:
    """The logits of each modality, float `[l]`, times its fusion weight (`variables.fusion_weights`)."""
    return {m: by_modality[m] * weight for m, weight in weights.items()}


def shares(added: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Per modality, its share of the absolute contributions to each logit: `[l]` in [0, 1]."""
    whole = sum(np.abs(values) for values in added.values())
    return {m: np.abs(values) / np.maximum(whole, np.finfo(np.float32).tiny) for m, values in added.items()}
