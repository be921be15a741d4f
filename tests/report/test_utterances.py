"""Choosing and reading the example utterances of a report."""

from pathlib import Path

import numpy as np

from data_tools.records.records import write_dataset
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.report.utterances import EACH, PARTLY, RIGHT, WRONG, choose, outcomes, read_stored
from tests.helpers.synthetic import METADATA, make_example


def test_an_utterance_is_shown_as_stored(records: Path) -> None:
    split, expected = open_dataset(records).split("test"), make_example("test", 6)
    kept = {"v": [np.ones((len(expected["faces"]), 24, 24), bool)]}

    found = read_stored(split, 6, kept, "tav")

    assert found.transcript == "made up"
    assert found.evidence is not None
    for name in ("faces", "face_found", "frame_ms", "mel"):
        np.testing.assert_array_equal(getattr(found.evidence, name), expected[name])
    assert not found.notes
    unseen = read_stored(split, 6, {}, "t").evidence
    assert unseen is not None
    assert len(unseen.faces) == len(unseen.mel) == 0
    # The first utterance has no frames.
    assert read_stored(split, 0, {}, "tav").notes == ("It has no pictures.",)


def test_what_a_model_left_out_as_absent_is_not_shown(tmp_path: Path) -> None:
    example = make_example("test", 1)
    example |= {"face_found": np.array([True, False, True]), "mel": np.zeros((4, 128, 32), np.float32)}
    write_dataset(tmp_path, name="mini", splits={"test": [example]}, metadata=METADATA, examples_per_shard=1)
    kept = {"v": [np.ones((2, 24, 24), bool)]}

    found = read_stored(open_dataset(tmp_path).split("test"), 0, kept, "tav", mask_absent=True)

    assert found.evidence is not None
    np.testing.assert_array_equal(found.evidence.faces, example["faces"][[0, 2]])
    np.testing.assert_array_equal(found.evidence.frame_ms, [0.0, 1000.0])
    assert len(found.evidence.mel) == 0
    assert found.notes == ("1 of its 3 frames show no face and were left out.", "Its sound is silent.")


def test_utterances_are_right_partly_right_or_wrong() -> None:
    truth = np.array([[1, 0], [1, 1], [1, 0], [0, 0], [0, 0]], bool)
    predicted = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [1, 0]], bool)

    assert outcomes(truth, predicted).tolist() == [RIGHT, PARTLY, WRONG, RIGHT, WRONG]


def test_partly_right_utterances_fill_up_and_ineligible_ones_are_not_drawn() -> None:
    outcome = np.array([RIGHT] * 5 + [PARTLY] * 5 + [WRONG] * 5)
    eligible = np.ones(15, bool)
    eligible[[0, 1, 2, 3]] = False

    found = choose(outcome, eligible, seed=0)

    assert found[0] == 4
    assert [outcome[row] for row in found] == [RIGHT, PARTLY, PARTLY, WRONG, WRONG, WRONG]
    assert len(set(found)) == 2 * EACH
    assert choose(outcome, eligible, seed=0) == found
    assert choose(np.array([PARTLY]), np.ones(1, bool), seed=0) == [0]
