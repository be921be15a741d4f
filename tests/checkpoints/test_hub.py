"""Models in the hub's layout are the models of their runs, and invalid ones are refused by file and key."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs import mini_dense
from mme2e_jax.checkpoints.hub import FORMAT_VERSION, HubModel, find_model
from mme2e_jax.commands.export import export_to_hub_layout
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.evaluation.tasks import TASKS
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.runs.load import Run, load_run
from mme2e_jax.weights.warm_start import warm_start
from tests.export.test_program import SOME, checkpoint_outputs
from tests.helpers.exports import LABELS, THRESHOLDS, make_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the smallest model: it reads text only."""
    return make_run(tmp_path_factory.mktemp("hub") / "run", mini_dense, modalities="t")


@pytest.fixture(scope="module")
def exported(workdir: Path) -> Path:
    return export_to_hub_layout(workdir)


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return shutil.copytree(exported, tmp_path / "copy")


def rewrite(directory: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the content of a JSON file."""
    path = directory / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def seal(directory: Path) -> None:
    """Stores the digest that the weights have, as an attacker would."""
    digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    rewrite(directory, "config.json", lambda content: content.update(weights_sha256=digest))


def refusal(directory: Path) -> str:
    """The error message, which must name the directory."""
    with pytest.raises(UserError) as error:
        load_run(directory, devices=1)
    assert str(directory) in str(error.value)
    return str(error.value)


def test_a_shared_model_is_the_model_of_its_run(workdir: Path, exported: Path) -> None:
    run, shared = load_run(workdir, devices=1), load_run(exported, devices=1)

    assert (shared.spec, shared.step, shared.model.thresholds) == (run.spec, run.step, THRESHOLDS)
    assert shared.model.label_names == LABELS
    assert shared.record.preprocessing == run.record.preprocessing
    assert shared.record.tokenizer == run.record.tokenizer
    expected, found = checkpoint_outputs(workdir, SOME), checkpoint_outputs(exported, SOME)
    assert np.ptp(found["logits"]) > 0.01
    np.testing.assert_equal(found, expected)


def test_a_model_can_start_from_a_shared_one(workdir: Path, exported: Path) -> None:
    run: Run = load_run(workdir, devices=1)
    anew = initial_variables(run.spec, 5)

    started = warm_start(anew, run.spec, str(exported), "t").arrays()

    np.testing.assert_equal(started, {path: np.asarray(x) for path, x in run.model.state.variables.arrays().items()})
    assert not np.array_equal(started["text/word"], anew.arrays()["text/word"])


def test_a_run_that_holds_an_export_stays_a_run(workdir: Path, copy: Path) -> None:
    shutil.copytree(workdir / "checkpoints", copy / "checkpoints")
    (copy / "config.json").write_text("not read")

    assert load_run(copy, devices=1).model.label_names == LABELS


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json", "thresholds.json"])
def test_a_missing_or_unreadable_file_is_named(copy: Path, name: str) -> None:
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\n")
    assert f"{copy / name} is damaged or was edited" in refusal(copy)

    (copy / name).unlink()
    assert f"Expected a model with the file {name} in {copy}, found none" in refusal(copy)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        ("config.json", {"library_name": "transformers"}, "library_name: expected mme2e_jax, found transformers"),
        ("config.json", {"format_version": FORMAT_VERSION + 1}, "has format version 2, expected 1"),
        ("config.json", {"label_names": ["calm", "calm"]}, "label_names: expected different values"),
        ("config.json", {"label_names": ["calm"]}, "expected none, or those of the labels"),
        ("config.json", {"tokenizer": {"vocab_size": 0}}, "tokenizer.vocab_size: expected greater than 0"),
        ("config.json", {"step": -1}, "step: expected greater than or equal to 0"),
        ("config.json", {"test_auc": {"value": 2.0, "low": None, "high": None}}, "test_auc.value: expected less than"),
        ("config.json", {"config": {}}, "config.model.name: missing"),
        ("config.json", {"config": {"model": 3}}, "config.model: no such key"),
        ("preprocessor_config.json", {"frame_interval_ms": 0}, "frame_interval_ms: expected greater than 0"),
        ("preprocessor_config.json", {"face_choice": "../x"}, "face_choice: expected one of"),
        ("thresholds.json", {"anger": 2.0}, "expected probabilities from 0 to 1, found 2.0"),
        ("thresholds.json", {"anger": "high"}, "anger: expected a valid number"),
        ("thresholds.json", {"anger": float("nan")}, "anger: expected a finite number"),
        ("thresholds.json", {"calm": 0.5}, "expected none, or those of the labels"),
    ],
)
def test_invalid_metadata_is_refused_by_its_key(copy: Path, name: str, change: dict[str, Any], found: str) -> None:
    rewrite(copy, name, lambda content: content.update(change))

    assert found in refusal(copy)


def test_a_model_of_an_earlier_version_has_no_auc(copy: Path) -> None:
    rewrite(copy, "config.json", lambda content: content.pop("test_auc"))

    assert HubModel(copy).test_auc is None


def test_only_values_of_a_regression_may_have_any_threshold(copy: Path) -> None:
    rewrite(copy, "thresholds.json", lambda content: content.update(anger=2.0))
    for loss, task in TASKS.items():
        rewrite(copy, "config.json", lambda content, loss=loss: content["config"]["optim"].update(loss=loss))
        if task is Task.REGRESSION:
            assert load_run(copy, devices=1).model.thresholds["anger"] == 2.0
        else:
            assert "expected probabilities" in refusal(copy)


def test_any_change_of_the_weights_is_noticed(copy: Path) -> None:
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    assert "model.safetensors is damaged or was edited: its SHA-256 is not weights_sha256 of config.json" in refusal(
        copy
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda x: x.pop("heads.t.bias"), "heads.t.bias: expected float32 (6,), found nothing"),
        (lambda x: x.update(extra=np.zeros(1, np.float32)), "extra: expected nothing, found float32 (1,)"),
        (
            lambda x: x.update({"heads.t.bias": np.zeros(5, np.float32)}),
            "heads.t.bias: expected float32 (6,), found float32 (5,)",
        ),
        (
            lambda x: x.update({"heads.t.bias": np.zeros(6, np.float16)}),
            "heads.t.bias: expected float32 (6,), found float16 (6,)",
        ),
        (
            lambda x: x.update({"heads.t.bias": np.full(6, np.nan, np.float32)}),
            "heads.t.bias: expected finite values, found NaN or infinity",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    copy: Path, change: Callable[[dict[str, np.ndarray]], object], found: str
) -> None:
    tensors = load_file(copy / "model.safetensors")
    change(tensors)
    save_file(tensors, copy / "model.safetensors")
    seal(copy)

    message = refusal(copy)
    assert "model.safetensors" in message
    assert found in message


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert "Expected a model exported with --format=hub, or the directory of a training run" in refusal(tmp_path)

    # ALBERT's directory, for example.
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    assert "library_name: expected mme2e_jax, found None" in refusal(tmp_path)


def test_an_id_is_downloaded_and_a_directory_is_not(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def download(repo_id: str, allow_patterns: list[str]) -> str:
        asked.append((repo_id, allow_patterns))
        return str(exported)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)

    assert find_model(str(exported)) == find_model(exported) == exported
    assert asked == []
    assert find_model("user/model") == exported
    ((repo_id, patterns),) = asked
    assert repo_id == "user/model"
    # No code and no pickles.
    assert sorted(patterns) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "thresholds.json",
        "tokenizer/*",
    ]


@pytest.mark.parametrize("name", ["/no/such/directory", "../run", "a/b/c", "user/mo del"])
def test_a_name_that_is_neither_directory_nor_id_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing may be asked of the network.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(UserError, match="Expected the directory of a model, or an id on the Hugging Face hub") as error:
        find_model(name)
    assert repr(name) in str(error.value)


def test_a_failed_download_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise ConnectionError("no route to the hub\nand many more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)

    with pytest.raises(UserError, match=r"'user/model' is no directory, .* \(no route to the hub\)\. Check"):
        find_model("user/model")
