"""Training that starts from another model: the chosen parts are that model's, all else starts as it does without."""

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import mini_sparse, mosei_sparse
from mme2e_jax.checkpoints.reader import RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config import preflight
from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.schema import Config, EndToEndModelConfig
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import Spec, TrainState, Variables, initial_variables
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.training import setup
from mme2e_jax.training.optimizer import learning_rate, optimizer
from mme2e_jax.weights.torch_weights import paper_rules
from tests.helpers import weights
from tests.helpers.runs import last_arrays, metrics_of, run
from tests.helpers.synthetic import VOCABULARY, shrink, shrunk_run
from tests.helpers.torch_writer import as_torch, save, state_dict

NOWHERE = Path("nowhere")


def config_of(checkpoint: Path, chosen: str, **model: Any) -> Any:
    config: Any = shrink(mini_sparse.get_config(), NOWHERE)
    config.init.checkpoint, config.init.modalities = str(checkpoint), chosen
    for key, value in model.items():
        config.model[key] = value
    return config


def start(config: Any) -> dict[str, np.ndarray]:
    return start_parsed(parse_config(config))


def start_parsed(config: Config) -> dict[str, np.ndarray]:
    return setup.start_variables(config, model_spec(config, 6, {"vocab_size": VOCABULARY})).arrays()


@functools.cache
def initial(spec: Spec, seed: int) -> dict[str, np.ndarray]:
    return initial_variables(spec, seed).arrays()


def start_without(config: Any) -> dict[str, np.ndarray]:
    return initial(model_spec(parse_config(config), 6, {"vocab_size": VOCABULARY}), config.seed)


def refused(config: Any) -> str:
    with pytest.raises(UserError) as error:
        start(config)
    return str(error.value)


def save_run(directory: Path, variables: Variables) -> Path:
    """A run that holds the variables, as an import leaves it."""
    writer = CheckpointWriter(directory)
    writer.save_imported(variables, RunRecord({}, [], {}, {}, {}, []))
    writer.wait()
    return directory


def save_state_dict(path: Path, variables: Variables, spec: Spec) -> Path:
    if path.suffix == ".pt":
        return weights.save_paper(path, variables, spec)
    tensors: dict[str, Any] = weights.paper_tensors(variables, spec)
    np.savez(path, **tensors)
    return path


@pytest.fixture(scope="module")
def other() -> Variables:
    """The model to start from, of the same architecture."""
    return weights.random_variables(weights.small_spec(NOWHERE), 7)


