"""Terminal output of a prediction."""

from mme2e_jax.predict.table import notes
from tests.predict.test_results import prediction


def test_a_note_of_several_utterances_appears_once() -> None:
    assert list(notes(prediction())) == [
        "No transcript.",
        "0:00.0-0:05.0 and 1 more: No face in some frames: 1 of 2.",
    ]
