"""Exported programs say what their checkpoints say, for any number of utterances, where no code of models is."""

from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs import mini_dense, mini_lf_rnn, mini_lf_transformer, mini_sparse
from mme2e_jax.batch import Batch, FeatureBatch
from mme2e_jax.evaluate import run_batch
from mme2e_jax.exported.of_file import ExportedModel
from mme2e_jax.exported.of_run import export_run
from mme2e_jax.exported.program import PLATFORMS, inputs_of
from mme2e_jax.run import load_run
from mme2e_jax.state import fusion_weights
from tests.exports import LABELS, MODEL_CODE, make_run, media_batch, run_without

pytestmark = pytest.mark.xdist_group("sparse")

# Tokens, frames and chunks of each utterance, and what they are padded to.
ONE = ([(7, 3, 4)], 9, 4, 6)
# One lacks pictures, one sound, one both; one is whole.
SOME = ([(5, 0, 4), (9, 3, 0), (3, 0, 0), (16, 2, 3)], 16, 6, 8)
SILENT = ([(4, 2, 0)], 5, 2, 1)

RUN_ALL = """
from safetensors.numpy import load_file, save_file
from mme2e_jax.exported.of_file import ExportedModel
model = ExportedModel(sys.argv[1])
for path in sys.argv[2:]:
    said = model(load_file(path))
    save_file({"logits": said["logits"], **said["contributions"]}, path + ".said")
"""


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """Of a model that reads words alone."""
    return ExportedModel(export_run(make_run(tmp_path_factory.mktemp("text"), mini_dense, modalities="t")))


def said_by_checkpoint(workdir: Path, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits and contributions as evaluation computes them."""
    run = load_run(workdir, devices=1)
    kind = Batch if "token_ids" in batch else FeatureBatch
    utterances = len(next(x for name, x in batch.items() if name.endswith("_count")))
    known = {name: x[None] for name, x in batch.items()}
    known["labels"] = np.zeros((1, utterances, len(LABELS)), np.float32)
    known["example"] = np.arange(utterances, dtype=np.int32)[None]
    with run.model.mesh.active():
        outputs = jax.device_get(run_batch(run.model.parameters, run.model.mesh.put_batch(kind(**known))))
    weights = fusion_weights(run.spec, run.model.parameters.variables)
    added = {m: logits[0] * weights[m] for m, logits in outputs.by_modality.items()}
    return {"logits": outputs.logits[0], **added}


def assert_same_elsewhere(workdir: Path, scratch: Path, *batches: dict[str, np.ndarray]) -> None:
    """Exports the run and compares what is said in another process."""
    exported = export_run(workdir, scratch / "model.mme2e")
    paths = [str(scratch / f"batch{i}") for i in range(len(batches))]
    for path, batch in zip(paths, batches, strict=True):
        save_file(batch, path)

    process = run_without(MODEL_CODE, RUN_ALL, str(exported), *paths)

    assert process.returncode == 0, process.stderr
    for path, batch in zip(paths, batches, strict=True):
        found, expected = load_file(f"{path}.said"), said_by_checkpoint(workdir, batch)
        assert found.keys() == expected.keys()
        assert found["logits"].shape == (len(batch["frame_count" if "faces" in batch else "text_count"]), len(LABELS))
        assert np.ptp(found["logits"]) > 0.01
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5, err_msg=name)
        added = sum(value for name, value in found.items() if name != "logits")
        np.testing.assert_allclose(added, found["logits"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [True, False])
def test_a_sparse_model(tmp_path: Path, rows: bool) -> None:
    workdir = make_run(tmp_path / "run", mini_sparse, sparse_impl="rows" if rows else "masked")

    assert_same_elsewhere(workdir, tmp_path, media_batch(*SOME), *([media_batch(*ONE)] if rows else []))

    assert ExportedModel(tmp_path / "model.mme2e").manifest.sparse_impl == ("rows" if rows else "masked")


def test_a_dense_model(tmp_path: Path) -> None:
    workdir = make_run(tmp_path / "run", mini_dense)

    assert_same_elsewhere(workdir, tmp_path, media_batch(*ONE), media_batch(*SOME), media_batch(*SILENT))


@pytest.mark.parametrize("modalities", ["av", "t"])
def test_some_modalities_of_a_dense_model(tmp_path: Path, modalities: str) -> None:
    workdir = make_run(tmp_path / "run", mini_dense, modalities=modalities)
    read = inputs_of(load_run(workdir, devices=1).spec)
    batch = media_batch(*SOME)

    export_run(workdir)
    said = ExportedModel(workdir / "model.mme2e")({name: batch[name] for name in read})

    np.testing.assert_allclose(said["logits"], said_by_checkpoint(workdir, batch)["logits"], rtol=0, atol=1e-5)
    assert set(said["contributions"]) == set(modalities)


@pytest.mark.parametrize("experiment", [mini_lf_rnn, mini_lf_transformer])
def test_a_baseline(tmp_path: Path, experiment: ModuleType) -> None:
    workdir = make_run(tmp_path / "run", experiment)
    rng, sizes = np.random.default_rng(0), load_run(workdir, devices=1).config.model.feature_sizes
    batch = {}
    lengths = ((4, 0), (2, 5), (1, 3))
    for name, size, rows, counts in zip(("text", "audio", "video"), sizes, (4, 5, 3), lengths, strict=True):
        batch[name] = rng.standard_normal((2, rows, size), np.float32)
        batch[f"{name}_count"] = np.array(counts, np.int32)

    assert_same_elsewhere(workdir, tmp_path, batch)


def test_a_program_is_for_cpus_and_gpus_and_asks_for_one_device(text_model: ExportedModel) -> None:
    assert tuple(text_model.manifest.platforms) == PLATFORMS == ("cpu", "cuda")
    assert text_model._program.nr_devices == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"token_ids": np.zeros((1, 513), np.int32)}, "t: expected 1 to 512, found 513"),
        (
            {"token_ids": np.zeros((0, 4), np.int32), "token_count": np.zeros(0, np.int32)},
            "b: expected at least 1, found",
        ),
        ({"token_ids": np.zeros((2, 4), np.int32)}, r"token_ids: expected \[1, 4, int32\], found \[2, 4, int32\]"),
        ({"token_ids": np.zeros((1, 4), np.int64)}, r"token_ids: expected \[1, 4, int32\], found \[1, 4, int64\]"),
        ({"token_ids": np.zeros(4, np.int32)}, r"token_ids: expected \[1, t, int32\], found \[4, int32\]"),
        (
            {"faces": np.zeros(4, np.int32)},
            "Expected the arrays token_count, token_ids, found token_ids, token_count, faces",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    text_model: ExportedModel, change: dict[str, np.ndarray], message: str
) -> None:
    batch = {"token_ids": np.zeros((1, 4), np.int32), "token_count": np.ones(1, np.int32)}

    with pytest.raises(ValueError, match=message):
        text_model(batch | change)