@pytest.fixture(scope="module", params=["run", "model.pt", "model.npz"])
def checkpoint(request: pytest.FixtureRequest, other: Variables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("start") / request.param
    return save_state_dict(path, other, weights.small_spec(NOWHERE)) if path.suffix else save_run(path, other)


PARTS = {
    "t": ("text/", "heads/t/"),
    "a": ("towers/a/", "sequences/a/", "heads/a/"),
    "v": ("towers/v/", "sequences/v/", "heads/v/"),
}


@pytest.mark.parametrize("modalities", ["t", "a", "va", "vat"])
def test_chosen_parts_are_the_checkpoints_and_all_else_is_not(
    checkpoint: Path, other: Variables, modalities: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(checkpoint, modalities)
    taken = tuple(prefix for m in modalities for prefix in PARTS[m]) + (("fusion",) if len(modalities) == 3 else ())

    found, anew = start(config), start_without(config)

    assert found.keys() == anew.keys()
    for path, value in found.items():
        expected = other.arrays()[path] if path.startswith(taken) else anew[path]
        np.testing.assert_array_equal(value, expected, err_msg=path, strict=True)
        assert not np.array_equal(other.arrays()[path], anew[path]), "the test could not tell them apart"
    # Batch statistics came along.
    assert any(path.startswith(taken) and path.endswith("/var") for path in found) == (modalities != "t")
    said = {"t": "t", "a": "a", "va": "v, a", "vat": "t, v, a and their fusion"}[modalities]
    assert f"Starting with {said} of {checkpoint}\n" in capsys.readouterr().out


def test_nothing_is_loaded_without_a_checkpoint() -> None:
    config = config_of(Path(), "tav")
    config.init.checkpoint = ""

    np.testing.assert_equal(start(config), start_without(config))


def test_the_best_checkpoint_of_a_run_counts(tmp_path: Path, other: Variables) -> None:
    tx = optimizer("sgd", learning_rate(1e-3, "constant", 10), text_lr_factor=1.0, weight_decay=0.0, clip=0.0)
    writer = CheckpointWriter(tmp_path)
    history: list[dict[str, Any]] = []
    for epoch, (variables, f1) in enumerate([(other, 0.5), (jax.tree.map(np.zeros_like, other), 0.25)]):
        history = [*history, {"epoch": epoch, "valid": {"f1": f1}}]
        state = jax.device_put(TrainState(jnp.int32(epoch + 1), variables, tx.init(variables.params)))
        writer.save(state, RunRecord({}, [], {}, {}, {}, history))
    writer.wait()

    np.testing.assert_equal(start(config_of(tmp_path, "tav")), other.arrays())


def test_a_model_of_fewer_modalities_fuses_anew(checkpoint: Path, other: Variables) -> None:
    config = config_of(checkpoint, "ta", modalities="ta")

    found = start(config)

    assert set(found) == {path for path in start_without(config)}
    np.testing.assert_array_equal(found["fusion"], [0.5, 0.5])
    np.testing.assert_array_equal(found["heads/a/bias"], other.arrays()["heads/a/bias"])


def test_a_modality_that_either_side_lacks_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    assert "the model (config.model.modalities) has no v, it has a, t" in refused(
        config_of(checkpoint, "tav", modalities="ta")
    )
    spec = weights.small_spec(NOWHERE, "ta")
    variables = weights.random_variables(spec, 1)
    tensors = state_dict(as_torch(variables.arrays(), paper_rules(spec)))
    for source in (save_run(tmp_path / "run", variables), save(tmp_path / "model.pt", tensors)):
        message = refused(config_of(source, "av", modalities="ta"))
        assert "expected modalities that the model and the checkpoint both have, found 'av'" in message
        assert "the model (config.model.modalities) has no v, it has a, t" in message
        assert f"{source} has no v, it has a, t" in message


def test_parts_of_another_architecture_are_refused_with_all_differences(checkpoint: Path) -> None:
    message = refused(config_of(checkpoint, "tav", trans_dim=8, trans_layers=2))

    ours = checkpoint.name == "run"
    assert ("sequences/v/layers/1/norm1/bias" if ours else "v_transformer.encoder.layers.1.norm1.bias") in message
    assert f"{'heads/v/kernel' if ours else 'v_out.weight'}: expected (8, 6), found (16, 6)" in message
    assert "missing: " in message
    assert "unknown: nothing" in message
    # A dense model has other blocks.
    message = refused(config_of(checkpoint, "v", name="mme2e"))
    assert ("towers/v/blocks/0/kernel1" if ours else "V.sparse_layers.0.0.0.weight") in message.split("unknown: ")[1]
    assert ("towers/v/blocks/0/conv1/kernel" if ours else "V.6.conv1.weight") in message.split("unknown: ")[0]


def test_differences_in_parts_that_are_not_chosen_do_not_matter(tmp_path: Path) -> None:
    spec = weights.small_spec(NOWHERE, layers=3)
    variables = weights.random_variables(spec, 1)
    for source in (save_run(tmp_path / "run", variables), weights.save_paper(tmp_path / "model.pt", variables, spec)):
        found = start(config_of(source, "t"))
        np.testing.assert_array_equal(found["text/word"], variables.arrays()["text/word"])
        # More layers than the model has are not cut off in silence.
        assert "layers" in refused(config_of(source, "va")).split("unknown: ")[1]


def test_weights_that_select_in_each_stage_name_the_config_that_does(tmp_path: Path) -> None:
    tensors: dict[str, Any] = {"V.attn_layers.2.channel_affine.weight": np.zeros((2, 2))}
    np.savez(tmp_path / "model.npz", **tensors)
    hint = "add --config.model.sparse_region=1 --config.model.sparse_once=False"

    assert hint in refused(config_of(tmp_path / "model.npz", "v"))
    assert hint not in refused(config_of(tmp_path / "model.npz", "v", sparse_region=1, sparse_once=False))


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    assert "with checkpoints/ in it" in refused(config_of(tmp_path, "t"))
    (tmp_path / "model.pt").write_text("no weights")
    assert "is no file of torch.save" in refused(config_of(tmp_path / "model.pt", "t"))


def test_a_start_with_text_needs_no_pretrained_albert(tmp_path: Path) -> None:
    config: Any = mosei_sparse.get_config()
    config.data.dir = str(tmp_path)
    (tmp_path / "dataset_info.json").write_text("{}")
    config.init.checkpoint = str(tmp_path / "run")

    with pytest.raises(UserError, match=r"config\.init\.checkpoint: .*run' does not exist") as error:
        preflight.check(parse_config(config))
    assert "text.dir" not in str(error.value)
    (tmp_path / "run").mkdir()
    preflight.check(parse_config(config))
    config.init.modalities = "av"
    with pytest.raises(UserError, match=r"config\.model\.text\.dir"):
        preflight.check(parse_config(config))


def test_a_text_encoder_from_a_checkpoint_is_not_read_from_elsewhere(tmp_path: Path, other: Variables) -> None:
    config = parse_config(config_of(save_run(tmp_path / "run", other), "ta"))
    assert isinstance(config.model, EndToEndModelConfig)
    # A whole config may not ask for a pretrained encoder as small as this.
    text = dataclasses.replace(config.model.text, init="pretrained", dir="nowhere")
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, text=text))

    np.testing.assert_array_equal(start_parsed(config)["text/word"], other.arrays()["text/word"])
    config = dataclasses.replace(config, init=dataclasses.replace(config.init, modalities="a"))
    with pytest.raises(UserError, match="'nowhere' is no directory"):
        start_parsed(config)


@pytest.mark.slow
def test_a_run_goes_on_without_its_start(records: Path, tmp_path: Path, other: Variables) -> None:
    """Its own checkpoints count: the start is not loaded over them."""
    file = weights.save_paper(tmp_path / "model.pt", other, weights.small_spec(records))
    command = [
        *shrunk_run(mini_sparse, records, tmp_path / "run"),
        f"--config.init.checkpoint={file}",
        "--config.init.modalities=t",
        "--config.model.modalities=t",  # quick to compile
        "--config.checkpoint.keep_last=2",
    ]
    run(*command)
    whole, scores = last_arrays(tmp_path / "run"), metrics_of(tmp_path / "run")

    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    file.write_text("no weights any more")
    run(*command)

    assert metrics_of(tmp_path / "run") == scores
    np.testing.assert_equal(last_arrays(tmp_path / "run"), whole)
    # Two epochs with a small rate leave it near where it started.
    moved = np.abs(whole["heads/t/kernel"] - other.arrays()["heads/t/kernel"]).max()
    assert 0 < moved < 0.02
