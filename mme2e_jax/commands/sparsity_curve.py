"""One checkpoint of a sparse model at other thresholds of its attention: what sparsity costs, and what it saves.

The threshold p, the share of an image's attention that the kept sites hold, is an input of the model like the batch, so
no point of the curve needs training; the weights are those learned for the run's own threshold, which is always one of
the points. The thresholds above which an emotion is said to be there are the checkpoint's, chosen on the validation
split at the run's own threshold, and the same at all points; AUC does not depend on them.

Up to the threshold that a model's rows of active sites are made for it works on rows, above that with masks
(`state.structures`): what is left out then costs time all the same. GFLOPs count what is kept, whichever way
(`cost`). Seconds are wall clock of a whole pass over the split, divided by its utterances, the least of a few where the
split is small: everything is compiled by then, but reading and packing the records is included, and they depend on the
machine.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import flops
from mme2e_jax.evaluation.inference import InferenceState, Model, predict, score_predictions
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import structures
from mme2e_jax.report.sparsity_figure import draw
from mme2e_jax.report.terminal import SUMMARY, summary_cells
from mme2e_jax.report.write_json import write_report
from mme2e_jax.runs.load import Run, load_run, model_with_thresholds, open_batch_loader
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first

FILE, FIGURE = "sparsity_curve.json", "sparsity_curve.png"
SPLIT = "test"
# A split is passed over again for its time until that took this long, or so often.
_SECONDS, _PASSES = 1.0, 5
_GRID = tuple(k / 10 for k in range(1, 11))


def thresholds(trained: float) -> list[float]:
    """0.1, 0.2, ... 1.0, and the run's own among them."""
    return sorted({*_GRID, trained})


def sparsity_curve(workdir: str | Path, data_dir: str | Path | None = None) -> dict[str, Any]:
    """Evaluates a sparse run's best checkpoint on the test split at each of `thresholds`; prints, writes and draws it.

    Args:
      workdir: of the run.
      data_dir: prepared records; None for where training found them.

    Returns:
      What `report/sparsity_curve.json` holds: the checkpoint's step, the run's own threshold, the points (see `point`),
      and the utterances that were left out of the data, with the reason.

    Raises:
      UserError: if the run or the data are missing or do not belong together, or the model has no sparse attention.
    """
    run = load_run(workdir)
    spec = _sparse_spec(run, workdir)
    batches = open_batch_loader(run, data_dir)
    model = model_with_thresholds(run, batches)
    trained, _ = run.config.site_selection
    report = {
        "step": run.step,
        "split": SPLIT,
        "trained_threshold": trained,
        "points": [point(model, spec, batches, p) for p in thresholds(trained)],
        "skipped": batches.skipped.report(),
    }
    console.print(curve_table(report))
    write_report(workdir, FILE, report)
    if is_first():
        path = Path(workdir) / "report" / FIGURE
        draw(report).savefig(path, dpi=120)
        console.print(f"Wrote {path}")
    return report


def at_threshold(parameters: InferenceState, spec: ModelSpec, threshold: float) -> InferenceState:
    """A model's parameters with another threshold, and the structure that works there."""
    structure = structures(spec)(threshold)
    return InferenceState(dataclasses.replace(parameters.variables, graphdef=structure), threshold)


def point(model: Model, spec: ModelSpec, batches: BatchLoader, threshold: float) -> dict[str, Any]:
    """A trained model evaluated at a threshold of its attention; plain values.

    Args:
      model: with thresholds for its decisions.
      spec: its architecture.
      batches: of the data.
      threshold: in (0, 1].

    Returns:
      `threshold`; `way`, "rows" or "masks"; `scores`; per tower and stage the share of sites that it worked on
      (`active_fraction`); `extraction_gflops` per utterance and those of the dense model; `seconds_per_utterance`.
    """
    parameters = at_threshold(model.state, spec, threshold)

    def one_pass():
        return predict(parameters, batches.evaluation(SPLIT), model.loss, model.mesh)

    predictions = one_pass()
    seconds = _least_seconds(one_pass)
    account = flops.cost_report(spec, batches.seen_lengths(SPLIT), predictions.sites)
    kept = ("active_fraction", "extraction_gflops", "dense_extraction_gflops")
    return {
        "threshold": threshold,
        "way": "rows" if 0 < threshold <= spec.rows_for else "masks",
        "scores": score_predictions(model, predictions).to_json(),
        **{name: account[name] for name in kept},
        "seconds_per_utterance": seconds / len(predictions.truth),
    }


def _least_seconds(run: Callable[[], Any]) -> float:
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
            "--mode=sparsity_curve expects a run of mme2e_sparse that sees faces or hears sound; the run "
            f"in {workdir} is of {run.config.model.name} with the modalities {spec.modalities!r}, and leaves no sites "
            "out. Use --mode=evaluate."
        )
    return spec


def curve_table(report: Mapping[str, Any]) -> Table:
    """A row for each threshold.

    Args:
      report: see `sparsity_curve`.
    """
    points: Sequence[Mapping[str, Any]] = report["points"]
    table = Table(
        title=f"thresholds of the sparse attention: {report['split']} ({points[0]['scores']['utterances']} utterances)",
        caption=f"trained for {report['trained_threshold']:g}; active sites per stage; per utterance: GFLOPs of "
        f"feature extraction (dense: {points[0]['dense_extraction_gflops']:.3f}), seconds with input",
    )
    towers = [f"active {m}" for m in points[0]["active_fraction"]]
    for heading in ("p", *SUMMARY.values(), *towers, "GFLOPs", "seconds", "by"):
        table.add_column(heading, justify="right")
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
