"""Remarks on models whose answers mean little."""

import json
from pathlib import Path
from typing import Any

import pytest

from configs import mini_dense
from mme2e_jax.checkpoints.metadata import MeanAuc
from mme2e_jax.commands.export import export_run, export_to_hub_layout
from mme2e_jax.evaluation.bootstrap import SCORES
from mme2e_jax.predict import exported_model, run_model
from mme2e_jax.predict.model import ClipModel
from mme2e_jax.predict.remarks import remarks
from mme2e_jax.runs.load import load_run
from tests.helpers.exports import make_run


def model(**changes: Any) -> ClipModel:
    values: dict[str, Any] = {
        "source": "run",
        "step": 3,
        "name": "mme2e",
        "label_names": ("happy", "sad"),
        "thresholds": {"happy": 0.3, "sad": 0.5},
        "loss": "bce",
        "modalities": "tva",
        "sparse_threshold": None,
        "preprocessing": {},
        "text_max_len": 16,
        "mask_absent": True,
        "dataset": "clips",
        "load_encoder": None,
        "digest": "0",
        "infer": lambda _: [],
    }
    return ClipModel(**values | changes)


def test_a_model_with_nothing_to_remark_has_no_remarks() -> None:
    assert remarks(model()) == []
    assert remarks(model(loss="ce", thresholds={})) == []


def test_thresholds_at_an_end_of_their_range_are_named() -> None:
    (remark,) = remarks(model(thresholds={"happy": 0.05, "sad": 0.95}))
    assert "0.05 to 0.95: happy 0.05, sad 0.95." in remark


def test_an_embedded_corpus_missing_thresholds_and_chance_are_remarked() -> None:
    found = remarks(model(dataset="mini", thresholds={}, test_auc=MeanAuc(value=0.5, low=0.4, high=0.6)))
    assert found[1].startswith("The model may know no more than chance: ")
    assert found[0].startswith("The model learned from one synthetic face")
    assert found[2].startswith("The model has no thresholds")


@pytest.mark.parametrize(
    ("auc", "interval"),
    [
        (MeanAuc(value=0.6, low=0.45, high=0.7), "0.60 (interval 0.45 to 0.70)"),
        (MeanAuc(value=0.52, low=0.51, high=0.53), "0.52 (interval 0.51 to 0.53)"),
        (MeanAuc(value=0.5, low=None, high=None), "0.50"),
    ],
)
def test_a_model_at_chance_is_remarked(auc: MeanAuc, interval: str) -> None:
    (remark,) = remarks(model(test_auc=auc))
    assert remark.endswith(f"on its test split is {interval}; chance is 0.5.")


def test_a_model_above_chance_is_not_remarked() -> None:
    assert remarks(model(test_auc=MeanAuc(value=0.8, low=0.7, high=0.9))) == []


def test_shared_and_exported_models_have_the_remark_of_their_run(tmp_path: Path) -> None:
    workdir = make_run(tmp_path / "run", mini_dense, modalities="t")
    mean = {name: {"low": 0.41, "high": 0.59} for name in SCORES}
    report = {
        "step": 0,
        "test": {"mean": dict.fromkeys(SCORES, 0.5), "per_label": {}, "utterances": 9, "always_f1": 0.4},
        "intervals": {"level": 0.95, "test": {"mean": mean, "per_label": {}}},
    }
    (workdir / "report").mkdir()
    (workdir / "report" / "metrics.json").write_text(json.dumps(report))

    shared = export_to_hub_layout(workdir, tmp_path / "shared")
    file = export_run(workdir, tmp_path / "model.mme2e")
    again = export_to_hub_layout(shared, tmp_path / "again")

    for found in (
        *(run_model.clip_model(load_run(path, devices=1), path) for path in (workdir, shared, again)),
        exported_model.clip_model(file),
    ):
        assert found.test_auc == MeanAuc(value=0.5, low=0.41, high=0.59)
        assert any("0.50 (interval 0.41 to 0.59)" in remark for remark in remarks(found))
