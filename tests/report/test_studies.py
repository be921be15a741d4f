"""The ablation and the sparsity curve in a report, from files as their commands write them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mme2e_jax.report.studies import SparsityCurve, curve_plots, render_studies, update_page
from mme2e_jax.report.write import write
from mme2e_jax.runtime.json_schema import parse_json
from tests.helpers.browser import needs_browser, opened
from tests.report.test_write import content

STEP = 12  # of `content`


def scored(f1: float | None, **more: Any) -> dict[str, Any]:
    names = ("f1", "auc", "weighted_accuracy")
    around = {"low": None if f1 is None else f1 - 0.1, "high": None if f1 is None else f1 + 0.1, "undefined": 0}
    return {
        "scores": {"mean": dict.fromkeys(names, f1), "utterances": 7},
        "intervals": {"mean": dict.fromkeys(names, around)},
        **more,
    }


def ablation(step: int = STEP) -> dict[str, Any]:
    lower = {"value": -0.1, "low": -0.15, "high": -0.05}
    subsets = [
        scored(0.5, modalities="tv"),
        scored(0.4, modalities="t", differences={"f1": lower, "auc": {"value": None, "low": None, "high": None}}),
        scored(None, modalities="v"),
    ]
    return {"step": step, "split": "test", "text_guides_attention": True, "subsets": subsets}


def curve() -> dict[str, Any]:
    cost = {"active_fraction": {"v": [0.5, 0.4, 0.3]}, "dense_extraction_gflops": 2.0}
    points = [scored(None if p == 1 else p / 2, threshold=p, extraction_gflops=2 * p, **cost) for p in (0.1, 0.5, 1.0)]
    return {"step": STEP, "split": "test", "trained_threshold": 0.5, "points": points}


def save(directory: Path, name: str, value: Any) -> None:
    (directory / name).write_text(json.dumps(value))


def test_scores_of_subsets_have_their_intervals(tmp_path: Path) -> None:
    save(tmp_path, "ablation.json", ablation())

    text = render_studies(tmp_path, STEP)

    assert "<td>text + faces</td>" in text
    assert "0.500 (0.40 to 0.60)</td>" in text
    assert '0.400 (0.30 to 0.50)<br><span class="small">-0.100 (-0.15 to -0.05)</span></td>' in text
    assert '<span class="small">–</span>' in text
    assert "Text guides where the model looks" in text
    assert "nan" not in text
    assert "--mode=sparsity_curve" in text
    assert "--mode=ablation" not in text


def test_plots_show_scores_gflops_and_active_sites() -> None:
    scores, gflops, active = curve_plots(parse_json(SparsityCurve, json.dumps(curve())))

    f1 = scores.lines[0]
    assert f1.name == "F1"
    assert list(f1.y[:2]) == [0.05, 0.25]
    assert math.isnan(f1.y[2])
    assert list(f1.low[:2]) == pytest.approx([-0.05, 0.15])
    assert list(f1.high[:2]) == pytest.approx([0.15, 0.35])
    assert f1.tips[1].text == "F1 0.250 (0.15 to 0.35)\nat p = 0.5"
    assert len(f1.tips) == 2
    assert list(gflops.lines[0].y) == [0.2, 1.0, 2.0]
    assert [line.name for line in active.lines] == [
        "faces, first stage",
        "faces, second stage",
        "faces, third stage",
        "trained for",
    ]


def test_the_curve_of_a_taught_run_is_compared_with_that_of_its_first_scores_at_the_same_cost(tmp_path: Path) -> None:
    cost = {"active_fraction": {"v": [0.6, 0.5, 0.5]}, "dense_extraction_gflops": 2.0}
    untaught = [scored(0.4, threshold=0.5, extraction_gflops=1.5, **cost)]
    found = curve() | {"untaught": untaught}

    taught = curve_plots(parse_json(SparsityCurve, json.dumps(found)))[-1]

    assert [(line.name, list(line.x)) for line in taught.lines] == [
        ("scores taught", [0.2, 1.0, 2.0]),
        ("scores as at the start", [1.5]),
    ]
    assert taught.lines[1].tips[0].text.startswith("scores as at the start: ROC-AUC 0.400 (0.30 to 0.50)\nat p = 0.5")
    save(tmp_path, "sparsity_curve.json", found)
    text = render_studies(tmp_path, STEP)
    assert "With the scores that the run started with:" in text
    assert "0.60 / 0.50 / 0.50" in text


@pytest.mark.parametrize(
    "found", [ablation(step=11), {"step": STEP}, [], ablation() | {"subsets": [{"modalities": "t"}]}]
)
def test_files_of_another_checkpoint_or_version_are_not_shown(found: Any, tmp_path: Path) -> None:
    save(tmp_path, "ablation.json", found)

    assert "Not measured for this checkpoint" in render_studies(tmp_path, STEP).partition('id="sparsity"')[0]


def test_a_study_is_written_into_the_page_and_stays_there(tmp_path: Path) -> None:
    assert update_page(tmp_path, STEP) is None
    path = write(content(), tmp_path)
    before = path.read_text()
    save(tmp_path, "sparsity_curve.json", curve())

    assert update_page(tmp_path, STEP) == path

    after = path.read_text()
    assert "--mode=sparsity_curve" in before
    assert "--mode=sparsity_curve" not in after
    assert "0.250 (0.15 to 0.35)" in after
    assert (after.partition("<!-- studies")[0], after.rpartition("studies -->")[2]) == (
        before.partition("<!-- studies")[0],
        before.rpartition("studies -->")[2],
    )
    assert write(content(), tmp_path).read_text() == after


def test_a_page_of_an_earlier_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>old</p>")

    assert update_page(tmp_path, STEP) is None
    assert (tmp_path / "index.html").read_text() == "<p>old</p>"


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_with_studies_fits(width: int, tmp_path: Path) -> None:
    save(tmp_path, "ablation.json", ablation())
    save(tmp_path, "sparsity_curve.json", curve())
    text = write(content(), tmp_path).read_text(encoding="utf-8")

    found = opened(text.replace("<details>", "<details open>"), tmp_path, width)

    assert found["needed"] <= found["width"] == min(width, 1200)
