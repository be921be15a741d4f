"""Emotions from video, speech and transcript."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mme2e_jax.predict.predictor import Predictor

__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    # Not at the top: it brings JAX, which takes seconds to import.
    if name == "Predictor":
        from mme2e_jax.predict.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
