"""Evaluates a sparse checkpoint at several attention thresholds.

The threshold p, the share of an image's attention that the kept sites hold, is an input of the model, so that no point
needs training. The weights were trained at the run's own threshold, which is always one of the points. All points use
the decision thresholds of the checkpoint, chosen on the validation split at the run's own threshold.

If a teacher trained the scores of sites, a second curve has the same weights with the scores that the run started with.

Up to the threshold for which the rows are sized, the model computes on rows of active sites; above it with masks
(`models.variables.structures`), where dropped sites still cost time. GFLOPs count kept sites in both cases
(`evaluation.flops`). Seconds are wall-clock time of a pass over the split per utterance, without compilation but with
reading and packing; for a small split the minimum of several passes.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import bootstrap, flops
from mme2e_jax.evaluation.inference import InferenceState, Model, decide, predict, score_predictions
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import structures
from mme2e_jax.report.studies import SPARSITY_CURVE
from mme2e_jax.report.terminal import SUMMARY, numeric, summary_cells
from mme2e_jax.report.write_json import write_study
from mme2e_jax.runs.load import Run, load_run, model_with_thresholds, open_batch_loader, untaught_state
from mme2e_jax.runtime.console import console

SPLIT = "test"
# Timed passes over a split end after this many seconds in total, or this many passes.
_SECONDS, _PASSES = 1.0, 5
_GRID = tuple(k / 10 for k in range(1, 11))


def thresholds(trained: float) -> list[float]:
    """0.1, 0.2, ... 1.0 and the run's own threshold, sorted."""
    return sorted({*_GRID, trained})


def sparsity_curve(workdir: str | Path, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Evaluates a sparse run on the test split at each of `thresholds`; prints and reports the curve.

    The records are those of `data_dir`, or else of training. Returns the content of `report/sparsity_curve.json`, a
    `point` for each threshold, and `untaught` ones if a teacher trained the scores of sites. Raises `UserError` if run
    or data are missing or do not fit, or the model is not sparse.
    """
    run = load_run(workdir)
    spec = _sparse_spec(run, workdir)
    batches = open_batch_loader(run, data_dir)
    model = model_with_thresholds(run, batches)
    trained, _ = run.config.site_selection
    untaught = untaught_state(run)
    models = [model] if untaught is None else [model, dataclasses.replace(model, state=untaught)]
    curves = [[point(m, spec, batches, p, run.config.seed) for p in thresholds(trained)] for m in models]
    report = {
        "step": run.step,
        "split": SPLIT,
        "trained_threshold": trained,
        "points": curves[0],
        "untaught": curves[1] if len(curves) > 1 else [],
        "skipped": batches.skipped.report(),
    }
    console.print(curve_table(report))
    if report["untaught"]:
        console.print(curve_table(report, taught=False))
    write_study(workdir, SPARSITY_CURVE, report)
    return report


def at_threshold(state: InferenceState, spec: ModelSpec, threshold: float) -> InferenceState:
    """The state at another threshold, with the model structure for it."""
    return InferenceState(dataclasses.replace(state.variables, graphdef=structures(spec)(threshold)), threshold)


def point(model: Model, spec: ModelSpec, batches: BatchLoader, threshold: float, seed: int) -> dict[str, Any]:
    """Evaluates a trained model at an attention threshold in (0, 1], for `report/sparsity_curve.json`.

    `seed` draws the resamples of the intervals.
    `way` is "rows" or "masks", `active_fraction` the active share by tower and stage; GFLOPs are per utterance.
    """
    state = at_threshold(model.state, spec, threshold)

    def one_pass():
        return predict(state, batches.evaluation(SPLIT), model.loss, model.mesh)

    predictions = one_pass()
    seconds = _min_seconds(one_pass)
    cost = flops.cost_report(spec, predictions.lengths, predictions.sites)
    kept = ("active_fraction", "extraction_gflops", "dense_extraction_gflops")
    return {
        "threshold": threshold,
        "way": "rows" if 0 < threshold <= spec.rows_threshold else "masks",
        "scores": score_predictions(model, predictions).to_json(),
        "intervals": bootstrap.intervals(*decide(model, predictions), model.label_names, seed),
        **{name: cost[name] for name in kept},
        "seconds_per_utterance": seconds / len(predictions.truth),
    }


def _min_seconds(run: Callable[[], Any]) -> float:
    taken: list[float] = []
    while not taken or (sum(taken) < _SECONDS and len(taken) < _PASSES):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _sparse_spec(run: Run, workdir: str | Path) -> ModelSpec:
    spec = run.spec
    if not isinstance(spec, ModelSpec) or not spec.sparse or not set(spec.modalities) & set("av"):
        raise UserError(
            f"--mode=sparsity_curve: expected a run of mme2e_sparse with the modality a or v, found {workdir} of "
            f"{run.config.model.name} with the modalities {spec.modalities!r}. Use --mode=evaluate."
        )
    return spec


def curve_table(report: Mapping[str, Any], *, taught: bool = True) -> Table:
    """A table of the result of `sparsity_curve`, or of its `untaught` points, with a row for each threshold."""
    points: Sequence[Mapping[str, Any]] = report["points" if taught else "untaught"]
    scores = "" if taught else ", with scores of sites as they were before a teacher trained them"
    towers = [f"active {m}" for m in points[0]["active_fraction"]]
    table = Table(
        *numeric("p", *SUMMARY.values(), *towers, "GFLOPs", "seconds", "by"),
        title=f"thresholds of the sparse attention{scores}: {report['split']} "
        f"({points[0]['scores']['utterances']} utterances)",
        caption=f"trained for {report['trained_threshold']:g}; active sites per stage; per utterance: GFLOPs of "
        f"feature extraction (dense: {points[0]['dense_extraction_gflops']:.3f}), seconds with input",
    )
    for entry in points:
        table.add_row(
            f"{entry['threshold']:g}",
            *summary_cells(entry["scores"]["mean"]),
            *("/".join(f"{share:.2f}" for share in stages) for stages in entry["active_fraction"].values()),
            f"{entry['extraction_gflops']:.3f}",
            f"{entry['seconds_per_utterance']:.4f}",
            entry["way"],
            style="bold" if entry["threshold"] == report["trained_threshold"] else "",
        )
    return table
