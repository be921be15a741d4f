"""The commands of docs/your_own_data.md lead from a table to predictions."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import Command, commands
from tests.helpers.media import tone, write_video

WORDS = (
    *("good morning", "i lost it", "what a day", "it was fun", "go away now"),
    *("no more", "we met", "leave me", "so fine"),
)
# So that a run takes seconds.
SMALL = (
    *(
        "--config.optim.epochs=1",
        "--config.optim.dense_epochs=0",
        "--config.optim.teacher_saliency=0",
        "--config.optim.teacher_kd=0",
    ),
    *("--config.model.sparse_anneal=0", "--config.model.modalities=ta"),
    *("--config.model.width=0.0625", "--config.model.trans_dim=16", "--config.model.trans_layers=1"),
    *("--config.data.text_max_len=16", "--config.mesh.devices=1"),
)


def make_folder(folder: Path) -> None:
    """Writes nine videos of one second with a row each, and two rows that cannot be used."""
    rows = ["path,transcript,happy,sad"]
    for i, words in enumerate(WORDS):
        write_video(folder / f"day{i}.mp4", [20 * i + k for k in range(10)], wave=tone(1.0, 200 + 50 * i))
        rows.append(f"day{i}.mp4,{words},{i % 2},{1 - i % 2}")
    rows += ["gone.mp4,there is no such film,1,0", "day0.mp4,what is it,yes,0"]
    (folder / "clips.csv").write_text("\n".join(rows))


def run(command: Command, paths: dict[str, Path], *more: str) -> str:
    """Runs a documented command with `paths` for its placeholders and `more` flags; returns its output."""
    arguments = []
    for argument in [sys.executable, *command.parts[-1][1:]]:
        flag, _, value = argument.rpartition("=")
        arguments.append(f"{flag}={paths[value]}" if flag and value in paths else str(paths.get(argument, argument)))
    result = subprocess.run([*arguments, *more], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, f"{shlex.join(arguments)}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


def command_with(page: str, *words: str) -> Command:
    """The only command of a page that contains these words."""
    (found,) = [c for c in commands() if c.page == page and all(word in c.text for word in words)]
    return found


@pytest.mark.slow
def test_the_pages_commands_lead_from_a_table_to_predictions(tmp_path: Path) -> None:
    make_folder(tmp_path / "folder")
    clip = tmp_path / "folder" / "day3.mp4"
    (tmp_path / "film.srt").write_text("1\n00:00:00,000 --> 00:00:00,900\nIt was fun.\n")
    paths = {
        "FOLDER": tmp_path / "folder",
        "RECORDS": tmp_path / "records",
        "RUN": tmp_path / "run",
    }
    page = "your_own_data.md"

    output = run(command_with(page, "--dry_run"), paths)
    assert "9 utterances kept (0 of them degraded), 2 dropped, 0 excluded." in output
    assert "clips.csv:12" in output
    assert not paths["RECORDS"].exists()
    run(command_with(page, "--out=RECORDS", "--tokenizer=mini"), paths)
    report = json.loads((paths["RECORDS"] / "report.json").read_text())
    assert report["utterances"] == {"kept": 9, "kept_degraded": 9, "dropped": 2, "excluded": 0}
    assert report["settings"]["tokenizer"] == "mini-bpe"
    output = run(command_with(page, "data_tools.inspect_records"), paths)
    assert output.startswith("clips, records of kind media")
    assert (tmp_path / "records-inspection" / "index.html").is_file()

    run(command_with(page, "configs/clips_sparse.py --config.data.dir=RECORDS --workdir=RUN"), paths, *SMALL)
    evaluated = json.loads((paths["RUN"] / "report" / "metrics.json").read_text())
    assert list(evaluated["test"]["per_label"]) == ["happy", "sad"]
    film = {"runs/mini_sparse": paths["RUN"], "film.mkv": clip, "film.srt": tmp_path / "film.srt"}
    run(command_with("README.md", "--transcript_file"), film, f"--output_dir={tmp_path / 'film'}")
    predicted = json.loads((tmp_path / "film" / "predictions.json").read_text())
    assert [utterance["transcript"] for utterance in predicted["utterances"]] == ["It was fun."]


@pytest.mark.slow
def test_a_release_is_generated_by_the_command(tmp_path: Path) -> None:
    release = tmp_path / "release"

    run(command_with("releases.md", "data_tools.generate"), {"RELEASE": release}, "--utterances=8")

    assert {"Audio", "Labels", "Transcript", "Videos"} <= {path.name for path in release.iterdir()}
