"""Evaluates a checkpoint with each subset of its modalities in the decision.

The logits of a model are the sum of its modalities' logits, weighted by the learned fusion weights (`models.fusion`).
The ablation drops modalities from that sum and keeps all weights and decision thresholds. It measures what a trained
model gets from each modality, not what a model trained without it would reach. One forward pass serves all subsets.

A dropped modality keeps its other effects: text still guides the attention of the sparse model. An utterance without
frames or sound has logits of 0 for that modality, so that its score for this modality alone carries no evidence.

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
from mme2e_jax.evaluation import bootstrap, tasks
from mme2e_jax.evaluation.inference import Predictions, decide, predict, score_predictions
from mme2e_jax.html.formats import format_difference
from mme2e_jax.models.fusion import sort_modalities
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import fusion_weights
from mme2e_jax.report.studies import ABLATION
from mme2e_jax.report.terminal import SUMMARY, numeric, summary_cells
from mme2e_jax.report.write_json import write_study
from mme2e_jax.runs.load import load_run, model_with_thresholds, open_batch_loader
from mme2e_jax.runtime.console import console

SPLIT = "test"


def subsets(modalities: str) -> Iterator[str]:
    """All non-empty subsets by falling size; seven for "tav"."""
    for size in range(len(modalities), 0, -1):
        yield from ("".join(chosen) for chosen in itertools.combinations(modalities, size))


def fused_logits(
    by_modality: Mapping[str, Float[np.ndarray, "n l"]], weights: Mapping[str, float], kept: str
) -> Float[np.ndarray, "n l"]:
    """The weighted sum of the logits of the modalities in `kept`, at least one, in float64."""
    return np.sum([weights[m] * by_modality[m].astype(np.float64) for m in kept], axis=0)


def keep_modalities(predictions: Predictions, weights: Mapping[str, float], kept: str, loss: str) -> Predictions:
    """The predictions from the modalities in `kept` alone; unchanged if those are all."""
    if set(kept) == set(predictions.by_modality):
        return predictions
    return predictions._replace(score=tasks.scores(fused_logits(predictions.by_modality, weights, kept), loss))


def ablation(workdir: str | Path, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Evaluates the best checkpoint on the test split with every subset of its modalities; prints and reports a table.

    The records are those of `data_dir`, or else of training. Returns the content of `report/ablation.json`: `subsets`
    have modalities, scores and their intervals, the whole set first; the others also the `differences` of their mean
    scores to those of the whole set, with paired intervals. Raises `UserError` if run or data are missing
    or do not fit.
    """
    run = load_run(workdir)
    batches = open_batch_loader(run, data_dir)
    model = model_with_thresholds(run, batches)
    weights = fusion_weights(run.spec, model.state.variables)
    predictions = predict(model.state, batches.evaluation(SPLIT), model.loss, model.mesh)
    results, whole = [], None
    for kept in subsets(sort_modalities(run.spec.modalities, "tav")):
        decisive = keep_modalities(predictions, weights, kept, model.loss)
        decided = decide(model, decisive)
        intervals = bootstrap.intervals(*decided, model.label_names, run.config.seed)
        scores = score_predictions(model, decisive).to_json()
        results.append({"modalities": kept, "scores": scores, "intervals": intervals})
        means = bootstrap.mean_resamples(*decided, run.config.seed)
        if whole is None:
            whole = means
        else:
            found = bootstrap.differences(means, whole)
            results[-1]["differences"] = _with_values(found, scores["mean"], results[0]["scores"]["mean"])
    guided = isinstance(run.spec, ModelSpec) and run.spec.sparse
    report = {
        "step": run.step,
        "split": SPLIT,
        "fusion_weights": weights,
        "text_guides_attention": guided,
        "subsets": results,
        "skipped": batches.skipped.report(),
    }
    console.print(ablation_table(report))
    if guided:
        console.print("  Text guides where the model looks, even if it is left out of the decision.\n")
    write_study(workdir, ABLATION, report)
    return report


def _with_values(
    intervals: Mapping[str, Any], scores: Mapping[str, float | None], others: Mapping[str, float | None]
) -> dict[str, Any]:
    found = {}
    for name, around in intervals.items():
        score, other = scores[name], others[name]
        value = None if score is None or other is None else score - other
        found[name] = {"value": value, "low": around["low"], "high": around["high"]}
    return found


def ablation_table(report: Mapping[str, Any]) -> Table:
    """A table of the result of `ablation`, with a row for each subset."""
    subsets = report["subsets"]
    utterances = subsets[0]["scores"]["utterances"]
    title = f"modalities that decide: {report['split']} ({utterances} utterances), mean over the emotions"
    table = Table("modalities", *numeric(*SUMMARY.values(), "F1 against all"), title=title)
    for number, subset in enumerate(subsets):
        names = " + ".join(MODALITY_NAMES[m] for m in subset["modalities"])
        against = format_difference(**subset["differences"]["f1"]) if number else ""
        table.add_row(names, *summary_cells(subset["scores"]["mean"]), against, style="bold" if number == 0 else "")
    weights = ", ".join(f"{MODALITY_NAMES[m]} {weight:.2f}" for m, weight in report["fusion_weights"].items())
    table.caption = f"weights in the decision: {weights}"
    return table
