"""Whole runs of a baseline: what may change when they resume, what they log, and steps that are not finite."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from configs import lf_rnn, lf_transformer
from data_tools.records.records import feature_schema, write_dataset
from mme2e_jax.checkpoints.reader import Checkpoints
from mme2e_jax.commands.evaluate import evaluate_run
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.lock import lock_workdir
from mme2e_jax.training.hooks import NonFiniteLoss
from mme2e_jax.training.loop import train
from tests.helpers.synthetic import (
    FEATURE_METADATA,
    FEATURE_SIZES,
    SIZES,
    make_feature_example,
    make_feature_records,
    shrink,
)
from tests.training.test_loggers import history


def train_in(workdir: Path, records: Path, experiment: Any = lf_rnn, **overrides: object) -> None:
    """Trains a shrunk baseline on sound, three steps an epoch; `optim__lr` overrides `optim.lr`."""
    config: Any = shrink(experiment.get_config(), records)
    config.model.modalities = "a"  # quick to compile
    config.update_from_flattened_dict({key.replace("__", "."): value for key, value in overrides.items()})
    train(parse_config(config), open_dataset(records, kind="features"), workdir)


def logged(workdir: Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "steps.jsonl").read_text().splitlines()]


@pytest.fixture
def two_epochs(feature_records: Path, tmp_path: Path) -> Path:
    """The directory of a run of two epochs."""
    train_in(tmp_path / "run", feature_records)
    return tmp_path / "run"


def test_a_run_resumes_for_more_epochs_but_not_with_another_model_or_other_data(
    two_epochs: Path, feature_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = logged(two_epochs)
    for key, value, said in (
        ("model__rnn__layers", 2, r"config\.model\.rnn\.layers: started with 1, found 2"),
        ("data__batch_size", 4, r"config\.data\.batch_size: started with 8, found 4"),
        ("seed", 1, r"config\.seed: started with 0, found 1"),
    ):
        with pytest.raises(UserError, match=rf"holds a run with another config:\n.*{said}"):
            train_in(two_epochs, feature_records, optim__epochs=3, **{key: value})
    other = make_feature_records(tmp_path / "other", SIZES | {"train": 21})
    with pytest.raises(UserError, match=r"other training or validation data than the run in .* was started with"):
        train_in(two_epochs, other, optim__epochs=3)
    assert logged(two_epochs) == before

    train_in(two_epochs, feature_records, optim__epochs=3, log__every_steps=1)

    said = " ".join(capsys.readouterr().out.split())
    assert "The run now has 3 epochs, not 2." in said
    assert "Resuming at step 6" in said
    assert logged(two_epochs)[:6] == before
    assert [line["step"] for line in logged(two_epochs)] == list(range(9))
    checkpoints = Checkpoints(two_epochs)
    assert checkpoints.find_latest_step() == 9
    assert [entry["epoch"] for entry in checkpoints.read_record(9).history] == [0, 1, 2]


def test_a_run_whose_records_only_moved_resumes(two_epochs: Path, tmp_path: Path) -> None:
    train_in(two_epochs, make_feature_records(tmp_path / "moved"), optim__epochs=3)

    assert Checkpoints(two_epochs).find_latest_step() == 9


def test_every_step_is_logged_with_where_its_time_went(two_epochs: Path) -> None:
    lines = logged(two_epochs)

    assert [line["step"] for line in lines] == list(range(6))
    for line in lines:
        assert 0 < line["loss"] < 10
        assert line["gradient_norm"] > 0
        assert set(line["seconds"]) == {"input", "compilation", "step", "save", "validation"}
        assert all(seconds >= 0 for seconds in line["seconds"].values())
        assert line["seconds"]["step"] > 0
    # The end of the first epoch is in the time of the step after it.
    assert lines[3]["seconds"]["validation"] > 0
    assert lines[3]["seconds"]["save"] > 0
    assert [step for step in (1, 2, 4, 5) if lines[step]["seconds"]["validation"]] == []


@pytest.mark.parametrize("steps", ["1:3", pytest.param("4:100", marks=pytest.mark.slow)])
def test_steps_are_profiled_to_a_trace(steps: str, feature_records: Path, tmp_path: Path) -> None:
    train_in(tmp_path, feature_records, profile=steps)

    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert b"train_step" in trace.read_bytes()


def test_without_steps_to_profile_there_is_no_trace(two_epochs: Path) -> None:
    assert not (two_epochs / "profile").exists()


def test_a_run_logs_to_tensorboard_where_asked_to(feature_records: Path, tmp_path: Path) -> None:
    train_in(tmp_path, feature_records, log__tensorboard=True, log__every_steps=2)

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Tensors("train/loss")] == [0, 2, 4]
    assert [event.step for event in events.Tensors("valid/f1")] == [3, 6]


def test_a_run_logs_to_wandb_where_asked_to(
    feature_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    train_in(tmp_path, feature_records, log__wandb="project", log__every_steps=2)

    rows = [row for _, row in history(tmp_path)]
    assert [row["step"] for row in rows if "train/loss" in row] == [0, 2, 4]
    assert [row["step"] for row in rows if "valid/f1" in row] == [3, 6]


def test_a_second_run_in_the_same_directory_is_refused(feature_records: Path, tmp_path: Path) -> None:
    with lock_workdir(tmp_path), pytest.raises(UserError, match="Another run works in"):
        train_in(tmp_path, feature_records)
    assert not (tmp_path / "checkpoints").exists()


def test_a_learning_rate_that_is_too_high_ends_the_run_and_leaves_the_checkpoint_before(
    feature_records: Path, tmp_path: Path
) -> None:
    # Products of queries and keys overflow, so that their softmax is NaN on every processor.
    too_high = {"optim__name": "sgd", "optim__lr": 1e30, "checkpoint__every_steps": 1}

    with pytest.raises(NonFiniteLoss, match=r"Step 1: loss nan, .* utterances: train_\d+, .* Try a lower"):
        train_in(tmp_path, feature_records, lf_transformer, **too_high)

    assert [line["step"] for line in logged(tmp_path)] == [0]
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.list_steps() == [1]
    assert checkpoints.find_latest_step() == 1
    assert all(np.isfinite(value).all() for value in checkpoints.restore_arrays(1).values())

    # Leaving out what comes after such an update does not help, which is told.
    with pytest.raises(NonFiniteLoss, match=r"after epoch 1: \d+ of 54 scores are not finite"):
        train_in(tmp_path, feature_records, lf_transformer, **too_high, optim__skip_nonfinite=100)


def test_steps_of_an_utterance_that_overflows_are_left_out_where_that_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {split: [make_feature_example(split, i) for i in range(size)] for split, size in SIZES.items()}
    # Finite, but the products of queries and keys are not.
    splits["train"][7]["audio"] *= 1e30
    write_dataset(
        tmp_path / "records",
        name="mini",
        splits=splits,
        metadata=FEATURE_METADATA,
        schema=feature_schema(FEATURE_SIZES),
        examples_per_shard=8,
    )
    workdir, every_step = tmp_path / "run", {"checkpoint__every_steps": 1}
    with pytest.raises(NonFiniteLoss, match=r"train_7\b"):
        train_in(workdir, tmp_path / "records", lf_transformer, **every_step)

    # One in each epoch.
    train_in(workdir, tmp_path / "records", lf_transformer, **every_step, optim__skip_nonfinite=2)

    record = Checkpoints(workdir).read_record(6)
    assert len(record.skipped) == 2
    assert [line["step"] for line in logged(workdir) if line["loss"] is None] == record.skipped
    assert [step // 3 for step in record.skipped] == [0, 1]
    assert "The step was skipped (2 of 2 allowed)." in " ".join(capsys.readouterr().out.split())
    assert np.isfinite([entry["train_loss"] for entry in record.history]).all()
    assert 0 <= evaluate_run(workdir)["test"]["mean"]["f1"] <= 1
