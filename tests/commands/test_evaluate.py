"""Reports of tiny runs of every model."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import lf_rnn, mini_dense, mini_sparse
from mme2e_jax.commands.evaluate import SPLITS, evaluate_run
from mme2e_jax.evaluation import inference
from mme2e_jax.evaluation.inference import Decisions, InferenceState, infer_batch
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.report.gather import untaught_maps
from mme2e_jax.report.training import last_record, read_step_losses
from mme2e_jax.report.utterances import EACH
from mme2e_jax.runs.load import load_run, open_batch_loader
from mme2e_jax.runtime.console import console
from tests.commands.test_sparsity_curve import untrained
from tests.helpers.pages import ParsedPage
from tests.helpers.runs import run
from tests.helpers.synthetic import shrink, shrunk_run
from tests.report.test_write import FIGURES, pictures


@pytest.fixture(scope="module")
def workdir(sparse_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sparse run, of its name, which is in the page."""
    return Path(shutil.copytree(sparse_run, tmp_path_factory.mktemp("report") / sparse_run.name))


def page_of(workdir: Path) -> str:
    return (workdir / "report" / "index.html").read_text(encoding="utf-8")


def metrics_of(workdir: Path) -> dict:
    return json.loads((workdir / "report" / "metrics.json").read_text())


def files_of(report: Path) -> dict[str, bytes]:
    """A report's files, without the place of its run."""
    place = str(report.parent).encode()
    return {path.name: path.read_bytes().replace(place, b"RUN") for path in report.iterdir()}


def test_training_and_evaluation_write_the_same_report(sparse_run: Path, workdir: Path) -> None:
    files = files_of(sparse_run / "report")
    assert set(files) == {f"{name}.png" for name in FIGURES} | {"index.html", "metrics.json"}
    shutil.rmtree(workdir / "report")

    with console.capture() as told:
        run("--mode=evaluate", f"--workdir={workdir}")

    # Pixels too: figures are deterministic.
    assert files_of(workdir / "report") == files
    assert f"Wrote {workdir}/report/index.html" in told.get()


def test_emotions_that_are_always_predicted_are_named(
    sparse_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sparse_run, tmp_path / "run")

    def decide(model: Any, predictions: Any) -> Decisions:
        decisions = inference.decide(model, predictions)
        return decisions._replace(predicted=np.arange(decisions.truth.size).reshape(decisions.truth.shape) % 6 < 2)

    monkeypatch.setattr("mme2e_jax.commands.evaluate.decide", decide)

    with console.capture() as told:
        evaluate_run(tmp_path / "run")

    assert told.get().count("  predicted for every utterance: anger, disgust\n") == 2
    assert "for every utterance of the test split: anger, disgust." in page_of(tmp_path / "run")


def test_the_page_shows_pictures_and_kept_sites_of_utterances(workdir: Path) -> None:
    text = page_of(workdir)
    seen = ParsedPage(text, ("img",))

    assert not seen.open
    assert pictures(text) == {f"{name}.png" for name in FIGURES}
    shown = text.count("<blockquote>made up</blockquote>")
    assert EACH <= shown <= 2 * EACH
    images = [values for tag, values in seen.tags if tag == "image"]
    # One veil over each picture: the first stage selects for all.
    assert len(images) % 2 == 0
    assert len(images) >= 2 * shown
    assert "and the kept sites below: all stages" in text
    assert "it is unknown what preparation left out" in text


@pytest.fixture
def inferred(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The utterances of each batch that the model is run on, in order."""
    found: list[list[int]] = []

    def counted(state: InferenceState, batch: Any) -> Any:
        found.append(np.asarray(batch.example).ravel().tolist())
        return infer_batch(state, batch)

    monkeypatch.setattr(inference, "infer_batch", counted)
    return found


def test_evaluation_runs_the_model_once_on_each_batch(workdir: Path, inferred: list[list[int]]) -> None:
    batches = open_batch_loader(load_run(workdir))
    expected = [batch.example.ravel().tolist() for split in SPLITS for batch in batches.evaluation(split)]

    evaluate_run(workdir)

    assert len(expected) == 3
    assert inferred == expected


def test_the_training_curve_goes_on_after_the_best_epoch(workdir: Path) -> None:
    record = last_record(workdir)

    assert record is not None
    assert len(record.history) == 2
    assert len(read_step_losses(workdir / "steps.jsonl")) == 6


def test_a_baseline_that_chooses_one_emotion_has_a_report(feature_records: Path, tmp_path: Path) -> None:
    arguments = ["--config.model.modalities=t", "--config.optim.loss=ce"]
    run(*shrunk_run(lf_rnn, feature_records, tmp_path), *arguments)

    text = page_of(tmp_path)
    assert "there are no thresholds" in text
    assert "Images do not apply: this model reads features." in text
    assert pictures(text) == {f"{name}.png" for name in FIGURES - {"active"}}
    assert "<blockquote>made up</blockquote>" in text
    assert metrics_of(tmp_path)["intervals"]["resamples"] == 1000


def test_imported_weights_of_a_text_model_have_a_report(
    records: Path, tmp_path: Path, inferred: list[list[int]]
) -> None:
    config = shrink(mini_dense.get_config(), records)
    config.model.modalities = "t"
    untrained(config, tmp_path)

    evaluate_run(tmp_path)

    # Their thresholds are chosen by the same pass over the validation split.
    assert len(inferred) == 3
    text = page_of(tmp_path)
    assert "The weights were imported" in text
    assert "Active sites do not apply" in text
    assert pictures(text) == {f"{name}.png" for name in FIGURES - {"active", "loss", "validation"}}


@pytest.mark.slow
def test_the_report_of_a_taught_run_shows_what_its_untrained_scores_kept(records: Path, tmp_path: Path) -> None:
    taught = ["optim.dense_epochs=1", "optim.teacher_saliency=0.1", "model.sparse_impl=masked", "model.modalities=tv"]
    run(*shrunk_run(mini_sparse, records, tmp_path), *(f"--config.{value}" for value in taught))

    assert "with untrained scores, all stages" in page_of(tmp_path)
    loaded = load_run(tmp_path)
    batches = open_batch_loader(loaded)
    (batch,) = batches.evaluation("test", only=[3])
    assert 3 in batch.example
    found = untaught_maps(loaded, loaded.model, batches, [3])[3]["v"]
    scores = {path: value for path, value in initial_variables(loaded.spec, 0).arrays().items() if "/scores/" in path}
    variables = loaded.model.state.variables
    untrained_state = InferenceState(variables.with_arrays(variables.arrays() | scores), 0.5)
    maps = inference.predict(untrained_state, batches.evaluation("test"), "bce", loaded.model.mesh, keep_maps=True)
    assert maps.attention_maps is not None
    np.testing.assert_equal(found, maps.attention_maps[3]["v"])
