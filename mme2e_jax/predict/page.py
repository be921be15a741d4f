"""Renders the HTML page of one prediction."""

from typing import TYPE_CHECKING

from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.page import render

if TYPE_CHECKING:
    from mme2e_jax.predict.results import Prediction


def page(prediction: "Prediction") -> str:
    """Returns the page as HTML: one file that needs neither network nor scripts."""
    low, high, score_name = 0.0, 1.0, "probability"
    if prediction.task is Task.REGRESSION:
        values = [score for utterance in prediction.utterances for score in utterance.scores.values()]
        low, high, score_name = min(0.0, *values), max(1.0, *values), "value"
    return render("prediction", p=prediction, low=low, high=high, score_name=score_name)
