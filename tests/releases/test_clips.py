"""Tests the reader of tables of clips, and their records."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given
from hypothesis import strategies as st

from data_tools.prepare import Settings, dry_run, prepare
from data_tools.releases.clips import Clip, parse_rows, read_release
from data_tools.releases.release import ReleaseError
from mme2e_jax.media.findings import REASONS
from mme2e_jax.media.utterance import Finding, Media, is_identifier
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.media import tone, write_video, write_wav

LABELS = ("calm", "tense")


def write_table(root: Path, text: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "clips.csv").write_text(text, encoding="utf-8")
    return root


COLUMNS = ("path", "transcript", "start", "end", "split", "id", "speaker", *LABELS)


def row(**values: str) -> dict[str, str]:
    return {"path": "a.mp4", "transcript": "text", "calm": "1", "tense": "0", **values}


def parsed(rows: list[dict[str, str]], source: str = "t") -> tuple[list[Clip], list[Finding]]:
    """Rows that stand in lines 2, 3, ..."""
    cells = [[values.get(column, "") for column in COLUMNS] for values in rows]
    return parse_rows(enumerate(cells, start=2), COLUMNS, source)


def test_a_table_is_read(tmp_path: Path) -> None:
    root = write_table(
        tmp_path,
        "path,transcript,start,end,split,speaker,calm,tense\n"
        'a/my day.mp4,"Good, yes.",0.5,2.25,train,ann,1,0\n'
        "a/my day.mp4,No.,-1,4,valid,ann,0,1.0\n"
        "b.wav,,,,test,,0,0\n",
    )
    (root / "a").mkdir()
    for name in ("a/my day.mp4", "b.wav"):
        (root / name).touch()

    release = read_release(root)

    assert release.label_names == LABELS
    read = [(u.id, u.video, u.start, u.end, u.transcript, u.label, u.speaker) for u in release.utterances]
    assert read == [
        ("a-my_day_0", "a-my_day", 0.5, 2.25, "Good, yes.", (1, 0), "ann"),
        ("a-my_day_1", "a-my_day", 0.0, 4.0, "No.", (0, 1), "ann"),
        ("b_0", "b", 0.0, float("inf"), "", (0, 0), "b"),
    ]
    assert release.splits == {"a-my_day_0": "train", "a-my_day_1": "valid", "b_0": "test"}
    assert release.media == {
        "a-my_day": Media(root / "a" / "my day.mp4", None),
        "b": Media(None, root / "b.wav"),
    }
    assert release.findings == [Finding("a-my_day_1", "negative_start", "-1 s"), Finding("b_0", "empty_transcript")]


def test_a_sound_file_beside_a_video_is_its_sound(tmp_path: Path) -> None:
    root = write_table(tmp_path, "path,transcript,calm\na.mp4,text,1\n")
    (root / "a.mp4").touch()
    (root / "a.wav").touch()

    release = read_release(root / "clips.csv")

    assert release.media == {"a": Media(root / "a.mp4", root / "a.wav")}
    assert release.splits is None


@pytest.mark.parametrize(
    ("values", "reason", "detail"),
    [
        ({"path": "../a.mp4"}, "bad_id", "below the table's directory"),
        ({"path": "b/../../a.mp4"}, "bad_id", "below the table's directory"),
        ({"path": "..\\a.mp4"}, "bad_id", "below the table's directory"),
        ({"path": "/etc/a.mp4"}, "bad_id", "below the table's directory"),
        ({"path": "C:\\a.mp4"}, "bad_id", "below the table's directory"),
        ({"path": ""}, "bad_id", "in the path: ''"),
        ({"id": "../a"}, "bad_id", "in the id: '../a'"),
        ({"id": "/a"}, "bad_id", "in the id: '/a'"),
        ({"id": ".."}, "bad_id", "in the id: '..'"),
        ({"id": "a/b"}, "bad_id", "in the id: 'a/b'"),
        ({"start": "x"}, "bad_row", "expected seconds, found start 'x'"),
        ({"end": "nan"}, "bad_row", "expected seconds"),
        ({"start": "2", "end": "1"}, "bad_times", "2 s to 1 s"),
        ({"calm": "2"}, "bad_row", "expected 0 or 1, found {'calm': '2'}"),
        ({"tense": ""}, "bad_row", "expected 0 or 1, found {'tense': ''}"),
        ({"split": "dev"}, "bad_row", "expected a split of train, valid, test, found 'dev'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_its_number(values: dict[str, str], reason: str, detail: str) -> None:
    clips, findings = parsed([row(), row(**values)], "clips.csv")

    assert [clip.utterance.id for clip in clips] == ["a_0"]
    assert [(finding.id, finding.reason) for finding in findings] == [("clips.csv:3", reason)]
    assert detail in findings[0].detail


def test_an_identifier_is_given_once_and_a_file_has_a_name_of_its_own() -> None:
    clips, findings = parsed([row(id="x"), row(id="x"), row(path="b/c.mp4"), row(path="b-c.mp4"), row(path="b/c.wav")])

    assert [clip.utterance.id for clip in clips] == ["x", "b-c_0"]
    assert [(finding.id, finding.reason) for finding in findings] == [
        ("t:3", "duplicate"),
        ("t:5", "bad_id"),
        ("t:6", "bad_id"),
    ]
    assert "b-c.mp4 and b/c.mp4 would both be named b-c" in findings[1].detail


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("path,calm", "'path', 'calm'"),
        ("transcript,calm", "'transcript', 'calm'"),
        ("path,transcript,split", "'path', 'transcript', 'split'"),
        ("path,transcript,calm,calm", "'path', 'transcript', 'calm', 'calm'"),
        ("path,transcript,calm,Calm ", "'path', 'transcript', 'calm', 'Calm '"),
        ("path,transcript,start,Start,calm", "'path', 'transcript', 'start', 'Start', 'calm'"),
        ("path,transcript, ", "'path', 'transcript', ' '"),
    ],
)
def test_a_table_without_the_columns_is_refused(header: str, found: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=rf"expected the columns path, transcript, .*; found {found}\."):
        read_release(write_table(tmp_path, f"{header}\n"))


def test_columns_are_known_in_any_case_and_labels_lose_spaces(tmp_path: Path) -> None:
    release = read_release(write_table(tmp_path, "Path, Transcript,START,End,calm \na.mp4,text,1,2,1\n"))

    assert release.label_names == ("calm",)
    assert [(u.start, u.end, u.label) for u in release.utterances] == [(1.0, 2.0, (1,))]


def test_a_row_with_other_cells_than_the_header_is_named_by_its_line(tmp_path: Path) -> None:
    release = read_release(
        write_table(
            tmp_path,
            'path,transcript,happy,sad\na.mp4,"two\nlines",1,0\n\nb.mp4,one,two,1,0\nc.mp4,text,1\nd.mp4,text,0,1\n',
        )
    )

    assert [u.id for u in release.utterances] == ["a_0", "d_0"]
    assert [(f.id, f.reason) for f in release.findings] == [("clips.csv:5", "bad_row"), ("clips.csv:6", "bad_row")]
    assert "expected 4 cells, found 5; a cell with a comma needs quotation marks" in release.findings[0].detail


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a.mp4,text,1\nb.mp4,"never closed,1\nc.mp4,text,1\n', 3),
        ('a.mp4,"two\nlines","never closed\nc.mp4,text,1\n', 3),
        ('a.mp4,"closed" too early,1\n', 2),
    ],
)
def test_a_quotation_mark_that_stays_open_is_named_by_its_line(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=rf"clips\.csv, line {line}: expected comma-separated values, found: "):
        read_release(write_table(tmp_path, f"path,transcript,calm\n{text}"))


def test_links_that_lead_out_of_the_directory_are_not_followed(tmp_path: Path) -> None:
    root = write_table(tmp_path / "raw", "path,transcript,calm\na.mp4,text,1\nb.mp4,text,1\nc/d.mp4,text,1\n")
    (tmp_path / "secret.mp4").touch()
    (root / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    (root / "b.mp4").touch()
    (root / "c").symlink_to(tmp_path)

    release = read_release(root)

    assert [u.id for u in release.utterances] == ["b_0"]
    assert [(f.id, f.reason) for f in release.findings] == [("a_0", "bad_id"), ("c-d_0", "bad_id")]


def test_a_directory_without_a_table_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"Expected the table .*clips\.csv with the columns path, .*: nothing\."):
        read_release(tmp_path)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(COLUMNS),
            st.text(max_size=8) | st.sampled_from(["1", "0", "../x", "a.mp4", "nan", "inf", "train"]),
        ),
        max_size=5,
    )
)
def test_any_row_is_read_without_an_exception(rows: list[dict[str, str]]) -> None:
    clips, findings = parsed(rows)

    assert all(is_identifier(clip.utterance.id) and is_identifier(clip.utterance.video) for clip in clips)
    assert all(0 <= clip.utterance.start < clip.utterance.end for clip in clips)
    assert all(finding.reason in REASONS for finding in findings)
    assert len(clips) + sum(finding.id.startswith("t:") for finding in findings) >= len(rows)


def test_a_dry_run_reports_a_clip_without_a_file_as_dropped_and_not_as_degraded(tmp_path: Path) -> None:
    root = write_table(tmp_path / "raw", "path,transcript,calm\na.wav,one,1\ngone.mp4,two,0\n")
    write_wav(root / "a.wav", tone(2.0))
    text = io.StringIO()

    report = dry_run(root, Settings(dataset="clips"), console=PlainConsole(file=text, width=200))

    assert [(finding.id, finding.reason) for finding in report.findings] == [
        ("a_0", "no_video"),
        ("gone_0", "no_media"),
    ]
    assert "1 utterances kept (1 of them degraded), 1 dropped, 0 excluded." in text.getvalue()


def test_records_have_the_tables_labels(tmp_path: Path) -> None:
    root = write_table(
        tmp_path / "raw",
        "path,transcript,start,end,split,calm,tense\n"
        "a.mp4,one,0.5,1.5,train,1,0\n"
        "a.mp4,two,,,train,1,1\n"
        "b.wav,three,,1,valid,0,1\n"
        "gone.mp4,four,,,test,0,1\n"
        "../up.mp4,five,,,test,0,1\n",
    )
    write_video(root / "a.mp4", [10 * i for i in range(20)], wave=tone(2.0))
    write_wav(root / "b.wav", tone(2.0))
    console = PlainConsole(file=io.StringIO(), width=120)

    report = prepare(root, tmp_path / "out", Settings(dataset="clips", kind="features"), processes=1, console=console)

    assert report.kept == ["a_0", "a_1", "b_0"]
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    reasons = {reason: [entry["id"] for entry in of["utterances"]] for reason, of in found["reasons"].items()}
    assert reasons["bad_id"] == ["clips.csv:6"]
    assert reasons["no_media"] == ["gone_0"]
    assert reasons["no_video"] == ["b_0", "gone_0"]
    # The sound of a clip is the video's own: neither a missing wav nor the whole file's end is news.
    assert not {"audio_from_video", "clipped"} & set(reasons)
    assert found["settings"]["splits"] == "as given"
    assert any("The split test is empty" in warning for warning in found["warnings"])
    builder: Any = tfds.builder_from_directory(tmp_path / "out")
    assert builder.info.metadata["label_names"] == ["calm", "tense"]
    assert builder.info.metadata["splits"]["train"]["positives"] == [2, 1]
    examples = {e["utterance_id"].decode(): e for e in builder.as_data_source(split="train")}
    np.testing.assert_array_equal(examples["a_1"]["label"], [1, 1])
    assert (len(examples["a_0"]["video"]), len(examples["a_1"]["video"])) == (2, 4)
    assert len(examples["a_1"]["audio"]) > len(examples["a_0"]["audio"]) > 0
