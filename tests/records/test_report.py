"""Tests that the report counts every utterance once."""

import io

import pytest

from data_tools.records.report import Report
from mme2e_jax.media.utterance import Finding
from mme2e_jax.runtime.console import PlainConsole


@pytest.fixture
def report() -> Report:
    return Report(
        settings={"seed": 0},
        findings=[
            Finding("b_2", "no_wav"),
            Finding("b_2", "no_media"),
            Finding("b_1", "no_face", "3 frames"),
            Finding("b_1", "clipped", "1 s"),
            Finding("a_1", "clipped", "2 s"),
            Finding("a:7", "bad_transcript_line"),
            # A second line for an utterance that is kept drops the line, not the utterance.
            Finding("a_1", "duplicate"),
            # Nothing of it is missing.
            Finding("c_1", "several_faces", "1 of 3 frames"),
            Finding("d_1", "other_emotion", "xxx"),
            Finding("d_2", "other_emotion", "fea"),
            Finding("d_3", "other_emotion", "xxx"),
        ],
        kept=["a_1", "b_1", "c_1"],
        splits={"train": {"utterances": 3, "videos": 3, "positives": {"anger": 1, "sad": 0}}},
        warnings=["The split [valid] is empty."],
    )


def test_utterances_are_counted_once(report: Report) -> None:
    # Dropped: b_2 and line 7 of a. Degraded and kept: a_1 and b_1.
    assert report.to_json()["utterances"] == {"kept": 3, "kept_degraded": 2, "dropped": 2, "excluded": 3}


def test_what_was_never_part_of_the_task_is_not_lost(report: Report) -> None:
    assert report.dropped_share() == pytest.approx(2 / 5)
    assert Report().dropped_share() == 0


def test_reasons_hold_counts_and_sorted_identifiers(report: Report) -> None:
    reasons = report.to_json()["reasons"]

    assert reasons["clipped"]["count"] == 2
    assert reasons["clipped"]["effect"] == "degraded"
    assert reasons["clipped"]["utterances"] == [
        {"id": "a_1", "detail": "2 s"},
        {"id": "b_1", "detail": "1 s"},
    ]
    assert reasons["no_media"]["effect"] == "dropped"
    assert reasons["other_emotion"]["by_detail"] == {"fea": 1, "xxx": 2}
    assert {reason: entry["count"] for reason, entry in reasons.items()} == {
        "bad_transcript_line": 1,
        "other_emotion": 3,
        "duplicate": 1,
        "no_media": 1,
        "no_wav": 1,
        "clipped": 2,
        "no_face": 1,
        "several_faces": 1,
    }


def test_an_unknown_reason_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError, match="unknown reason 'typo'"):
        Report(findings=[Finding("a_1", "typo")]).to_json()


def test_the_printed_report_shows_counts_splits_and_warnings(report: Report) -> None:
    text = io.StringIO()

    report.print(PlainConsole(file=text, width=120))

    shown = text.getvalue()
    assert "3 utterances kept (2 of them degraded), 2 dropped, 3 excluded." in shown
    assert "clipped" in shown
    assert "The clip ends after its video" in shown
    assert "anger" in shown
    assert "fea 1, xxx 2" in shown
    assert "Warning: The split [valid] is empty." in shown
