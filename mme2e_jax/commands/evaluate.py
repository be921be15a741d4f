"""Evaluates a run on its validation and test splits."""

from collections.abc import Callable, Iterable
from pathlib import Path

from mme2e_jax.batch import AnyBatch
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.evaluation import bootstrap, flops
from mme2e_jax.evaluation.inference import SplitResult, decide, predict, score_predictions
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.report.content import REPORTED
from mme2e_jax.report.gather import gather
from mme2e_jax.report.terminal import cost_table, scores_table
from mme2e_jax.report.write_json import write_report
from mme2e_jax.runs.load import load_run, model_with_thresholds, open_batch_loader
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first, wait_for_all

SPLITS = ("valid", "test")


def evaluate_run(
    workdir: str | Path,
    data_dir: str | Path | None = None,
    batches: BatchLoader | None = None,
    while_wanted: Callable[[Iterable[AnyBatch]], Iterable[AnyBatch]] = lambda batches: batches,
) -> dict:
    """Evaluates the best checkpoint of a run, prints tables, writes the report and returns its `metrics.json`.

    Each split runs once; tables, `metrics.json` and the HTML report share the result. The records are those of
    `data_dir`, or else of training, unless `batches` has read them already. `while_wanted` wraps the batches of a split
    and may raise to end the evaluation. Raises `UserError` if the run or the data are missing or do not belong
    together.
    """
    run = load_run(workdir)
    if batches is None:
        batches = open_batch_loader(run, data_dir)
    model = run.model
    report: dict = {"step": run.step}
    results: dict[str, SplitResult] = {}
    for split in SPLITS:
        split_batches = while_wanted(batches.evaluation(split))
        predictions = predict(model.state, split_batches, model.loss, model.mesh, keep_maps=split == REPORTED)
        if split == "valid":
            model = model_with_thresholds(run, batches, predictions)
        scores = score_predictions(model, predictions)
        results[split] = SplitResult(predictions, decide(model, predictions), scores)
        report[split] = scores.to_json()
        console.print(scores_table(f"{split} ({scores.utterances} utterances)", scores))
        console.print(f"  all-positive baseline: mean F1 {scores.always_f1:.3f}")
        if always := results[split].decisions.always_predicted(model.label_names):
            console.print(f"  predicted for every utterance: {', '.join(always)}")
        console.print()
        if isinstance(run.spec, ModelSpec):
            report[split]["cost"] = flops.cost_report(run.spec, predictions.lengths, predictions.sites)
    if isinstance(run.spec, ModelSpec):
        console.print(cost_table("millions of multiply-adds per utterance (test)", report["test"]["cost"]))
    report["intervals"] = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES} | {
        split: bootstrap.intervals(*result.decisions, model.label_names, run.config.seed)
        for split, result in results.items()
    }
    report["skipped"] = batches.skipped.report()
    write_report(workdir, "metrics.json", report)
    # Imports matplotlib, which takes a second.
    from mme2e_jax.report.write import write

    content = gather(run, model, batches, results, report, workdir)
    if is_first():
        console.print(f"Wrote {write(content, Path(workdir) / 'report')}")
    # Other processes must not end long before the first has written.
    wait_for_all("the report is written")
    return report
