"""Checkpoints: the best and the last stay, and what is restored is what was saved, bit for bit."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.checkpoints.reader import Checkpoints, RunRecord, open_checkpoints
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.errors import UserError
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import TrainState, abstract_variables, initial_variables
from mme2e_jax.runtime import pytree
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training.optimizer import learning_rate, optimizer

SPEC = ModelSpec(
    modalities="v",
    sparse=False,
    labels=6,
    vocabulary=100,
    text=SIZES["tiny"],
    width=0.0625,
    trans_dim=8,
    trans_layers=1,
    trans_heads=2,
    dropout=0.1,
)
MESH = DataMesh(2)
TX = optimizer("adam", learning_rate(1e-3, "constant", 10), text_lr_factor=10.0, weight_decay=0.0, clip=0.0)


def fresh_state(variables: Any) -> TrainState:
    return TrainState(jnp.zeros((), jnp.int32), variables, TX.init(variables.params))


@pytest.fixture(scope="module")
def state() -> TrainState:
    """Every leaf drawn at random, so that no two can be confused."""
    start = fresh_state(initial_variables(SPEC, 0))
    rng = np.random.default_rng(0)

    def draw(leaf):
        leaf = np.asarray(leaf)
        return (100 * rng.random(leaf.shape)).astype(leaf.dtype)

    variables, moments = (jax.tree.map(draw, part) for part in (start.variables, start.optimizer))
    return MESH.put_replicated(TrainState(jnp.int32(0), variables, moments))


def at_step(state: TrainState, step: int) -> TrainState:
    return state._replace(step=jnp.int32(step))


def make_record(f1: list[float]) -> RunRecord:
    """After as many epochs as there are values."""
    history = [{"epoch": i, "train_loss": 1.0, "valid": {"f1": value}} for i, value in enumerate(f1)]
    return RunRecord({"seed": 3}, ["anger"], {"name": "made"}, {"sample_rate": 16000}, {"anger": 0.15}, history)


def save_epochs(workdir: Path, state: TrainState, f1: list[float], keep_last: int = 1) -> Checkpoints:
    writer = CheckpointWriter(workdir, keep_last)
    for epoch in range(len(f1)):
        writer.save(at_step(state, 5 * (epoch + 1)), make_record(f1[: epoch + 1]))
    writer.wait()
    return Checkpoints(workdir)


def steps_in(workdir: Path) -> list[int]:
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


def test_the_best_and_the_last_are_kept(tmp_path: Path, state: TrainState) -> None:
    checkpoints = save_epochs(tmp_path, state, [0.1, 0.4, 0.3, 0.2])

    assert (checkpoints.find_best_step(), checkpoints.find_latest_step()) == (10, 20)
    assert steps_in(tmp_path) == [10, 20]


def test_more_of_the_last_are_kept_where_asked_for(tmp_path: Path, state: TrainState) -> None:
    save_epochs(tmp_path, state, [0.4, 0.1, 0.3, 0.2], keep_last=2)

    assert steps_in(tmp_path) == [5, 15, 20]


def test_of_equally_good_epochs_the_first_is_the_best(tmp_path: Path, state: TrainState) -> None:
    save_epochs(tmp_path, state, [0.2, 0.4, 0.4, 0.4])

    # Asked of another process, too.
    assert Checkpoints(tmp_path).find_best_step() == 10
    assert steps_in(tmp_path) == [10, 20]


def test_what_is_restored_is_what_was_saved(tmp_path: Path, state: TrainState) -> None:
    save_epochs(tmp_path, state, [0.5])
    checkpoints = Checkpoints(tmp_path)
    like = MESH.abstract(jax.eval_shape(fresh_state, abstract_variables(SPEC)))

    restored = checkpoints.restore_state(5, like)
    variables = checkpoints.restore_variables(5, like.variables)

    assert int(restored.step) == 5
    expected = pytree.flatten(at_step(state, 5))
    found = pytree.flatten(restored)
    assert found.keys() == expected.keys()
    assert any(name.endswith("norm/var") for name in found)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)
        assert found[name].sharding.is_equivalent_to(MESH.replicated, found[name].ndim)
    for name, value in state.variables.arrays().items():
        np.testing.assert_array_equal(variables.arrays()[name], value, err_msg=name, strict=True)


def test_the_record_of_a_run_is_restored_whole(tmp_path: Path, state: TrainState) -> None:
    save_epochs(tmp_path, state, [0.5, 0.25])

    checkpoints, best = open_checkpoints(tmp_path)

    assert best == 5
    assert checkpoints.read_record(10) == make_record([0.5, 0.25])


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path, state: TrainState) -> None:
    writer = CheckpointWriter(tmp_path)
    record = make_record([0.5])
    record.format_version = 7
    writer.save(at_step(state, 5), record)
    writer.wait()

    with pytest.raises(UserError, match="format version 7, expected 2"):
        Checkpoints(tmp_path).read_record(5)


def test_a_record_with_wrong_values_is_refused_by_name(tmp_path: Path, state: TrainState) -> None:
    writer = CheckpointWriter(tmp_path)
    record = make_record([0.5])
    wrong: Any = {"anger": "high"}
    record.thresholds = wrong
    writer.save(at_step(state, 5), record)
    writer.wait()

    with pytest.raises(
        UserError, match=r"checkpoints/5 is damaged or was edited: thresholds\.anger: expected a valid nu"
    ):
        Checkpoints(tmp_path).read_record(5)


def test_a_directory_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"checkpoints/ in it; .*absent does not exist"):
        open_checkpoints(tmp_path / "absent")
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match=r"checkpoints/ in it; .* holds notes"):
        open_checkpoints(tmp_path)


def test_a_directory_that_the_library_cannot_name_is_refused(tmp_path: Path) -> None:
    for open_run in (Checkpoints, CheckpointWriter):
        with pytest.raises(UserError, match="Expected a path in UTF-8"):
            open_run(tmp_path / "caf\udce9")


def test_a_run_that_ended_in_its_first_epoch_has_no_model_to_evaluate(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()

    with pytest.raises(UserError, match="holds no finished checkpoint"):
        open_checkpoints(tmp_path)


def files_of(checkpoint: Path) -> list[Path]:
    """All but what only says when, and that, the checkpoint was complete."""
    marks = {checkpoint / "_CHECKPOINT_METADATA", checkpoint / "commit_success.txt"}
    return sorted(p for p in checkpoint.rglob("*") if p.is_file() and p not in marks)


def test_any_damage_to_any_file_is_noticed_and_the_one_before_counts(tmp_path: Path, state: TrainState) -> None:
    save_epochs(tmp_path, state, [0.1, 0.2], keep_last=2)
    damaged = tmp_path / "checkpoints" / "10"
    for file in files_of(damaged):
        content = file.read_bytes()
        kinds = [b"x" + content, None]
        if content:
            kinds += [content[:-1], bytes([*content[:-1], content[-1] ^ 1]), bytes([content[0] ^ 128, *content[1:]])]
        for other in kinds:
            file.unlink(missing_ok=True)
            if other is not None:
                file.write_bytes(other)
            found = Checkpoints(tmp_path)
            assert (found.find_latest_step(), found.find_best_step()) == (5, 5), file
        file.write_bytes(content)
    assert Checkpoints(tmp_path).find_latest_step() == 10


def test_a_run_puts_damaged_checkpoints_aside_and_may_save_their_steps_again(
    tmp_path: Path, state: TrainState, capsys: pytest.CaptureFixture
) -> None:
    save_epochs(tmp_path, state, [0.1, 0.2], keep_last=2)
    (tmp_path / "checkpoints" / "10" / "record" / "metadata").write_text("{}")

    writer = CheckpointWriter(tmp_path)
    assert Checkpoints(tmp_path).list_steps() == [5]
    writer.save(at_step(state, 10), make_record([0.1, 0.3]))
    writer.wait()

    assert "10 is damaged: record/metadata is not as it was written" in capsys.readouterr().out.replace("\n", "")
    assert Checkpoints(tmp_path).find_latest_step() == 10
    assert (tmp_path / "damaged_checkpoints" / "10" / "record" / "metadata").read_text() == "{}"


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_anew(tmp_path: Path, state: TrainState) -> None:
    save_epochs(tmp_path, state, [0.1])
    next(iter(files_of(tmp_path / "checkpoints" / "5"))).unlink()

    with pytest.raises(UserError, match=r"All checkpoints of .* are damaged"):
        CheckpointWriter(tmp_path)


def test_a_checkpoint_within_an_epoch_is_the_last_but_never_the_best(tmp_path: Path, state: TrainState) -> None:
    writer = CheckpointWriter(tmp_path, keep_last=1)
    writer.save(at_step(state, 5), make_record([0.1]))
    for step in (7, 9):
        record = make_record([0.1])
        record.losses = [0.5] * (step - 5)
        writer.save(at_step(state, step), record)
    writer.wait()

    found = Checkpoints(tmp_path)
    assert (found.find_best_step(), found.find_latest_step(), found.list_steps()) == (5, 9, [5, 9])
    assert found.read_record(9).losses == [0.5] * 4


def test_an_epoch_that_is_validated_later_replaces_its_checkpoint(tmp_path: Path, state: TrainState) -> None:
    writer = CheckpointWriter(tmp_path)
    unvalidated = make_record([])
    unvalidated.losses = [0.5] * 5
    writer.save(at_step(state, 5), unvalidated)
    writer.wait()
    assert Checkpoints(tmp_path).find_best_step() is None

    writer = CheckpointWriter(tmp_path)
    writer.save(at_step(state, 5), make_record([0.1]))
    writer.wait()

    assert Checkpoints(tmp_path).find_best_step() == 5


FULL_DISK = """
import sys
from pathlib import Path
from tests.checkpoints.test_reader import TX, MESH, SPEC, at_step, fresh_state, make_record
from mme2e_jax.checkpoints.reader import Checkpoints
from mme2e_jax.checkpoints.writer import CheckpointError, CheckpointWriter
from mme2e_jax.models.variables import initial_variables
workdir = Path(sys.argv[1])
state = MESH.put_replicated(fresh_state(initial_variables(SPEC, 0)))
writer = CheckpointWriter(workdir, keep_last=9)
writer.save(at_step(state, 5), make_record([0.1]))
writer.wait()
used = sum(p.stat().st_size for p in workdir.rglob("*") if p.is_file())
(workdir / "ballast").write_bytes(bytes(int(sys.argv[2]) - int(1.6 * used)))
try:
    for step in (10, 15):
        writer.save(at_step(state, step), make_record([0.1] * (step // 5)))
        writer.wait()
except CheckpointError as error:
    print(error)
(workdir / "ballast").unlink()
print(CheckpointWriter(workdir) and Checkpoints(workdir).find_latest_step())
"""


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    size = 4_000_000
    mounted = (
        f"mount -t tmpfs -o size={size} none {tmp_path} && exec {sys.executable} -c '{FULL_DISK}' {tmp_path} {size}"
    )
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(tmp_path)], check=False).returncode:
        pytest.skip("a small file system needs mount namespaces")

    result = subprocess.run(["unshare", "-rm", "sh", "-c", mounted], capture_output=True, text=True, check=False)

    assert "could not be written to" in result.stdout, result.stdout + result.stderr
    assert "No space left on device" in result.stdout
    assert "are complete. Check that the disk has space" in result.stdout
    assert int(result.stdout.split()[-1]) in (5, 10)


@pytest.mark.parametrize("name", ["variables/_METADATA", "record/metadata"])
def test_a_checkpoint_that_its_library_cannot_read_is_refused(tmp_path: Path, state: TrainState, name: str) -> None:
    found = save_epochs(tmp_path, state, [0.1])
    (tmp_path / "checkpoints" / "5" / name).write_bytes(b"no checkpoint")

    def read() -> None:
        found.read_record(5)
        found.restore_arrays(5)

    with pytest.raises(UserError, match=r"checkpoints/5 cannot be read: .*\. Use another checkpoint, or train again"):
        read()
