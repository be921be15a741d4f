"""Writes a prediction as JSON, as CSV and as a page."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.predict.page import page
from mme2e_jax.runtime.files import write_json, write_text

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
    write_json(paths[0], prediction.to_json(), indent=1, ensure_ascii=False)
    write_text(paths[1], _csv(prediction))
    if any(utterance.evidence is not None for utterance in prediction.utterances):
        paths.append(directory / "predictions.html")
        write_text(paths[2], page(prediction))
    return paths


def _csv(prediction: "Prediction") -> str:
    """One row per utterance: times, a score and 0 or 1 for each label, shares, transcript, notes."""
    text = io.StringIO()
    rows = csv.writer(text)
    shares = [f"share_{MODALITY_NAMES[m]}" for m in prediction.modalities]
    decisions = [f"{name}_decided" for name in prediction.label_names]
    rows.writerow(["start", "end", *prediction.label_names, *decisions, *shares, "transcript", "notes"])
    for u in prediction.utterances:
        scores = [f"{u.scores[name]:.6g}" for name in prediction.label_names]
        decided = [int(name in u.decided) for name in prediction.label_names]
        shares = [f"{u.shares[m]:.4f}" for m in prediction.modalities]
        times = [f"{u.start:.3f}", f"{u.end:.3f}"]
        rows.writerow([*times, *scores, *decided, *shares, u.transcript, " ".join(u.notes)])
    return text.getvalue()
