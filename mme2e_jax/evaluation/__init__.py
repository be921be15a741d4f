"""Inference over a split, metrics, thresholds, bootstrap intervals, curves and FLOPs."""
