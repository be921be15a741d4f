"""Tests the IEMOCAP reader on every awkward case and malformed text."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.releases.iemocap import (
    EMOTIONS,
    OTHER_EMOTIONS,
    Evaluation,
    is_turn_of,
    join_texts,
    parse_evaluation,
    parse_transcript,
    read_release,
    session_of,
)
from data_tools.releases.release import ReleaseError
from mme2e_jax.media.findings import REASONS
from mme2e_jax.media.utterance import Finding, Media, Utterance

DIALOGUE = "Ses03F_impro03"
EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes03F_impro03_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-F1:\tNeutral;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()

[8.0000 - 9.5000]\tSes03F_impro03_M000\tfru\t[2.0000, 3.0000, 3.0000]
C-E2:\tFrustration;\t()

"""
TRANSCRIPT = (
    "Ses03F_impro03_F000 [006.2901-008.2357]: Excuse me: you?\r\n"
    "F: [BREATHING]\r\n"
    "Ses03F_impro03_MXX0 [007.0000-007.5000]: Mhm.\r\n"
    "Ses03F_impro03_M000 [008.0000-009.5000]: No.\r\n"
)


def write_release(root: Path, evaluation: str = EVALUATION, transcript: str = TRANSCRIPT) -> Path:
    """A release of one dialogue, with empty media files, and with files that must not be read."""
    dialog = root / "Session3" / "dialog"
    for folder in ("avi/DivX", "wav", "transcriptions", "EmoEvaluation/Categorical", "EmoEvaluation/Self-evaluation"):
        (dialog / folder).mkdir(parents=True)
    (dialog / "avi/DivX" / f"{DIALOGUE}.avi").touch()
    (dialog / "wav" / f"{DIALOGUE}.wav").touch()
    (dialog / "EmoEvaluation" / f"{DIALOGUE}.txt").write_bytes(evaluation.encode())
    (dialog / "transcriptions" / f"{DIALOGUE}.txt").write_bytes(transcript.encode())
    (dialog / "EmoEvaluation" / "Categorical" / f"{DIALOGUE}_e2_cat.txt").write_text("not an evaluation\n")
    (dialog / "EmoEvaluation" / "Self-evaluation" / f"{DIALOGUE}_f1.txt").write_text("not an evaluation\n")
    for folder in ("EmoEvaluation", "transcriptions"):
        (dialog / folder / f"._{DIALOGUE}.txt").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    return root


def label(emotion: str) -> tuple[int, ...]:
    return tuple(int(name == emotion) for name in ("ang", "exc", "fru", "hap", "neu", "sad"))


def test_a_release_is_read(tmp_path: Path) -> None:
    root = write_release(tmp_path)

    release = read_release(root)

    assert release.label_names == ("ang", "exc", "fru", "hap", "neu", "sad")
    # The dialogue's letter is F: she is on the left half and on channel 0, he on the right and on channel 1. The
    # second turn begins before the first one ends.
    assert release.utterances == [
        Utterance(f"{DIALOGUE}_F000", DIALOGUE, 6.2901, 8.2357, "Excuse me: you?", label("neu"), "Ses03_F", "left", 0),
        Utterance(f"{DIALOGUE}_M000", DIALOGUE, 8.0, 9.5, "No.", label("fru"), "Ses03_M", "right", 1),
    ]
    dialog = root / "Session3" / "dialog"
    media = Media(dialog / "avi/DivX" / f"{DIALOGUE}.avi", dialog / "wav" / f"{DIALOGUE}.wav")
    assert release.media == {DIALOGUE: media}
    assert release.findings == [
        Finding(f"{DIALOGUE}:2", "line_without_id", "'F: [BREATHING]'"),
        Finding(f"{DIALOGUE}_MXX0", "transcript_without_label"),
    ]


def test_the_dialogues_letter_says_who_is_on_the_left() -> None:
    evaluations, _ = parse_evaluation("[0.0 - 1.0]\tSes05M_script01_1b_F012\tsad\t[2, 2, 2]", "Ses05M_script01_1b")

    (utterance,), _ = join_texts({e.turn: e for e in evaluations}, {"Ses05M_script01_1b_F012": "text"})

    assert (utterance.video, utterance.speaker) == ("Ses05M_script01_1b", "Ses05_F")
    assert (utterance.view, utterance.channel) == ("right", 1)
    assert session_of(utterance) == 5


def test_emotions_beside_the_six_are_excluded_and_named() -> None:
    turns = {f"{DIALOGUE}_F00{i}": emotion for i, emotion in enumerate((*OTHER_EMOTIONS, "hap"))}
    evaluations = {turn: Evaluation(turn, 0.0, 1.0, emotion) for turn, emotion in turns.items()}

    utterances, findings = join_texts(evaluations, dict.fromkeys(turns, "text"))

    assert [utterance.label for utterance in utterances] == [label("hap")]
    assert [(finding.reason, finding.detail) for finding in findings] == [
        ("other_emotion", "xxx"),
        ("other_emotion", "sur"),
        ("other_emotion", "fea"),
        ("other_emotion", "oth"),
        ("other_emotion", "dis"),
    ]
    assert {REASONS[finding.reason][0] for finding in findings} == {"excluded"}


@pytest.mark.parametrize(
    ("start", "end", "reason", "kept_start"),
    [(-1.0, 1.0, "negative_start", 0.0), (2.0, 2.0, "bad_times", None), (-2.0, -1.0, "bad_times", None)],
)
def test_times_are_clamped_or_refused(start: float, end: float, reason: str, kept_start: float | None) -> None:
    turn = f"{DIALOGUE}_F000"

    utterances, findings = join_texts({turn: Evaluation(turn, start, end, "ang")}, {turn: "text"})

    assert [utterance.start for utterance in utterances] == ([] if kept_start is None else [kept_start])
    assert [finding.reason for finding in findings] == [reason]


