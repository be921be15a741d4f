"""Exports in the hub's layout: their files, what they replace, and how they evaluate."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from configs import mini_dense
from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.runs.load import load_run
from tests.helpers.exports import LABELS, THRESHOLDS, make_run
from tests.helpers.runs import metrics_of, run

FILES = ["README.md", "config.json", "model.safetensors", "preprocessor_config.json", "thresholds.json", "tokenizer"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the smallest model: it reads text only."""
    return make_run(tmp_path_factory.mktemp("private") / "run", mini_dense, modalities="t")


def export(workdir: Path, *arguments: str) -> None:
    run("--mode=export", "--format=hub", f"--workdir={workdir}", *arguments)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_an_export_holds_the_run_in_files_that_other_programs_read(workdir: Path, tmp_path: Path) -> None:
    export(workdir, f"--out={tmp_path / 'deep' / 'model'}")

    directory = tmp_path / "deep" / "model"
    assert names(directory) == FILES
    config = json.loads((directory / "config.json").read_text())
    assert (config["model_type"], config["label_names"], config["step"]) == ("mme2e", list(LABELS), 0)
    assert config["config"]["model"]["modalities"] == "t"
    assert json.loads((directory / "thresholds.json").read_text()) == THRESHOLDS
    assert json.loads((directory / "preprocessor_config.json").read_text())["frame_interval_ms"] == 500
    tokenizer = (workdir / "tokenizer" / "tokenizer.json").read_bytes()
    assert (directory / "tokenizer" / "tokenizer.json").read_bytes() == tokenizer
    arrays = load_run(workdir, devices=1).model.state.variables.arrays()
    tensors = load_file(directory / "model.safetensors")
    assert tensors.keys() == {path.replace("/", ".") for path in arrays}
    assert "text.layer.query.kernel" in tensors
    # The paths of the machine are private.
    assert config["config"]["data"]["dir"] == "nowhere"
    assert not [path for path in directory.rglob("*.*") if str(workdir.parent).encode() in path.read_bytes()]


def test_exporting_again_replaces_an_export_and_keeps_other_files(workdir: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    out.mkdir()
    export(workdir, f"--out={out}")
    expected = {path: path.read_bytes() for path in out.rglob("*.*")}
    (out / "LICENSE").write_text("mine")
    (out / "tokenizer" / "spiece.model").write_text("of an earlier tokenizer")
    (out / "model.safetensors").write_text("damaged")

    export(workdir, f"--out={out}")

    assert names(out) == sorted([*FILES, "LICENSE"])
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == expected


def test_the_default_is_a_directory_in_the_run(workdir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(workdir, tmp_path / "run")

    export(copy)

    assert names(copy / "hub") == FILES
    assert names(tmp_path) == ["run"]


def test_an_export_that_is_interrupted_cannot_be_mistaken_for_one(
    workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    export(workdir, f"--out={out}")
    other = make_run(tmp_path / "other", mini_dense, modalities="ta")
    monkeypatch.setattr(archive, "tokenizer_members", lambda directory: {"tokenizer/tokenizer.json": None})

    # After the weights.
    with pytest.raises(TypeError):
        export(other, f"--out={out}")

    with pytest.raises(UserError, match=r"tokenizer|SHA-256"):
        load_run(out, devices=1)
    with pytest.raises(TypeError):
        export(other, f"--out={tmp_path / 'new'}")
    assert names(tmp_path) == ["model", "other"]


def test_other_directories_and_bad_arguments_are_refused(workdir: Path, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"a film")
    for arguments, message in [
        ((f"--out={tmp_path}",), r"--out: Expected .* to be absent or empty, found 1 entries \(film.mp4\)"),
        ((f"--out={tmp_path / 'film.mp4'}",), "found a file"),
        ((f"--out={workdir}",), "--out: Expected .* to be absent or empty"),
        ((f"--tokenizer={tmp_path}", f"--out={tmp_path / 'model'}"), "expected a directory with tokenizer.json"),
        (("--format=zip",), "should be one of <file|hub>"),
    ]:
        with pytest.raises(UserError, match=message):
            export(workdir, *arguments)
    assert names(tmp_path) == ["film.mp4"]


def test_a_shared_model_evaluates_as_its_run_does(baseline_run: Path, feature_records: Path, tmp_path: Path) -> None:
    export(baseline_run, f"--out={tmp_path / 'model'}")
    assert not (tmp_path / "model" / "tokenizer").exists()

    run("--mode=evaluate", f"--workdir={tmp_path / 'model'}", f"--data_dir={feature_records}")

    assert metrics_of(tmp_path / "model") == metrics_of(baseline_run)
