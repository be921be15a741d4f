"""A trained model in one file that needs none of this package's models to run: program, weights, settings, tokenizer.

from mme2e_jax.exported import load

with load("model.mme2e") as predictor:
    prediction = predictor("clip.mp4", "What is said in it.")
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mme2e_jax.prediction.predictor import Predictor


def load(path: str | Path) -> "Predictor":
    """The model of a file, to predict on clips with.

    Raises:
      UserError: if the file is no exported model, is damaged, or holds a model that reads hand-crafted features.
    """
    # Here, not at the top: it brings JAX, and whether a file is one of ours is said without.
    from mme2e_jax.prediction.predictor import Predictor

    return Predictor.from_exported(path)
