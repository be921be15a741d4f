"""Reports of tiny runs: every model has one, and the sites that it shows are those that evaluation counted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import lf_rnn, mini_dense, mini_sparse
from mme2e_jax.commands.evaluate import SPLITS, evaluate_run
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.evaluation import inference
from mme2e_jax.evaluation.inference import InferenceState, infer_batch
from mme2e_jax.report.training import last_record, step_losses, thinned
from mme2e_jax.report.utterances import EACH, PARTLY, RIGHT, WRONG, choose, kinds, stored
from mme2e_jax.runs.load import load_run, open_batch_loader
from mme2e_jax.runtime.console import console
from tests.commands.test_sparsity_curve import untrained
from tests.helpers.synthetic import make_example, shrink, shrunk_run
from tests.predict.test_page import Seen
from tests.report.test_page import FIGURES, pictures
from tests.test_launch import run

pytestmark = pytest.mark.xdist_group("sparse")


@pytest.fixture(scope="module")
def workdir(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse run."""
    found = tmp_path_factory.mktemp("report") / "run"
    run(*shrunk_run(mini_sparse, records, found))
    return found


def page_of(workdir: Path) -> str:
    return (workdir / "report" / "index.html").read_text(encoding="utf-8")


def metrics_of(workdir: Path) -> dict:
    return json.loads((workdir / "report" / "metrics.json").read_text())


def test_training_and_evaluation_write_the_same_report(workdir: Path) -> None:
    files = {path: path.read_bytes() for path in (workdir / "report").iterdir()}
    assert {path.name for path in files} == {f"{name}.png" for name in FIGURES} | {"index.html", "metrics.json"}
    for path in files:
        path.unlink()

    with console.capture() as told:
        run("--mode=evaluate", f"--workdir={workdir}")

    # Pixels too: nothing is drawn by chance.
    assert {path: path.read_bytes() for path in (workdir / "report").iterdir()} == files
    assert f"Wrote {workdir}/report/index.html" in told.get()


def test_the_page_shows_pictures_and_kept_sites_of_utterances(workdir: Path) -> None:
    text = page_of(workdir)
    seen = Seen(text, ("img",))

    assert not seen.open
    assert pictures(text) == {f"{name}.png" for name in FIGURES}
    shown = text.count("<blockquote>made up</blockquote>")
    assert EACH <= shown <= 2 * EACH
    images = [values for tag, values in seen.tags if tag == "image"]
    # A veil for each of three stages over each picture.
    assert len(images) % 4 == 0
    assert len(images) >= 4 * shown
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


def test_an_utterance_is_shown_as_it_is_stored(records: Path) -> None:
    split, expected = open_dataset(records).split("test"), make_example("test", 6)
    kept = {"v": [np.ones((len(expected["faces"]), 24, 24), bool)]}

    found = stored(split, 6, kept, "tav")

    assert found.transcript == "made up"
    assert found.evidence is not None
    for name in ("faces", "face_found", "frame_ms", "mel"):
        np.testing.assert_array_equal(getattr(found.evidence, name), expected[name])
    assert not found.notes
    unseen = stored(split, 6, {}, "t").evidence
    assert unseen is not None
    assert len(unseen.faces) == len(unseen.mel) == 0
    # The first one has no frames.
    assert stored(split, 0, {}, "tav").notes == ("There are no pictures of it.",)


def test_utterances_are_right_partly_right_or_wrong() -> None:
    truth = np.array([[1, 0], [1, 1], [1, 0], [0, 0], [0, 0]], bool)
    predicted = np.array([[1, 0], [1, 0], [0, 1], [0, 0], [1, 0]], bool)

    assert kinds(truth, predicted).tolist() == [RIGHT, PARTLY, WRONG, RIGHT, WRONG]


def test_partly_right_utterances_fill_up_and_hidden_ones_are_not_drawn() -> None:
    kind = np.array([RIGHT] * 5 + [PARTLY] * 5 + [WRONG] * 5)
    seen = np.ones(15, bool)
    seen[[0, 1, 2, 3]] = False

    found = choose(kind, seen, seed=0)

    assert found[0] == 4
    assert [kind[place] for place in found] == [RIGHT, PARTLY, PARTLY, WRONG, WRONG, WRONG]
    assert len(set(found)) == 2 * EACH
    assert choose(kind, seen, seed=0) == found
    assert choose(np.array([PARTLY]), np.ones(1, bool), seed=0) == [0]


def test_the_training_curve_goes_on_after_the_best_epoch(workdir: Path) -> None:
    record = last_record(workdir)

    assert record is not None
    assert len(record.history) == 2
    assert len(step_losses(workdir / "steps.jsonl")) == 6


def test_lines_that_are_no_steps_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "steps.jsonl"
    log.write_text('{"step": 0, "loss": 1.5}\n{"step": 1, "loss": null}\n{"step": 2, "loss": 1.25}\n{"step": 3, "lo')

    assert step_losses(log) == [(0, 1.5), (2, 1.25)]
    assert step_losses(tmp_path / "none") == []


def test_long_runs_are_drawn_as_means_of_neighbours() -> None:
    few = [(0, 1.0), (1, 2.0)]

    assert thinned(few) == few
    assert thinned([]) == []
    # 2,500 steps in threes: 0, 1, 2 first, 2,499 alone at the end.
    found = thinned([(step, 2.0 * step) for step in range(2500)])
    assert len(found) == 834
    assert found[0] == (1, 2)
    assert found[-1] == (2499, 4998)


def test_a_baseline_that_chooses_one_emotion_has_a_report(feature_records: Path, tmp_path: Path) -> None:
    arguments = ["--config.model.feature_sizes=300,144,35", "--config.optim.loss=ce"]
    run(*shrunk_run(lf_rnn, feature_records, tmp_path), *arguments)

    text = page_of(tmp_path)
    assert "there are no thresholds" in text
    assert "Images do not apply: this model reads features." in text
    assert pictures(text) == {f"{name}.png" for name in FIGURES - {"active"}}
    assert "<blockquote>made up</blockquote>" in text
    assert metrics_of(tmp_path)["intervals"]["resamples"] == 1000


def test_imported_weights_that_read_words_alone_have_a_report(
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
