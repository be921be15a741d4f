"""Where predictions are written, and the table and page of many files."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from mme2e_jax.predict.inputs import ClipFile
from mme2e_jax.predict.outputs import is_finished, output_directory, safe_name, safe_path, write_overview
from mme2e_jax.runtime.files import write_json
from tests.helpers.browser import needs_browser, opened
from tests.helpers.pages import ParsedPage
from tests.predict.test_results import prediction


def write(directory: Path, clip: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "predictions.json", {"path": str(clip.absolute())})


def test_clips_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    clips = [tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.wav", tmp_path / "c" / "clip.mp4"]
    for clip, name in zip(clips, ("clip", "clip-2", "clip-3"), strict=True):
        directory = output_directory(tmp_path / "out" / safe_name(clip), clip)
        assert directory == tmp_path / "out" / name
        write(directory, clip)

    assert [output_directory(tmp_path / "out" / "clip", clip).name for clip in clips] == ["clip", "clip-2", "clip-3"]


@pytest.mark.parametrize(
    ("clip", "name"), [("...mp4", "clip"), ("..", "clip"), ("x\n/y\\z|.mp4", "y_z_"), ("my film.mp4", "my film")]
)
def test_no_name_leads_elsewhere(clip: str, name: str) -> None:
    assert safe_name(Path(clip)) == name


def test_paths_of_many_files_stay_inside_and_differ() -> None:
    assert safe_path("a/my film.mp4") == Path("a/my film.mp4")
    unsafe = [
        "../a.mp4",
        "/etc/a.mp4",
        "a?.mp4",
        "a!.mp4",
        "\udcff.mp4",
        "\udcfe.mp4",
        "index.html",
        "..",
        "." + "?" * 250,
    ]
    paths = [safe_path(name) for name in unsafe]
    assert len(set(paths)) == len(paths)
    for path in paths:
        assert not path.is_absolute()
        assert ".." not in path.parts
        assert all(len(part) < 80 and part.isprintable() and part != "index.html" for part in path.parts)


def test_predictions_are_finished_for_the_same_request_only(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, {"hop": 0.5})
    prediction().write(tmp_path, {"hop": 0.5})
    assert is_finished(tmp_path, {"hop": 0.5})
    assert not is_finished(tmp_path, {"hop": 1.0})
    (tmp_path / "predictions.csv").unlink()
    assert not is_finished(tmp_path, {"hop": 0.5})


def overview(out: Path) -> list[ClipFile]:
    files = [ClipFile(out / "=bad.mp4", "=bad.mp4"), ClipFile(out / "x" / "a&b.mp4", "x/a&b.mp4")]
    files += [ClipFile(out / f"{k}.mp4", f"a_long_name_of_a_file_without_a_space_{k}.mp4") for k in range(3)]
    for file in files[1:]:
        predicted = dataclasses.replace(prediction(), path=str(file.path.absolute()))
        predicted.write(output_directory(out / safe_path(file.name), file.path))
    write_overview(out, "clips", files, {"=bad.mp4": "<b>Damaged</b>, \udcff."})
    return files


def test_the_table_and_the_page_hold_every_file(tmp_path: Path) -> None:
    files = overview(tmp_path)

    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as table:
        header, *rows = csv.reader(table)
    assert header[:5] == ["file", "start", "end", "happy", "<sad>"]
    assert [row[0] for row in rows] == ["'=bad.mp4", *(file.name for file in files[1:] for _ in range(2))]
    assert rows[0] == ["'=bad.mp4", *[""] * (len(header) - 2), "<b>Damaged</b>, \ufffd."]
    assert rows[1][1:4] == ["0.000", "5.000", "0.62"]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    parsed = ParsedPage(page)
    assert not parsed.open
    links = [values["href"] for tag, values in parsed.tags if tag == "a"]
    assert links[0] == "predictions.csv"
    assert len(links) == 5
    assert (
        json.loads((tmp_path / str(links[2]).replace(".html", ".json")).read_text())["headline"] == "happy throughout"
    )
    assert links[1] == f"x/{safe_path('a&b.mp4')}/predictions.html"
    assert "&lt;b&gt;Damaged&lt;/b&gt;" in page
    assert "5 files, 1 of them without predictions" in page
    assert page.count("happy throughout") == 4
    assert "No face in some frames: 1 of 2." in page


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_of_many_files_fits(width: int, tmp_path: Path) -> None:
    overview(tmp_path)

    found = opened((tmp_path / "index.html").read_text(encoding="utf-8"), tmp_path, width)

    assert found["needed"] <= found["width"] == min(width, 1200)
