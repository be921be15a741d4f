"""Tests errors of preparation before it reads media, and its limits."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_tools.preparation.settings import PrepareError, Settings
from data_tools.prepare import prepare, require_few_dropped
from data_tools.records.report import Report
from data_tools.releases.release import ReleaseError
from mme2e_jax.media.utterance import Finding
from mme2e_jax.runtime.files import OutputExistsError


def test_the_share_that_may_be_lost_is_a_bound() -> None:
    report = Report(findings=[Finding("a_1", "no_media")], kept=["a_2", "a_3", "a_4"])

    require_few_dropped(report, 0.25)
    with pytest.raises(PrepareError, match=r"1 utterances were dropped, 25% .*expected at most 24%.*max_dropped=0\.25"):
        require_few_dropped(report, 0.24)


def test_an_occupied_directory_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()

    with pytest.raises(OutputExistsError, match=r"found 1 entries \(mine\)"):
        prepare(tmp_path / "no release", tmp_path / "out", Settings())


def test_an_empty_directory_is_no_release(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()

    with pytest.raises(ReleaseError, match="Expected a CMU-MOSEI raw release"):
        prepare(tmp_path / "raw", tmp_path / "out", Settings())
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_release_of_others_needs_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="dataset 'mosei' needs a tokenizer: --tokenizer=DIR"):
        prepare(tmp_path, tmp_path / "out", Settings(dataset="mosei"))
    assert list(tmp_path.iterdir()) == []


def test_the_command_names_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "data_tools.prepare", f"--raw={tmp_path}", f"--out={tmp_path / 'out'}"]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert "prepare: Expected a CMU-MOSEI raw release" in run.stderr
    assert "Traceback" not in run.stderr


def test_beam_without_apache_beam_names_the_requirements(tmp_path: Path) -> None:
    (tmp_path / "apache_beam.py").write_text("raise ModuleNotFoundError('not installed', name='apache_beam')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "data_tools.prepare", f"--raw={tmp_path}", f"--out={tmp_path / 'out'}"]

    run = subprocess.run(
        [*command, "--beam_pipeline_options=runner=DirectRunner"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )

    assert run.returncode == 1
    assert re.search(r"found no module apache_beam: pip install -r requirements-beam\.txt", run.stderr)
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--processes=2", "--beam_pipeline_options=runner=DirectRunner"], "found both: --processes=2"),
        (["--beam_staging=gs://b/s"], "--beam_staging: expected --beam_pipeline_options"),
    ],
)
def test_options_that_would_not_be_heeded_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    command = [sys.executable, "-m", "data_tools.prepare", f"--raw={tmp_path}", f"--out={tmp_path / 'out'}", *options]

    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert message in run.stderr
    assert "Traceback" not in run.stderr
