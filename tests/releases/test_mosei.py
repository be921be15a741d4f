"""Tests the MOSEI reader on every awkward case and malformed text."""

import csv
import io
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.releases.mosei import join_labels, parse_labels, read_release
from data_tools.releases.release import ReleaseError
from mme2e_jax.media.findings import REASONS
from mme2e_jax.media.transcripts import TranscriptLine, parse_transcript
from mme2e_jax.media.utterance import Finding, Media, Utterance, is_identifier

HEADER = (
    "HITId,Input.VIDEO_ID,Input.CLIP,Answer.anger,Answer.disgust,Answer.fear,Answer.happiness,"
    "Answer.sadness,Answer.surprise\n"
)
COLUMNS = HEADER.strip().split(",")
NO_ANSWER = [math.nan] * 6


def parsed_labels(rows: str) -> tuple[list[tuple[str, int, list[float]]], list[Finding]]:
    return parse_labels(enumerate(csv.reader(io.StringIO(rows)), start=2), COLUMNS, "b.csv")


def write_release(root: Path, transcripts: dict[str, str], labels: dict[str, str], *, full: bool = False) -> Path:
    """A release of texts, with an empty video file for each transcript."""
    folder = "Transcript/Segmented/Combined" if full else "Transcript/Combined"
    wavs = "Audio/Full/WAV_16000" if full else "Audio/WAV_16000"
    for name in (folder, wavs, "Videos/Full/Combined", "Labels"):
        (root / name).mkdir(parents=True)
    for stem, text in transcripts.items():
        (root / folder / f"{stem}.txt").write_bytes(text.encode("utf-8"))
        (root / "Videos/Full/Combined" / f"{stem}.mp4").touch()
        (root / wavs / f"{stem}.wav").touch()
    for name, rows in labels.items():
        (root / "Labels" / name).write_text(HEADER + rows, encoding="utf-8")
    return root


@pytest.mark.parametrize("full", [False, True])
def test_a_release_is_read_in_both_layouts(full: bool, tmp_path: Path) -> None:
    root = write_release(
        tmp_path,
        {"vid-1": "vid-1___0___0.0___2.5___hello\nvid-1___1___2.5___4___bye\n"},
        {
            "b1.csv": "H,vid-1,0,0,0,0,1,0,0\nH,vid-1,1,0,0,0,0,0,0\n",
            # A later batch, with a path before the identifier and no answer to three questions.
            "b2.csv": "H,x/vid-1,0,,nan,NaN,0,2,0\nH,x/vid-1,1,0,0,0,0,0,0\n",
        },
        full=full,
    )

    release = read_release(root)

    assert release.utterances == [
        Utterance("vid-1_0", "vid-1", 0.0, 2.5, "hello", (0, 0, 0, 1, 1, 0), "vid-1"),
        Utterance("vid-1_1", "vid-1", 2.5, 4.0, "bye", (0, 0, 0, 0, 0, 0), "vid-1"),
    ]
    wavs = "Audio/Full/WAV_16000" if full else "Audio/WAV_16000"
    assert release.media == {"vid-1": Media(root / "Videos/Full/Combined/vid-1.mp4", root / wavs / "vid-1.wav")}
    assert release.findings == []
    assert [utterance.id for utterance in release.utterances] == ["vid-1_0", "vid-1_1"]


def test_missing_media_are_none(tmp_path: Path) -> None:
    root = write_release(tmp_path, {"v": "v___0___0___1___a"}, {"b.csv": "H,v,0,0,0,0,0,0,0\n"})
    (root / "Videos/Full/Combined/v.mp4").unlink()

    assert read_release(root).media["v"].video is None


def test_a_text_may_hold_the_separator_and_any_letters() -> None:
    lines, findings = parse_transcript("v___3___1___2.5___a___b “café” 你好\u2028 c\r\n\n", "v")

    assert lines == [TranscriptLine("v", 3, 1.0, 2.5, "a___b “café” 你好 c")]
    assert findings == []


def test_an_identifier_may_end_with_the_separators_character() -> None:
    # Read from the left, `a_` would lose its underscore to the separator.
    lines, _ = parse_transcript("a____7___0___1___text", "a_")

    assert lines == [TranscriptLine("a_", 7, 0.0, 1.0, "text")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no separators", "bad_transcript_line"),
        ("v___1___0___1", "bad_transcript_line"),
        ("v___one___0___1___text", "bad_transcript_line"),
        ("v___-1___0___1___text", "bad_transcript_line"),
        ("v___1___zero___1___text", "bad_transcript_line"),
        ("v___1___0___inf___text", "bad_transcript_line"),
        ("v___1___nan___1___text", "bad_transcript_line"),
        ("../v___1___0___1___text", "bad_id"),
        ("a/b___1___0___1___text", "bad_id"),
        ("..___1___0___1___text", "bad_id"),
        ("a\\b___1___0___1___text", "bad_id"),
        ("a\0b___1___0___1___text", "bad_id"),
        ("___1___0___1___text", "bad_id"),
    ],
)
def test_an_unreadable_line_is_named_by_its_number(line: str, reason: str) -> None:
    lines, findings = parse_transcript(f"v___0___0___1___fine\n{line}\n", "v")

    assert [read.text for read in lines] == ["fine"]
    assert [(finding.id, finding.reason) for finding in findings] == [("v:2", reason)]


