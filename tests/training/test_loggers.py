"""The logged scalars of a run, read back from TensorBoard and Weights & Biases."""

import importlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from mme2e_jax.evaluation import metrics
from mme2e_jax.training import loggers
from mme2e_jax.training.loggers import ScalarLog, TensorBoard, WeightsAndBiases
from mme2e_jax.training.step import StepMetrics

SECONDS = {"input": 0.5, "step": 0.25}


def step_metrics(loss: float) -> StepMetrics:
    return StepMetrics(jnp.float32(loss), jnp.float32(2.0), {"v": jnp.array([0.5, 0.25]), "a": jnp.array([1.0])})


def validation() -> metrics.Metrics:
    """Perfect for `happy`; `sad` never occurs, and so has no AUC."""
    score, truth = np.array([[0.9, 0.2], [0.1, 0.3]]), np.array([[1.0, 0.0], [0.0, 0.0]])
    return metrics.compute(score, truth, ("happy", "sad"), {"happy": 0.5, "sad": 0.25})


class Kept(ScalarLog):
    """A log that keeps what it gets."""

    def __init__(self, every_steps: int) -> None:
        super().__init__(every_steps)
        self.written: list[tuple[int, Mapping[str, float]]] = []
        self.closed = False

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        self.written.append((step, scalars))

    def close(self) -> None:
        self.closed = True


def log_run(log: ScalarLog, start: int, losses: list[float], epoch_ends: bool) -> None:
    for step, loss in enumerate(losses, start):
        log.after_step(step, step_metrics(loss), SECONDS)
    if epoch_ends:
        log.after_epoch(0, start + len(losses), 0.75, validation())
    log.close()


def test_a_step_has_loss_gradient_active_sites_and_times() -> None:
    assert loggers.step_scalars(step_metrics(0.5), SECONDS) == {
        "train/loss": 0.5,
        "train/gradient_norm": 2.0,
        "active_sites/faces_stage_0": 0.5,
        "active_sites/faces_stage_1": 0.25,
        "active_sites/sound_stage_0": 1.0,
        "seconds/input": 0.5,
        "seconds/step": 0.25,
    }


def test_an_epoch_has_means_and_each_emotions_scores_as_far_as_they_exist() -> None:
    found = loggers.epoch_scalars(0.75, validation())

    assert found["train/epoch_loss"] == 0.75
    assert (found["valid/f1"], found["valid/auc"]) == (0.5, 1.0)
    assert (found["valid_f1/happy"], found["valid_f1/sad"]) == (1.0, 0.0)
    assert (found["threshold/happy"], found["threshold/sad"]) == (0.5, 0.25)
    assert [name for name in found if name.startswith("valid_auc/")] == ["valid_auc/happy"]
    assert all(np.isfinite(value) for value in found.values())


def test_steps_are_written_at_their_turn_and_epochs_always() -> None:
    log = Kept(every_steps=2)
    log_run(log, 1, [1.0, 2.0, 3.0, 4.0], epoch_ends=True)

    assert [step for step, _ in log.written] == [2, 4, 5]
    assert [found.get("train/loss") for _, found in log.written] == [2.0, 4.0, None]
    assert log.closed


def test_tensorboard_reads_back_what_was_written_in_few_groups(tmp_path: Path) -> None:
    log_run(TensorBoard(1, tmp_path), 0, [1.0, 0.5], epoch_ends=True)

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()["tensors"]
    read = {
        tag: [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)] for tag in tags
    }
    assert read["train/loss"] == [(0, 1.0), (1, 0.5)]
    assert read["valid/f1"] == [(2, 0.5)]
    assert read["active_sites/faces_stage_1"] == [(0, 0.25), (1, 0.25)]
    groups = {tag.split("/")[0] for tag in tags}
    assert groups == {"train", "valid", "valid_f1", "valid_auc", "threshold", "active_sites", "seconds"}
    assert all(tag.count("/") == 1 for tag in tags)


def history(workdir: Path) -> list[tuple[str, dict[str, float]]]:
    """What lies in W&B's offline runs below a directory: id of the run and a row of scalars, in order."""
    proto = importlib.import_module("wandb.proto.wandb_internal_pb2")
    found = []
    for file in sorted(workdir.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_ctime_ns):
        for content in log_records(file.read_bytes()):
            record = proto.Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
                found.append((file.stem.removeprefix("run-"), row))
    return found


def log_records(data: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, behind W&B's 7 bytes of header."""
    position, parts = 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        # 1: whole, 2: first, 3: middle, 4: last part.
        if kind in (1, 4):
            yield parts
            parts = b""


def test_a_resumed_run_stays_one_wandb_run_and_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_run(WeightsAndBiases(1, "p", tmp_path, {"seed": 0}), 0, [1.0, 0.5, 0.25], epoch_ends=False)
    # Killed, and resumed at an earlier checkpoint; a value that may change has changed.
    log_run(WeightsAndBiases(1, "p", tmp_path, {"seed": 1}), 1, [0.5, 0.25], epoch_ends=True)

    found = history(tmp_path)
    (run_id,) = {run for run, _ in found}
    assert (tmp_path / "wandb_run.txt").read_text() == f"p {run_id}\n"
    assert [(row["step"], row.get("train/loss")) for _, row in found] == [
        (0, 1.0),
        (1, 0.5),
        (2, 0.25),
        (1, 0.5),
        (2, 0.25),
        (3, None),
    ]
    assert found[-1][1]["valid/f1"] == 0.5
    said = capfd.readouterr()
    assert "monotonically" not in said.out + said.err
    assert len(said.out.splitlines()) + len(said.err.splitlines()) < 20


def test_another_project_is_another_wandb_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    log_run(WeightsAndBiases(1, "p", tmp_path, {}), 0, [1.0], epoch_ends=False)
    log_run(WeightsAndBiases(1, "q", tmp_path, {}), 1, [0.5], epoch_ends=False)

    (first, _), (second, _) = history(tmp_path)
    assert first != second
    assert (tmp_path / "wandb_run.txt").read_text() == f"q {second}\n"


def test_a_refusal_by_wandb_is_reported_with_what_to_do(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    # No user is logged in here, and nothing listens there. In a process of its own, as W&B keeps its first settings.
    own = {"WANDB_MODE": "online", "HOME": str(tmp_path), "NETRC": "nowhere", "WANDB_BASE_URL": "http://localhost:9"}
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"} | own
    program = (
        "from pathlib import Path; from mme2e_jax.training.loggers import WeightsAndBiases; "
        f"WeightsAndBiases(1, 'p', Path({str(tmp_path)!r}), {{}})"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mme2e_jax.errors.UserError: config.log.wandb: Weights & Biases did not open a run")
    assert "`wandb login`, or set WANDB_MODE=offline" in last
