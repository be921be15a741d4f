"""Decisions from subsets of the modalities, against hand-computed values and in tiny runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from configs import mini_sparse
from mme2e_jax.commands.ablation import ablation_table, fused_logits, keep_modalities, subsets
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.plan import Lengths
from mme2e_jax.evaluation import metrics
from mme2e_jax.evaluation.inference import Predictions, predict
from mme2e_jax.models.variables import abstract_variables, fusion_weights
from mme2e_jax.runs.load import load_run, open_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.console import console
from tests.helpers.runs import run
from tests.helpers.synthetic import METADATA, SIZES


def report_of(workdir: Path, name: str) -> dict:
    return json.loads((workdir / "report" / name).read_text())


@pytest.fixture(scope="module")
def workdir(sparse_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse run, ablated."""
    found = Path(shutil.copytree(sparse_run, tmp_path_factory.mktemp("ablation") / "run"))
    run("--mode=ablation", f"--workdir={found}")
    return found


def test_three_modalities_have_seven_subsets_the_whole_first() -> None:
    assert list(subsets("tav")) == ["tav", "ta", "tv", "av", "t", "a", "v"]
    assert list(subsets("t")) == ["t"]


def test_what_is_kept_is_summed_with_the_weights_of_fusion() -> None:
    by_modality = {
        "t": np.array([[1, -2]], np.float32),
        "a": np.array([[4, 8]], np.float32),
        "v": np.array([[16, 32]], np.float32),
    }
    weights = {"t": 2.0, "a": -0.5, "v": 0.25}

    np.testing.assert_array_equal(fused_logits(by_modality, weights, "tav"), [[2 - 2 + 4, -4 - 4 + 8]])
    np.testing.assert_array_equal(fused_logits(by_modality, weights, "tv"), [[6, 4]])
    np.testing.assert_array_equal(fused_logits(by_modality, weights, "a"), [[-2, -4]])


def test_with_everything_kept_predictions_are_untouched() -> None:
    by_modality = {m: np.array([[3]], np.float32) for m in "tv"}
    one = np.array([1])
    own = Predictions(
        np.array([[0.123]]), np.array([[1]], np.float32), {}, by_modality, one - 1, Lengths(one, one, one)
    )

    assert keep_modalities(own, {"t": 1.0, "v": 1.0}, "tv", "bce") is own
    alone = keep_modalities(own, {"t": 1.0, "v": -1.0}, "v", "bce")
    np.testing.assert_allclose(alone.score, [[1 / (1 + np.exp(3))]])
    assert alone.truth is own.truth


def test_all_modalities_have_the_evaluations_scores(workdir: Path) -> None:
    evaluated, ablated = report_of(workdir, "metrics.json"), report_of(workdir, "ablation.json")
    evaluated["test"].pop("cost")

    assert [subset["modalities"] for subset in ablated["subsets"]] == ["tav", "ta", "tv", "av", "t", "a", "v"]
    assert ablated["subsets"][0]["scores"] == evaluated["test"]
    assert ablated["subsets"][0]["intervals"] == evaluated["intervals"]["test"]
    assert ablated["step"] == evaluated["step"]
    assert ablated["text_guides_attention"] is True


def test_subsets_differ_from_all_modalities_with_an_interval(workdir: Path) -> None:
    whole, *others = report_of(workdir, "ablation.json")["subsets"]

    assert "differences" not in whole
    for subset in others:
        for name in ("f1", "auc", "accuracy", "weighted_accuracy"):
            value, other = (s["scores"]["mean"][name] for s in (subset, whole))
            found = subset["differences"][name]
            if value is None or other is None:
                assert found["value"] is None
            else:
                assert found["value"] == pytest.approx(value - other)
                assert found["low"] <= found["high"]


def test_the_report_shows_the_ablation(workdir: Path) -> None:
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")

    assert "<td>sound + faces</td>" in page
    assert "--mode=ablation" not in page


def test_the_models_logits_are_the_weighted_sum_of_its_modalities(workdir: Path) -> None:
    loaded = load_run(workdir)
    model = loaded.model
    weights = fusion_weights(loaded.spec, model.state.variables)

    found = predict(model.state, open_batch_loader(loaded).evaluation("test"), model.loss, model.mesh)

    assert report_of(workdir, "ablation.json")["fusion_weights"] == weights
    assert len(set(weights.values())) == 3
    logits = fused_logits(found.by_modality, weights, "tav")
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), found.score, rtol=1e-5)
    # An utterance without frames says nothing by its faces.
    np.testing.assert_array_equal(found.by_modality["v"][0], 0)


def test_one_modality_alone_by_hand(workdir: Path) -> None:
    loaded = load_run(workdir)
    model = loaded.model
    # The fusion layer of the paper stacks text, video, audio.
    weight = np.asarray(model.state.variables.arrays()["fusion"])[1]
    found = predict(model.state, open_batch_loader(loaded).evaluation("test"), model.loss, model.mesh)
    score = 1 / (1 + np.exp(-weight.astype(float) * found.by_modality["v"]))

    expected = metrics.compute(score, found.truth, model.label_names, model.thresholds).to_json()

    video = next(s for s in report_of(workdir, "ablation.json")["subsets"] if s["modalities"] == "v")
    assert video["scores"] == expected
    assert video["scores"]["utterances"] == SIZES["test"]


def test_the_table_names_the_modalities(workdir: Path) -> None:
    report = report_of(workdir, "ablation.json")
    report["subsets"][6]["scores"]["mean"]["auc"] = None

    with console.capture() as shown:
        console.print(ablation_table(report))

    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.get().splitlines() if "│" in line]
    assert [row[0] for row in rows] == [
        "text + sound + faces",
        "text + sound",
        "text + faces",
        "sound + faces",
        "text",
        "sound",
        "faces",
    ]
    assert rows[0][1] == f"{report['subsets'][0]['scores']['mean']['f1']:.3f}"
    assert rows[6][4] == ""
    assert rows[0][5] == ""
    assert rows[1][5].startswith(f"{report['subsets'][1]['differences']['f1']['value']:+.3f} (")


def test_a_baseline_is_ablated_in_the_order_of_its_own_fusion(baseline_run: Path, tmp_path: Path) -> None:
    workdir = Path(shutil.copytree(baseline_run, tmp_path / "run"))
    run("--mode=ablation", f"--workdir={workdir}")

    evaluated, ablated = report_of(workdir, "metrics.json"), report_of(workdir, "ablation.json")
    assert ablated["subsets"][0]["scores"] == evaluated["test"]
    assert ablated["text_guides_attention"] is False
    loaded = load_run(workdir)
    model = loaded.model
    found = predict(model.state, open_batch_loader(loaded).evaluation("test"), model.loss, model.mesh)
    # Text, audio, video here.
    weights = dict(zip("tav", model.state.variables.arrays()["fusion"].tolist(), strict=True))
    assert ablated["fusion_weights"] == weights
    np.testing.assert_allclose(
        1 / (1 + np.exp(-fused_logits(found.by_modality, weights, "tav"))), found.score, rtol=1e-5
    )


def test_the_logits_of_a_single_modality_are_the_models() -> None:
    config: Any = mini_sparse.get_config()
    config.model.modalities = "t"
    spec = model_spec(parse_config(config), 6, METADATA["tokenizer"])

    assert fusion_weights(spec, abstract_variables(spec)) == {"t": 1.0}
