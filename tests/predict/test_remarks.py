"""Remarks on models whose answers mean little."""

import json
from pathlib import Path
from typing import Any

import pytest

from mme2e_jax.predict.model import ClipModel
from mme2e_jax.predict.remarks import read_chance_remark, remarks


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


def chance_remark(workdir: Path, auc: float | None, low: float | None, high: float | None, step: int = 3) -> str:
    report = {
        "step": 3,
        "test": {"mean": {"auc": auc}, "per_label": {}, "utterances": 9, "always_f1": 0.4},
        "intervals": {"level": 0.95, "test": {"mean": {"auc": {"low": low, "high": high}}, "per_label": {}}},
    }
    (workdir / "report").mkdir(exist_ok=True)
    (workdir / "report" / "metrics.json").write_text(json.dumps(report))
    return read_chance_remark(workdir, step)


def test_a_model_with_nothing_to_remark_has_no_remarks() -> None:
    assert remarks(model()) == []
    assert remarks(model(loss="ce", thresholds={})) == []


def test_thresholds_at_an_end_of_their_range_are_named() -> None:
    (remark,) = remarks(model(thresholds={"happy": 0.05, "sad": 0.95}))
    assert "0.05 to 0.95: happy 0.05, sad 0.95." in remark


def test_an_embedded_corpus_missing_thresholds_and_chance_are_remarked() -> None:
    found = remarks(model(dataset="mini", thresholds={}, chance_remark="Chance."))
    assert found[1] == "Chance."
    assert found[0].startswith("The model learned from one synthetic face")
    assert found[2].startswith("The model has no thresholds")


@pytest.mark.parametrize(("auc", "low", "high"), [(0.6, 0.45, 0.7), (0.52, 0.51, 0.53), (0.5, None, None)])
def test_a_model_at_chance_is_remarked(auc: float, low: float | None, high: float | None, tmp_path: Path) -> None:
    assert f"on its test split is {auc:.2f}" in chance_remark(tmp_path, auc, low, high)


def test_a_model_above_chance_another_checkpoint_and_damage_are_not_remarked(tmp_path: Path) -> None:
    assert read_chance_remark(tmp_path, 3) == ""
    assert chance_remark(tmp_path, 0.8, 0.7, 0.9) == ""
    assert chance_remark(tmp_path, None, None, None) == ""
    assert chance_remark(tmp_path, 0.5, 0.4, 0.6, step=4) == ""
    (tmp_path / "report" / "metrics.json").write_text("{")
    assert read_chance_remark(tmp_path, 3) == ""