def test_evaluations_without_words_are_named() -> None:
    turns = [f"{DIALOGUE}_F000", f"{DIALOGUE}_F001"]

    utterances, findings = join_texts({turn: Evaluation(turn, 0.0, 1.0, "ang") for turn in turns}, {turns[1]: ""})

    assert [utterance.id for utterance in utterances] == [turns[1]]
    assert findings == [Finding(turns[0], "label_without_transcript"), Finding(turns[1], "empty_transcript")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[0.0 - 1.0] Ses03F_impro03_F001 neu [1, 1, 1]", "bad_evaluation_line"),
        ("[zero - 1.0]\tSes03F_impro03_F001\tneu\t[1, 1, 1]", "bad_evaluation_line"),
        ("[0.0 - inf]\tSes03F_impro03_F001\tneu\t[1, 1, 1]", "bad_evaluation_line"),
        ("Neutral", "bad_evaluation_line"),
        ("[0.0 - 1.0]\tSes03F_impro04_F001\tneu\t[1, 1, 1]", "bad_id"),
        ("[0.0 - 1.0]\t../Ses03F_impro03_F001\tneu\t[1, 1, 1]", "bad_id"),
        ("[0.0 - 1.0]\tSes03F_impro03_X001\tneu\t[1, 1, 1]", "bad_id"),
    ],
)
def test_an_unreadable_evaluation_is_named_by_its_line(line: str, reason: str) -> None:
    evaluations, findings = parse_evaluation(f"{EVALUATION.strip()}\n{line}\n", DIALOGUE)

    assert len(evaluations) == 2
    assert [(finding.id, finding.reason) for finding in findings] == [(f"{DIALOGUE}:10", reason)]


def test_an_unknown_emotion_is_no_other_emotion() -> None:
    _, findings = parse_evaluation("[0.0 - 1.0]\tSes03F_impro03_F001\tbored\t[1, 1, 1]", DIALOGUE)

    assert findings == [Finding("Ses03F_impro03_F001", "bad_evaluation_line", "unknown emotion 'bored'")]


def test_words_of_another_dialogue_are_refused() -> None:
    lines, findings = parse_transcript("Ses01F_impro03_F000 [000.0000-001.0000]: text\r\n", DIALOGUE)

    assert lines == []
    assert [(finding.id, finding.reason) for finding in findings] == [(f"{DIALOGUE}:1", "bad_id")]


def test_second_lines_and_foreign_encodings_are_named(tmp_path: Path) -> None:
    root = write_release(
        tmp_path,
        EVALUATION + "[1.0 - 2.0]\tSes03F_impro03_F000\tang\t[1, 1, 1]\n",
        "Ses03F_impro03_F000 [006.2901-008.2357]: first\r\nSes03F_impro03_F000 [006.2901-008.2357]: second\r\n",
    )
    path = root / "Session3/dialog/transcriptions" / f"{DIALOGUE}.txt"
    path.write_bytes(path.read_bytes() + b"Ses03F_impro03_M000 [008.0000-009.5000]: caf\xe9\r\n")

    release = read_release(root)

    assert [u.transcript for u in release.utterances] == ["first", "caf\ufffd"]
    assert release.utterances[0].label == label("neu")
    assert [(f.id, f.reason, f.detail) for f in release.findings] == [
        (f"{DIALOGUE}_F000", "duplicate", f"EmoEvaluation/{DIALOGUE}.txt"),
        (f"{DIALOGUE}_M000", "undecodable_text", f"transcriptions/{DIALOGUE}.txt"),
        (f"{DIALOGUE}_F000", "duplicate", f"transcriptions/{DIALOGUE}.txt"),
    ]


def test_missing_media_are_none(tmp_path: Path) -> None:
    root = write_release(tmp_path)
    (root / "Session3/dialog/wav" / f"{DIALOGUE}.wav").unlink()

    media = read_release(root).media[DIALOGUE]

    assert media.wav is None
    assert media.video is not None


def test_a_directory_that_is_no_release_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"Expected the directory .*found nothing there"):
        read_release(tmp_path / "absent")
    (tmp_path / "IEMOCAP_full_release").mkdir()
    with pytest.raises(
        ReleaseError,
        match=r"Missing: EmoEvaluation, transcriptions, videos or sound\. Found there: IEMOCAP_full_release\. Name the",
    ):
        read_release(tmp_path)


texts = st.lists(
    st.sampled_from(["[", "]", " - ", "\t", "\n", "\r", ": ", "0.5", "inf", "neu", f"{DIALOGUE}_F000", "C-"])
    | st.text(max_size=5),
    max_size=20,
).map("".join)


@given(texts)
def test_any_evaluation_is_read_without_an_exception(text: str) -> None:
    evaluations, findings = parse_evaluation(text, DIALOGUE)

    assert all(is_turn_of(DIALOGUE, e.turn) and math.isfinite(e.start) and math.isfinite(e.end) for e in evaluations)
    assert all(e.emotion in (*EMOTIONS, *OTHER_EMOTIONS) for e in evaluations)
    assert all(finding.reason in REASONS for finding in findings)


@given(texts)
def test_any_transcript_is_read_without_an_exception(text: str) -> None:
    lines, findings = parse_transcript(text, DIALOGUE)

    assert all(is_turn_of(DIALOGUE, turn) for turn, _ in lines)
    written = sum(1 for line in text.split("\n") if line.strip())
    assert len(lines) + sum(finding.reason != "undecodable_text" for finding in findings) == written
