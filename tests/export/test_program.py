"""Exported programs compute what their checkpoints compute, for any batch size, without the code of models."""

from pathlib import Path
from types import ModuleType

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs import lf_rnn, lf_transformer, mini_dense, mini_sparse
from mme2e_jax.batch import Batch, FeatureBatch
from mme2e_jax.commands.export import export_run
from mme2e_jax.evaluation.inference import infer_batch
from mme2e_jax.export.load import ExportedModel
from mme2e_jax.export.program import PLATFORMS
from mme2e_jax.export.signature import LONGEST_TEXT, media_inputs
from mme2e_jax.models.albert import POSITIONS
from mme2e_jax.models.late_fusion import LateFusionSpec
from mme2e_jax.models.variables import fusion_weights
from mme2e_jax.runs.load import load_run
from tests.helpers.exports import LABELS, MODEL_CODE, make_run, media_batch, run_without

# Tokens, frames and chunks of each utterance, and the padded sizes.
ONE = media_batch([(7, 3, 4)], tokens=9, frames=4, chunks=6)
# One utterance lacks pictures, one sound, one both; one is complete.
SOME = media_batch([(5, 0, 4), (9, 3, 0), (3, 0, 0), (16, 2, 3)], tokens=16, frames=6, chunks=8)
CASES: dict[str, tuple[ModuleType, dict[str, str], dict[str, np.ndarray]]] = {
    "rows": (mini_sparse, {"sparse_impl": "rows"}, SOME),
    "masked": (mini_sparse, {"sparse_impl": "masked", "modalities": "ta"}, ONE),
    "dense": (mini_dense, {}, SOME),
}
RUN_ALL = """
from safetensors.numpy import load_file, save_file
from mme2e_jax.export.load import ExportedModel
for folder in sys.argv[1:]:
    outputs = ExportedModel(folder + "/model.mme2e")(load_file(folder + "/batch"))
    save_file({"logits": outputs["logits"], **outputs["contributions"]}, folder + "/outputs")
"""


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """A model that reads text only."""
    return ExportedModel(export_run(make_run(tmp_path_factory.mktemp("text"), mini_dense, modalities="t")))


def checkpoint_outputs(workdir: Path, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Logits and contributions that evaluation computes."""
    run = load_run(workdir, devices=1)
    kind = Batch if "token_ids" in batch else FeatureBatch
    utterances = len(next(x for name, x in batch.items() if name.endswith("_count")))
    known = {name: x[None] for name, x in batch.items()}
    known["labels"] = np.zeros((1, utterances, len(LABELS)), np.float32)
    known["example"] = np.arange(utterances, dtype=np.int32)[None]
    with run.model.mesh.active():
        outputs = jax.device_get(infer_batch(run.model.state, run.model.mesh.put_batch(kind(**known))))
    weights = fusion_weights(run.spec, run.model.state.variables)
    added = {m: logits[0] * weights[m] for m, logits in outputs.by_modality.items()}
    return {"logits": outputs.logits[0], **added}


def assert_outputs(found: dict[str, np.ndarray], workdir: Path, batch: dict[str, np.ndarray]) -> None:
    expected = checkpoint_outputs(workdir, batch)
    assert found.keys() == expected.keys()
    assert np.ptp(found["logits"]) > 0.01
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5, err_msg=name, strict=True)
    added = sum(value for name, value in found.items() if name != "logits")
    np.testing.assert_allclose(added, found["logits"], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory per case with its run, and the outputs of one process that cannot import models."""
    root = tmp_path_factory.mktemp("elsewhere")
    for name, (experiment, model, batch) in CASES.items():
        export_run(make_run(root / name, experiment, **model))
        read = media_inputs(model.get("modalities", "tva"))
        save_file({array: batch[array] for array in read}, root / name / "batch")
    process = run_without(MODEL_CODE, RUN_ALL, *(str(root / name) for name in CASES))
    assert process.returncode == 0, process.stderr
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_an_exported_model_computes_elsewhere_what_its_checkpoint_computes(elsewhere: Path, name: str) -> None:
    *_, batch = CASES[name]

    assert_outputs(load_file(elsewhere / name / "outputs"), elsewhere / name, batch)


@pytest.mark.slow
def test_an_exported_model_computes_as_its_run_does(elsewhere: Path) -> None:
    manifests = [ExportedModel(elsewhere / name / "model.mme2e").manifest for name in ("rows", "masked", "dense")]

    assert [manifest.sparse_impl for manifest in manifests] == ["rows", "masked", None]
    assert [manifest.sparse_threshold for manifest in manifests] == [0.5, 0.5, None]


@pytest.mark.slow
def test_a_program_is_the_same_where_it_is_exported_on_a_gpu(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a GPU, evaluation chooses among numbers of rows, which symbolic sizes do not allow.
    monkeypatch.setattr("mme2e_jax.models.sparse.prefers_loop", lambda: False)

    again = export_run(elsewhere / "rows", elsewhere / "again.mme2e")

    assert again.read_bytes() == (elsewhere / "rows" / "model.mme2e").read_bytes()


@pytest.mark.parametrize("modalities", [pytest.param("a", marks=pytest.mark.slow), "t"])
def test_some_modalities_of_a_dense_model(tmp_path: Path, modalities: str) -> None:
    workdir = make_run(tmp_path / "run", mini_dense, modalities=modalities)

    outputs = ExportedModel(export_run(workdir))({name: SOME[name] for name in media_inputs(modalities)})

    assert set(outputs["contributions"]) == set(modalities)
    assert_outputs({"logits": outputs["logits"], **outputs["contributions"]}, workdir, SOME)


@pytest.mark.parametrize("experiment", [lf_rnn, pytest.param(lf_transformer, marks=pytest.mark.slow)])
def test_a_baseline(tmp_path: Path, experiment: ModuleType) -> None:
    workdir = make_run(tmp_path / "run", experiment)
    spec = load_run(workdir, devices=1).spec
    assert isinstance(spec, LateFusionSpec)
    rng, sizes = np.random.default_rng(0), spec.feature_sizes
    batch = {}
    lengths = ((4, 0), (2, 5), (1, 3))
    for name, size, rows, counts in zip(("text", "audio", "video"), sizes, (4, 5, 3), lengths, strict=True):
        batch[name] = rng.standard_normal((2, rows, size), np.float32)
        batch[f"{name}_count"] = np.array(counts, np.int32)

    outputs = ExportedModel(export_run(workdir))(batch)

    assert_outputs({"logits": outputs["logits"], **outputs["contributions"]}, workdir, batch)


def test_a_program_is_for_cpus_and_gpus_and_asks_for_one_device(text_model: ExportedModel) -> None:
    assert tuple(text_model.manifest.platforms) == PLATFORMS == ("cpu", "cuda")
    assert text_model._program.nr_devices == 1
    assert text_model.manifest.dimensions["t"].get("at_most") == LONGEST_TEXT == POSITIONS


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
