"""A trained model in one file that needs none of this package's models to run: program, weights, settings, tokenizer.

from mme2e_jax.exported import load

with load("model.mme2e") as predictor:
    prediction = predictor("clip.mp4", "What is said in it.")
"""

from mme2e_jax.prediction.predictor import Predictor

__all__ = ["load"]

load = Predictor.from_exported
