"""Evaluates a run on its validation and test splits."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mme2e_jax.batch import AnyBatch
from mme2e_jax.evaluation import bootstrap, flops
from mme2e_jax.evaluation.inference import Model, Predictions, decisions, judge, predict
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.report.terminal import cost_table, scores_table
from mme2e_jax.report.write_json import write_report
from mme2e_jax.runs.load import Run, load_run, model_to_judge, open_input
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first, meet

if TYPE_CHECKING:
    from mme2e_jax.data.pipeline import Input

SPLITS = ("valid", "test")


def evaluate_run(
    workdir: str | Path,
    data_dir: str | Path | None = None,
    batches: "Input | None" = None,
    while_wanted: Callable[[Iterable[AnyBatch]], Iterable[AnyBatch]] = lambda batches: batches,
) -> dict:
    """Evaluates the best checkpoint of a run on the validation and test splits, prints tables and writes the report.

    Args:
      workdir: of the run.
      data_dir: prepared records; None for where training found them.
      batches: the run's input, where it is at hand.
      while_wanted: gives an evaluation's batches on, or raises what ends it.

    Returns:
      What `report/metrics.json` holds: per split the scores, and the cost of an end-to-end model; the step of both;
      intervals of the scores; and the utterances that were left out, with the reason.

    Raises:
      UserError: if the run or the data are missing or do not belong together.
    """
    run = load_run(workdir)
    if batches is None:
        batches = open_input(run, data_dir)
    model = model_to_judge(run, batches)
    report: dict = {"step": run.step}
    predictions, around = {}, {}
    for split in SPLITS:
        found = predict(model.parameters, while_wanted(batches.evaluation(split)), model.loss, model.mesh)
        scores = judge(model, found)
        predictions[split] = found
        around[split] = bootstrap.intervals(*decisions(model, found), model.label_names, run.config.seed)
        report[split] = scores.to_json()
        console.print(scores_table(f"{split} ({scores.utterances} utterances)", scores))
        console.print(f"  saying every emotion always: mean F1 {scores.always_f1:.3f}\n")
        if isinstance(run.spec, ModelSpec):
            report[split]["cost"] = flops.account(run.spec, batches.seen_lengths(split), found.sites)
    if isinstance(run.spec, ModelSpec):
        console.print(cost_table("millions of multiply-adds per utterance (test)", report["test"]["cost"]))
    report["intervals"] = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES, **around}
    report["skipped"] = batches.skipped.report()
    write_report(workdir, "metrics.json", report)
    _write_page(run, model, batches, predictions, report, workdir)
    return report


def _write_page(
    run: Run,
    model: Model,
    batches: "Input",
    predictions: Mapping[str, Predictions],
    report: Mapping[str, Any],
    workdir: str | Path,
) -> None:
    """Writes the report's page and its figures and says so; all processes take part, one writes."""
    # Here, not at the top: they import TensorFlow and what draws.
    from mme2e_jax.report.gather import gather
    from mme2e_jax.report.write import write

    content = gather(run, model, batches, predictions, report, workdir)
    if is_first():
        console.print(f"Wrote {write(content, Path(workdir) / 'report')}")
    # Those that have nothing to write do not wait long for others once they end.
    meet("the report is written")
