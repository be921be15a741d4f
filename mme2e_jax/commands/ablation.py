"""One checkpoint judged with some of its modalities left out of the decision.

All models end alike: each modality has its own logits, and the decision's are their sum, weighted by what fusion has
learned (`models.fusion`). Here a modality that is left out adds nothing to that sum; the weights of the others, and the
thresholds above which an emotion is said to be there, stay what they are. So this tells what a finished model makes of
each modality, not what a model trained without it would reach. One pass forward is enough for all subsets.

Where a modality is left out it still does what else it does: text guides where the sparse model looks at faces and
sound, also where text itself has no say. And an utterance without frames, or without sound, has logits of 0 there: with
faces alone, say, its score is that of no evidence at all.

Axis legend: `n` utterances of a split, `l` labels.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from rich.table import Table

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation import tasks
from mme2e_jax.evaluation.inference import Predictions, predict, score_predictions
from mme2e_jax.models.fusion import in_order
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import fusion_weights
from mme2e_jax.report.terminal import SUMMARY, summary_cells
from mme2e_jax.report.write_json import write_report
from mme2e_jax.runs.load import load_run, model_with_thresholds, open_batch_loader
from mme2e_jax.runtime.console import console

FILE = "ablation.json"
SPLIT = "test"


def subsets(modalities: str) -> Iterator[str]:
    """All non-empty ones, the whole first, then by size: of "tav" seven."""
    for size in range(len(modalities), 0, -1):
        yield from ("".join(chosen) for chosen in itertools.combinations(modalities, size))


def mixed(
    by_modality: Mapping[str, Float[np.ndarray, "n l"]], weights: Mapping[str, float], kept: str
) -> Float[np.ndarray, "n l"]:
    """The weighted sum of the logits of the modalities that are kept, float64.

    Args:
      by_modality: logits before fusion.
      weights: of fusion.
      kept: at least one of the modalities.
    """
    return np.sum([weights[m] * by_modality[m].astype(np.float64) for m in kept], axis=0)


def without_others(predictions: Predictions, weights: Mapping[str, float], kept: str, loss: str) -> Predictions:
    """The predictions with no say for the modalities that are not in `kept`.

    With all of them kept they are the model's own, to the last bit.
    """
    if set(kept) == set(predictions.by_modality):
        return predictions
    return predictions._replace(score=tasks.scores(mixed(predictions.by_modality, weights, kept), loss))


def ablation(workdir: str | Path, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Judges a run's best checkpoint on the test split with every subset of its modalities; prints and writes it.

    Args:
      workdir: of the run.
      data_dir: prepared records; None for where training found them.

    Returns:
      What `report/ablation.json` holds: the checkpoint's step, the weights of fusion, and per subset its modalities and
      scores, the whole set first; and the utterances that were left out of the data, with the reason.

    Raises:
      UserError: if the run or the data are missing or do not belong together.
    """
    run = load_run(workdir)
    batches = open_batch_loader(run, data_dir)
    model = model_with_thresholds(run, batches)
    weights = fusion_weights(run.spec, model.state.variables)
    predictions = predict(model.state, batches.evaluation(SPLIT), model.loss, model.mesh)
    found = []
    for kept in subsets(in_order(run.spec.modalities, "tav")):
        scores = score_predictions(model, without_others(predictions, weights, kept, model.loss))
        found.append({"modalities": kept, "scores": scores.to_json()})
    guided = isinstance(run.spec, ModelSpec) and run.spec.sparse
    report = {
        "step": run.step,
        "split": SPLIT,
        "fusion_weights": weights,
        "text_guides_attention": guided,
        "subsets": found,
        "skipped": batches.skipped.report(),
    }
    console.print(ablation_table(report))
    if guided:
        console.print("  Text guides where the model looks, also where it is left out of the decision.\n")
    write_report(workdir, FILE, report)
    return report


def ablation_table(report: Mapping[str, Any]) -> Table:
    """A row for each subset.

    Args:
      report: see `ablation`.
    """
    subsets = report["subsets"]
    utterances = subsets[0]["scores"]["utterances"]
    table = Table(title=f"modalities that decide: {report['split']} ({utterances} utterances), mean over the emotions")
    table.add_column("modalities")
    for heading in SUMMARY.values():
        table.add_column(heading, justify="right")
    for number, subset in enumerate(subsets):
        names = " + ".join(MODALITY_NAMES[m] for m in subset["modalities"])
        table.add_row(names, *summary_cells(subset["scores"]["mean"]), style="bold" if number == 0 else "")
    weights = ", ".join(f"{MODALITY_NAMES[m]} {weight:.2f}" for m, weight in report["fusion_weights"].items())
    table.caption = f"weights in the decision: {weights}"
    return table
