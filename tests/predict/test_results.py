"""The page of a prediction: its content, that it needs no other file, and escaping."""

import csv
import dataclasses
import io
import re
from pathlib import Path

import pytest

from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.predict import results
from mme2e_jax.predict.results import Prediction, SeenFrame, Utterance
from tests.helpers.pages import ParsedPage, random_evidence

NAMES = ("happy", "<sad>")


def prediction(*, sparse: bool = True, task: Task = Task.MULTI_LABEL) -> Prediction:
    def utterance(start: float, shown: bool) -> Utterance:
        return Utterance(
            start=start,
            end=start + 5,
            transcript="<script>alert(1)</script>",
            logits={"happy": 0.5, "<sad>": -1.0},
            scores={"happy": 0.62, "<sad>": -0.27 if task is Task.REGRESSION else 0.27},
            decided=("happy",),
            contributions={m: {"happy": 0.5, "<sad>": -1.0} for m in "tva"},
            shares={"t": 0.5, "v": 0.45, "a": 0.05},
            frames=2,
            faces_found=1,
            chunks=3,
            tokens=4,
            notes=("No face in some frames: 1 of 2.",),
            evidence=random_evidence(sparse) if shown else None,
        )

    return Prediction(
        clip="a & b.mp4",
        path="/clips/a & b.mp4",
        seconds=10.0,
        run="runs/x",
        step=3,
        model="mme2e_sparse",
        label_names=NAMES,
        thresholds={"happy": 0.5, "<sad>": 0.4},
        task=task,
        modalities="tva",
        sparse_threshold=0.5 if sparse else None,
        notes=("No transcript.",),
        utterances=(utterance(0, True), utterance(5, False)),
    )


def test_the_page_needs_no_other_file() -> None:
    text = prediction().to_html()
    seen = ParsedPage(text)

    assert not seen.open
    assert not [tag for tag, _ in seen.tags if tag in ("iframe", "img", "object")]
    links = [values[name] for _, values in seen.tags for name in ("href", "src") if name in values]
    assert all(link and link.startswith(("#", "data:")) for link in links)
    names = [values["id"] for _, values in seen.tags if "id" in values]
    assert len(names) == len(set(names))
    assert {link for link in links if link and link.startswith("#")} == {f"#{name}" for name in names}
    assert "http" not in text


def test_names_and_transcripts_are_escaped() -> None:
    text = prediction().to_html()

    assert "a &amp; b.mp4" in text
    assert "&lt;sad&gt;" in text
    assert "<sad>" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(("absent", "note"), [("v", "No face was found in the clip"), ("a", "The clip has no sound")])
def test_the_page_says_at_the_top_what_adds_nothing_in_the_whole_clip(absent: str, note: str) -> None:
    whole = prediction()
    without = [dataclasses.replace(u, shares=dict(u.shares) | {absent: 0.0}) for u in whole.utterances]
    everywhere = dataclasses.replace(whole, utterances=tuple(without))
    in_one_part = dataclasses.replace(whole, utterances=(without[0], whole.utterances[1]))

    assert note in everywhere.to_html().split("<h2>")[0]
    assert note not in in_one_part.to_html()
    assert note not in whole.to_html()


def test_faces_and_sound_are_shown_with_the_sites_that_each_stage_kept() -> None:
    images = [values for tag, values in ParsedPage(prediction().to_html()).tags if tag == "image"]

    # One of two utterances has evidence: 2 faces and 1 picture of sound, each with 3 stages.
    assert len(images) == (2 + 1) * (1 + 3)
    assert "They do not explain its decision" in prediction().to_html()
    dense = prediction(sparse=False).to_html()
    assert len([tag for tag, _ in ParsedPage(dense).tags if tag == "image"]) == 3
    assert "stage" not in dense


def test_values_below_zero_have_room() -> None:
    text = prediction(task=Task.REGRESSION).to_html()

    assert "from -0.27 to 1" in text
    heights = [float(x) for x in re.findall(r' height="(-?[0-9.]+)" fill', text)]
    assert heights
    assert all(0 <= height <= 1 for height in heights)


def test_no_cell_of_the_table_is_a_formula() -> None:
    original = prediction()
    utterances = [dataclasses.replace(original.utterances[0], transcript=text) for text in ("=cmd|' /C calc'!A0", "-1")]

    rows = list(csv.reader(io.StringIO(dataclasses.replace(original, utterances=tuple(utterances)).to_csv())))

    assert [row[-2] for row in rows] == ["transcript", "'=cmd|' /C calc'!A0", "'-1"]
    # Numbers stay numbers.
    assert rows[1][3] == "0.27"


def test_the_page_plays_the_clip_that_it_holds_or_links_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = tmp_path / "a & b.mp4"
    clip.write_bytes(b"film")
    of_clip = dataclasses.replace(prediction(), path=str(clip))

    def player(page: str) -> dict[str, str | None]:
        seen = ParsedPage(page)
        assert not seen.open
        (values,) = [values for tag, values in seen.tags if tag in ("video", "audio")]
        assert [tag for tag, _ in seen.tags].count("script") == 1
        return values

    assert player(of_clip.to_html(tmp_path / "out"))["src"] == "data:video/mp4;base64,ZmlsbQ=="
    monkeypatch.setattr(results, "EMBEDDED_BYTES", 4)
    assert player(of_clip.to_html(tmp_path / "out"))["src"] == "../a%20%26%20b.mp4"
    clip.unlink()
    assert "<video" not in of_clip.to_html(tmp_path / "out")


def test_a_video_without_a_face_is_played_as_a_video(tmp_path: Path) -> None:
    clip = tmp_path / "a.mp4"
    clip.write_bytes(b"film")
    original = prediction()
    faceless = tuple(dataclasses.replace(utterance, frames=0) for utterance in original.utterances)
    of_clip = dataclasses.replace(original, path=str(clip), utterances=faceless)

    assert "<audio" in dataclasses.replace(of_clip, frames=()).to_html(tmp_path / "out")
    page = dataclasses.replace(of_clip, frames=(SeenFrame(0.0, None),)).to_html(tmp_path / "out")
    assert "<video" in page
    assert "<audio" not in page


def test_a_long_clip_has_as_many_bars_and_rows_as_a_page_can_show() -> None:
    short = prediction()
    utterances = [dataclasses.replace(short.utterances[1], start=k / 2, end=k / 2 + 3) for k in range(4000)]
    page = dataclasses.replace(short, seconds=2002.5, utterances=(short.utterances[0], *utterances)).to_html()

    assert page.count("<title>") - 1 == 2 * 1200
    assert page.count("<tr><td>0:") + page.count("<tr><td>1:") + page.count("<tr><td>2:") <= 500
    assert "These are the first 500 of 4001 parts" in page


def test_the_table_of_moments_holds_no_formula_and_leaves_gaps_empty() -> None:
    u = prediction().utterances[0]
    one = dataclasses.replace(u, start=1.0, end=2.0, scores={"=1+1": 0.5}, decided=())
    table = dataclasses.replace(
        prediction(), label_names=("=1+1",), thresholds={"=1+1": 0.4}, utterances=(one,), hop=1.0
    )

    rows = list(csv.reader(io.StringIO(table.timeline_csv())))

    assert rows == [
        ["start", "end", "'=1+1", "'=1+1_decided"],
        ["0.000", "1.000", "", ""],
        ["1.000", "2.000", "0.5", "1"],
    ]
