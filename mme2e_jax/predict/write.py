"""Writes a prediction as JSON, as CSV and as a page."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.predict.page import page

if TYPE_CHECKING:
    from mme2e_jax.predict.results import Prediction


def write_prediction(prediction: "Prediction", directory: Path) -> list[Path]:
    """Writes `predictions.json`, `predictions.csv` and, if any utterance has evidence, `predictions.html`.

    Args:
      prediction: result for one clip.
      directory: output directory; it is created if it is missing.

    Returns:
      Paths of the files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"predictions.{suffix}" for suffix in ("json", "csv")]
    paths[0].write_text(json.dumps(prediction.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _write_csv(prediction, paths[1])
    if any(utterance.evidence is not None for utterance in prediction.utterances):
        paths.append(directory / "predictions.html")
        paths[2].write_text(page(prediction), encoding="utf-8")
    return paths


def _write_csv(prediction: "Prediction", path: Path) -> None:
    """One row per utterance: times, a score and 0 or 1 for each label, shares, transcript, notes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        shares = [f"share_{MODALITY_NAMES[m]}" for m in prediction.modalities]
        decisions = [f"{name}_decided" for name in prediction.label_names]
        rows.writerow(["start", "end", *prediction.label_names, *decisions, *shares, "transcript", "notes"])
        for u in prediction.utterances:
            scores = [f"{u.scores[name]:.6g}" for name in prediction.label_names]
            decided = [int(name in u.decided) for name in prediction.label_names]
            shares = [f"{u.shares[m]:.4f}" for m in prediction.modalities]
            times = [f"{u.start:.3f}", f"{u.end:.3f}"]
            rows.writerow([*times, *scores, *decided, *shares, u.transcript, " ".join(u.notes)])
