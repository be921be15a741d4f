"""Whole runs on records with unusable examples."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from configs import lf_rnn
from mme2e_jax.errors import UserError
from tests.helpers.corrupt import flip, rewrite, with_array, without
from tests.helpers.runs import launched, metrics_of, run
from tests.helpers.synthetic import SIZES, shrunk_run


@pytest.fixture(scope="module")
def damaged(feature_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the synthetic feature records train_3 has a NaN, train_10 a flipped bit, and valid_8 no rows of video."""
    directory = Path(shutil.copytree(feature_records, tmp_path_factory.mktemp("damaged") / "records"))
    rewrite(directory / "mini-train.array_record-00000", 3, with_array("audio", np.float32, 9, np.nan))
    second = directory / "mini-train.array_record-00001"
    flip(second, second.read_bytes().index(b"train_10"))
    rewrite(directory / "mini-valid.array_record-00001", 0, without("video"))
    return directory


def command_of(records: Path, workdir: Path, *more: str) -> list[str]:
    # As in test_launch, so that their programs are the same.
    audio = ["--config.model.feature_sizes=300,34,35", "--config.data.audio_feature_type=3"]
    return [*shrunk_run(lf_rnn, records, workdir), *audio, "--config.model.modalities=a", *more]


def test_a_run_leaves_out_as_many_as_are_allowed_and_reports_them(
    damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*command_of(damaged, tmp_path / "one", "--config.data.skip_bad=3"))

    report = json.loads(metrics_of(tmp_path / "one"))
    assert report["skipped"].keys() == {"train_3", "train_10", "valid_8"}
    assert "mini-train.array_record-00000, record 3 (train): audio holds 1 numbers" in report["skipped"]["train_3"]
    assert "mini-valid.array_record-00001, record 0 (valid): expected video" in report["skipped"]["valid_8"]
    assert report["valid"]["utterances"] == SIZES["valid"] - 1
    assert report["test"]["utterances"] == SIZES["test"]
    assert all(np.isfinite(value) for value in report["test"]["mean"].values())
    told = capsys.readouterr().out
    assert [told.count(f"utterance {name}, ") for name in report["skipped"]] == [1, 1, 1]

    # Again from the start, with room to spare: the same numbers.
    run(*command_of(damaged, tmp_path / "two", "--config.data.skip_bad=9"))
    assert json.loads(metrics_of(tmp_path / "two"))["test"] == report["test"]

    # Of an evaluation, only what it met.
    run("--mode=evaluate", f"--workdir={tmp_path / 'one'}")
    evaluated = json.loads(metrics_of(tmp_path / "one"))
    assert evaluated["skipped"].keys() == {"valid_8"}
    assert evaluated["valid"] == report["valid"]


def test_a_run_that_stopped_at_a_record_resumes_without_it(damaged: Path, tmp_path: Path) -> None:
    command = command_of(damaged, tmp_path / "run")
    with pytest.raises(UserError, match=r"found 3:\n.*\n.*\n  - utterance valid_8: "):
        run(*command, "--config.data.skip_bad=2")

    run(*command, "--config.data.skip_bad=3")

    assert len(json.loads(metrics_of(tmp_path / "run"))["skipped"]) == 3


def test_the_user_sees_one_message_and_no_traceback(damaged: Path, tmp_path: Path) -> None:
    done = launched(*command_of(damaged, tmp_path / "run"))

    assert done.returncode == 1
    assert "Error: Expected at most 0 utterances with unusable records (config.data.skip_bad), found 1:" in done.stderr
    assert "--config.data.skip_bad=1" in done.stderr
    assert not any(word in done.stderr for word in ("Traceback", "numpy_function", "UnknownError", "InvalidArgument"))