def test_emotions_are_present_when_the_sum_over_workers_is_above_zero() -> None:
    parsed, findings = parsed_labels("H,v,0,1,0,-1,0,,3\nH,v,0,0,0,1,0,,nan\nH,v,0,0,0,0,0.5,,0\n")
    line = TranscriptLine("v", 0, 0.0, 1.0, "text")
    sums = [sum(a for _, _, answers in parsed if not math.isnan(a := answers[i])) for i in range(6)]
    utterances, _ = join_labels({("v", 0): line}, {("v", 0): list(map(float, sums))})

    assert findings == []
    # anger 1; disgust 0; fear -1 + 1 = 0; happy 0.5; sad never answered; surprise 3.
    assert utterances[0].label == (1, 0, 0, 1, 0, 1)


def test_unreadable_label_rows_are_named_by_their_number() -> None:
    parsed, findings = parsed_labels(
        "H,..,0,0,0,0,0,0,0\nH,v,x,0,0,0,0,0,0\nH,v,1,0,0,lots,0,0,0\nH,v,1.0,0,0,0,0,0,1\n"
        "H,v,2,0,0,0,0,0\nH,v,2,0,0,0,0,0,0,1\nH,v,1,1,0,0,0,0,0,,\n"
    )

    assert parsed == [("v", 1, [0, 0, 0, 0, 0, 1]), ("v", 1, [1, 0, 0, 0, 0, 0])]
    assert [(f.id, f.reason) for f in findings] == [
        ("b.csv:2", "bad_id"),
        ("b.csv:3", "bad_label_row"),
        ("b.csv:4", "bad_label_row"),
        ("b.csv:6", "bad_label_row"),
        ("b.csv:7", "bad_label_row"),
    ]


def test_rows_of_mechanical_turk_end_before_the_columns_of_the_requester(tmp_path: Path) -> None:
    root = write_release(tmp_path, {"v": "".join(f"v___{i}___{i}___{i + 1}___a\n" for i in range(4))}, {})
    header = ",".join(f'"{name}"' for name in (*COLUMNS, "Answer.comment", "Approve", "Reject"))
    rows = [
        # As downloaded, reviewed, and written again by a spreadsheet; the last one lacks a cell.
        '"H","v","0","1","0","0","0","0","0","said ""no"",\n\nlouder"',
        '"H","v","1","0","1","0","0","0","0","","","too fast"',
        "H,v,2,0,0,1,0,0,0,,,",
        '"H","v","3","1","0","0","0","0","0"',
    ]
    (root / "Labels" / "b.csv").write_text("\n".join([header, *rows]) + "\n")

    release = read_release(root)

    assert [u.label for u in release.utterances] == [(1, 0, 0, 0, 0, 0), (0, 1, 0, 0, 0, 0), (0, 0, 1, 0, 0, 0)]
    assert release.findings[0] == Finding("b.csv:7", "bad_label_row", "expected 10 cells, found 9")


@pytest.mark.parametrize(
    ("start", "end", "reason", "kept_start"),
    [
        (-2.0, 1.0, "negative_start", 0.0),
        (2.0, 2.0, "bad_times", None),
        (2.0, 1.0, "bad_times", None),
        (-2.0, -1.0, "bad_times", None),
    ],
)
def test_times_are_clamped_or_refused(start: float, end: float, reason: str, kept_start: float | None) -> None:
    line = TranscriptLine("v", 0, start, end, "text")

    utterances, findings = join_labels({("v", 0): line}, {("v", 0): [0.0] * 6})

    assert [utterance.start for utterance in utterances] == ([] if kept_start is None else [kept_start])
    assert [finding.reason for finding in findings] == [reason]


def test_lines_and_labels_without_each_other_are_named() -> None:
    line = TranscriptLine("v", 0, 0.0, 1.0, "")
    keys = {("v", number): TranscriptLine("v", number, 0.0, 1.0, "") for number in (0, 1, 3)}

    utterances, findings = join_labels(keys, {("v", 0): [0.0] * 6, ("v", 2): [0.0] * 6, ("v", 3): NO_ANSWER})

    assert utterances == [Utterance("v_0", "v", line.start, line.end, "", (0,) * 6, "v")]
    assert findings == [
        Finding("v_0", "empty_transcript"),
        Finding("v_1", "transcript_without_label"),
        Finding("v_2", "label_without_transcript"),
        Finding("v_3", "no_answers"),
    ]


