"""The curve over thresholds of a tiny sparse run."""

import dataclasses
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import mini_dense, mini_sparse
from mme2e_jax.checkpoints.reader import RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.commands.sparsity_curve import at_threshold, curve_table, thresholds
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.inference import InferenceState, predict
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.report.tables import with_interval
from mme2e_jax.runs import spec
from mme2e_jax.runs.load import load_run, open_batch_loader
from mme2e_jax.runtime.console import console
from tests.helpers.closeness import assert_close
from tests.helpers.runs import run
from tests.helpers.synthetic import METADATA, make_records, shrink


@pytest.fixture(scope="module")
def workdir(sparse_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run at threshold 0.5 whose curve was asked for, of records that have moved since."""
    found = Path(shutil.copytree(sparse_run, tmp_path_factory.mktemp("curve") / "run"))
    moved = make_records(found.parent / "moved")
    run("--mode=sparsity_curve", f"--workdir={found}", f"--data_dir={moved}")
    return found


@pytest.fixture(scope="module")
def curve(workdir: Path) -> dict:
    return json.loads((workdir / "report" / "sparsity_curve.json").read_text())


def at(curve: dict, threshold: float) -> dict:
    return next(entry for entry in curve["points"] if entry["threshold"] == threshold)


def test_the_thresholds_are_tenths_and_the_runs_own() -> None:
    tenths = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert thresholds(0.5) == tenths
    assert thresholds(0.35) == sorted([*tenths, 0.35])


def test_at_the_threshold_it_was_trained_for_the_curve_has_the_evaluations_scores(workdir: Path, curve: dict) -> None:
    evaluated = json.loads((workdir / "report" / "metrics.json").read_text())
    own = at(curve, 0.5)

    assert curve["trained_threshold"] == 0.5
    assert curve["step"] == evaluated["step"]
    cost = evaluated["test"].pop("cost")
    assert own["scores"] == evaluated["test"]
    assert own["intervals"] == evaluated["intervals"]["test"]
    assert {name: own[name] for name in cost if name in own} == {
        name: cost[name] for name in ("active_fraction", "extraction_gflops", "dense_extraction_gflops")
    }


def test_more_sites_are_active_the_higher_the_threshold_and_all_at_one(curve: dict) -> None:
    assert [entry["threshold"] for entry in curve["points"]] == thresholds(0.5)
    for tower in "va":
        # Of later stages the candidates depend on what came before, so that only the first must grow.
        first = [entry["active_fraction"][tower][0] for entry in curve["points"]]
        assert all(low < high for low, high in itertools.pairwise(first))
        assert at(curve, 1.0)["active_fraction"][tower] == [1.0, 1.0, 1.0]
    gflops = [entry["extraction_gflops"] for entry in curve["points"]]
    assert gflops == sorted(gflops)
    # Everything is computed then, and the scores of sites on top.
    assert gflops[-1] > at(curve, 1.0)["dense_extraction_gflops"] > gflops[4]


def test_rows_serve_up_to_the_threshold_they_were_made_for_and_masks_above(curve: dict) -> None:
    assert [entry["way"] for entry in curve["points"]] == ["rows"] * 5 + ["masks"] * 5
    assert all(entry["seconds_per_utterance"] > 0 for entry in curve["points"])
    assert all(np.isfinite(entry["scores"]["mean"]["f1"]) for entry in curve["points"])


def test_the_same_variables_are_judged_at_every_threshold_by_rows_as_with_masks(workdir: Path) -> None:
    loaded = load_run(workdir)
    assert isinstance(loaded.spec, ModelSpec)
    batches, model, masks = (
        open_batch_loader(loaded),
        loaded.model,
        dataclasses.replace(loaded.spec, rows_threshold=0.0),
    )

    def score(parameters: InferenceState) -> np.ndarray:
        return predict(parameters, batches.evaluation("test"), model.loss, model.mesh).score

    own = score(model.state)
    np.testing.assert_array_equal(score(at_threshold(model.state, loaded.spec, 0.5)), own)
    for threshold in (0.2, 0.9):
        found = score(at_threshold(model.state, loaded.spec, threshold))
        # Weights moved by 1e-7 change the scores by up to 9e-8, one more site by 1e-5.
        assert_close(found, score(at_threshold(model.state, masks, threshold)), 1e-6)
        assert np.abs(found - own).max() > 1e-4


def test_the_table_has_a_row_for_each_threshold(curve: dict) -> None:
    with console.capture() as shown:
        console.print(curve_table(curve))
    rows = [line.split("│") for line in shown.get().splitlines() if "rows" in line or "masks" in line]

    assert [float(row[1]) for row in rows] == thresholds(0.5)
    assert float(rows[4][2]) == pytest.approx(at(curve, 0.5)["scores"]["mean"]["f1"], abs=5e-4)
    assert "trained for 0.5" in shown.get()


def test_the_report_shows_the_curve(workdir: Path, curve: dict) -> None:
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")

    around = at(curve, 0.5)["intervals"]["mean"]["f1"]
    assert with_interval(at(curve, 0.5)["scores"]["mean"]["f1"], around) in page
    assert "--mode=sparsity_curve" not in page
    # Not measured yet.
    assert "--mode=ablation" in page


def test_a_score_that_does_not_exist_is_an_empty_cell(curve: dict) -> None:
    bare = json.loads(json.dumps(curve))
    for entry in bare["points"]:
        entry["scores"]["mean"]["auc"] = None

    with console.capture() as shown:
        console.print(curve_table(bare))
    assert "None" not in shown.get()


def untrained(config: Any, workdir: Path) -> None:
    """Leaves a checkpoint of the model that a config describes."""
    variables = initial_variables(spec.model_spec(parse_config(config), 6, METADATA["tokenizer"]), config.seed)
    writer = CheckpointWriter(workdir)
    record = RunRecord(config.to_dict(), METADATA["label_names"], METADATA["tokenizer"], {}, {}, [])
    writer.save_imported(variables, record)
    writer.wait()


def test_a_model_that_leaves_out_no_sites_is_refused_before_its_data_are_looked_for(
    records: Path, tmp_path: Path
) -> None:
    dense, text = shrink(mini_dense.get_config(), records), shrink(mini_sparse.get_config(), records)
    text.model.modalities = "t"
    untrained(dense, tmp_path / "dense")
    untrained(text, tmp_path / "text")

    with pytest.raises(UserError, match=r"expected a run of mme2e_sparse .* of mme2e with the modalities 'tav'"):
        run("--mode=sparsity_curve", f"--workdir={tmp_path / 'dense'}", "--data_dir=absent")
    with pytest.raises(UserError, match=r"found .* of mme2e_sparse with the modalities 't'"):
        run("--mode=sparsity_curve", f"--workdir={tmp_path / 'text'}", "--data_dir=absent")
    assert not list(tmp_path.glob("*/report"))
