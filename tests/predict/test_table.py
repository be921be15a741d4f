"""Terminal output of a prediction."""

import dataclasses
import io

import pytest

from mme2e_jax.predict.table import notes, predictions_table
from mme2e_jax.runtime.console import PlainConsole
from tests.predict.test_results import prediction


def test_a_note_of_several_utterances_appears_once() -> None:
    assert list(notes(prediction())) == [
        "No transcript.",
        "0:00.0-0:05.0 and 1 more: No face in some frames: 1 of 2.",
    ]


def shown(width: int) -> list[str]:
    """The table of a prediction with six long labels."""
    names = [f"[b]emotion{number}" for number in range(6)]
    original = prediction()
    utterances = [
        dataclasses.replace(u, scores=dict.fromkeys(names, 0.123), decided=tuple(names[:1]), transcript="word " * 40)
        for u in original.utterances
    ]
    labelled = dataclasses.replace(
        original, label_names=tuple(names), utterances=utterances, thresholds=dict.fromkeys(names, 0.5)
    )
    text = io.StringIO()
    PlainConsole(file=text, width=width).print(predictions_table(labelled, width))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [76, 80, 110])
def test_a_narrow_terminal_cuts_words_and_long_names_but_no_number(width: int) -> None:
    lines = shown(width)

    assert max(map(len, lines)) <= width
    row = next(line for line in lines if "0.12*" in line)
    assert row.count("0.12") == 6
    assert "50% / 45% / 5%" in row
    assert "0:00.0-0:05.0" in row
    assert "word" in row
    assert "…" in row


@pytest.mark.parametrize(
    ("width", "shares", "words"), [(52, False, False), (60, False, False), (70, True, False), (74, True, True)]
)
def test_a_very_narrow_terminal_leaves_words_and_shares_out_before_it_cuts_a_number(
    width: int, shares: bool, words: bool
) -> None:
    lines = shown(width)

    assert max(map(len, lines)) <= width
    row = next(line for line in lines if "0.12*" in line)
    assert row.count("0.12") == 6
    assert "0:00.0-0:05.0" in row
    assert ("50% / 45% / 5%" in row) == ("%" in row) == shares
    assert ("wo" in row) == ("…" in row) == words


def test_a_wide_terminal_cuts_no_name() -> None:
    assert any(all(f"[b]emotion{number} " in line for number in range(6)) for line in shown(200))