def test_a_second_line_for_a_clip_and_foreign_encodings_are_named(tmp_path: Path) -> None:
    root = write_release(
        tmp_path,
        {"v": "v___0___0___1___first\nv___0___1___2___second\n"},
        {"b.csv": "H,v,0,0,0,0,0,0,0\nH,w,0,0,0,0,0,0,0\n"},
    )
    (root / "Transcript/Combined/w.txt").write_bytes(b"w___0___0___1___caf\xe9\n")

    release = read_release(root)

    assert [utterance.transcript for utterance in release.utterances] == ["first", "caf\ufffd"]
    assert [(f.id, f.reason) for f in release.findings] == [
        ("v_0", "duplicate"),
        ("w_0", "undecodable_text"),
    ]


def test_a_directory_that_is_no_release_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"Expected the directory .*found nothing there"):
        read_release(tmp_path / "absent")
    with pytest.raises(ReleaseError, match=r"Missing: transcripts, labels, videos or sound. Found there: nothing"):
        read_release(tmp_path)
    (tmp_path / "MOSEI").mkdir()
    with pytest.raises(ReleaseError, match=r"Transcript/Combined.*Found there: MOSEI"):
        read_release(tmp_path)


def test_a_label_file_without_the_columns_is_named(tmp_path: Path) -> None:
    root = write_release(tmp_path, {"v": "v___0___0___1___a"}, {})
    (root / "Labels" / "b.csv").write_text("Input.VIDEO_ID,Answer.anger\nv,1\n")

    with pytest.raises(ReleaseError, match=r"b\.csv: expected the columns .*missing Input.CLIP, Answer"):
        read_release(root)


separators = st.sampled_from(["___", "__", "_", "\n", "\r", "-", ".", "1", "v", "nan", "1e999", " "])


@given(st.lists(separators | st.text(max_size=5), max_size=30).map("".join), st.text(max_size=8))
def test_any_transcript_is_read_without_an_exception(text: str, stem: str) -> None:
    lines, findings = parse_transcript(text, stem)

    assert all(is_identifier(line.video) and math.isfinite(line.start) for line in lines)
    assert all(finding.reason in REASONS for finding in findings)
    written = sum(1 for line in text.split("\n") if line.strip("\r").strip())
    assert len(lines) + len(findings) == written


cells = st.text(max_size=10) | st.floats().map(str) | st.sampled_from(["1", "0", "../x", "x/y"])


@given(st.lists(st.lists(cells, min_size=7, max_size=10), max_size=5))
def test_any_label_row_is_read_without_an_exception(rows: list[list[str]]) -> None:
    parsed, findings = parse_labels(enumerate(rows, start=2), COLUMNS, "b.csv")

    assert len(parsed) + len(findings) == len(rows)
    assert all(is_identifier(video) and len(answers) == 6 for video, _, answers in parsed)
    assert all(not math.isinf(answer) for _, _, answers in parsed for answer in answers)


def test_both_forms_may_be_there_at_once(tmp_path: Path) -> None:
    labels = {"b.csv": "H,v,0,1,0,0,0,0,0\nH,w,0,1,0,0,0,0,0\n"}
    root = write_release(tmp_path, {"v": "v___0___0___1___short form"}, labels)
    write_release(
        tmp_path / "other", {"v": "v___0___0___1___full form", "w": "w___0___0___1___only here"}, labels, full=True
    )
    for folder in ("Transcript/Segmented", "Audio/Full"):
        (tmp_path / "other" / folder).rename(root / folder)

    release = read_release(root)

    assert [utterance.transcript for utterance in release.utterances] == ["short form", "only here"]
    assert release.media["v"].wav == root / "Audio/WAV_16000/v.wav"
    assert release.media["w"].wav == root / "Audio/Full/WAV_16000/w.wav"


def test_a_video_without_a_transcript_file_is_named(tmp_path: Path) -> None:
    root = write_release(tmp_path, {"v": "v___0___0___1___a"}, {"b.csv": "H,v,0,0,0,0,0,0,0\nH,gone,0,0,0,0,0,0,0\n"})

    release = read_release(root)

    assert [utterance.id for utterance in release.utterances] == ["v_0"]
    assert release.findings == [Finding("gone_0", "label_without_transcript")]


def test_the_rows_of_a_clip_add_up_over_batches(tmp_path: Path) -> None:
    root = write_release(
        tmp_path,
        {"v": "v___0___0___1___a"},
        # Three workers: happiness is outvoted to 0, sadness is seen by the last one only, anger is unanswered.
        {"b1.csv": "H,v,0,nan,0,0,1,0,0\nH,x/v,0,,0,0,-1,0,0\n", "b2.csv": "H,v,0.0,,0,0,nan,3,0\n"},
    )

    assert read_release(root).utterances[0].label == (0, 0, 0, 0, 1, 0)


def test_resource_forks_are_no_transcripts_and_no_labels(tmp_path: Path) -> None:
    root = write_release(tmp_path, {"v": "v___0___0___1___a"}, {"b.csv": "H,v,0,0,0,0,0,0,0\n"})
    for name in ("Transcript/Combined/._v.txt", "Labels/._b.csv"):
        (root / name).write_bytes(b"\x00\x05\x16\x07Mac OS X")

    release = read_release(root)

    assert [utterance.id for utterance in release.utterances] == ["v_0"]
    assert release.findings == []
