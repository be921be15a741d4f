"""A run from its checkpoint: the model with everything it needs, its evaluation and its report."""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from mme2e_jax import build, checkpoint, cost, metrics, objective
from mme2e_jax.batch import AnyBatch
from mme2e_jax.config import Config, fitting_devices, records_kind, site_selection, validate, with_later_keys
from mme2e_jax.console import console, cost_table, scores_table
from mme2e_jax.data.audio_columns import audio_columns
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluate import Model, Parameters, Predictions, decisions, judge, predict
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.processes import is_first, meet
from mme2e_jax.report import bootstrap
from mme2e_jax.sharding import DataMesh
from mme2e_jax.state import Spec, abstract_variables

if TYPE_CHECKING:
    from mme2e_jax.data.pipeline import Input

SPLITS = ("valid", "test")


class Run(NamedTuple):
    """A trained model and the config it was trained with."""

    model: Model
    config: Config
    record: checkpoint.RunRecord
    step: int  # steps before the checkpoint
    spec: Spec


def load_run(workdir: str | Path, devices: int | None = None) -> Run:
    """Restores the best checkpoint of a run; nothing else is read.

    Args:
      workdir: of the run.
      devices: to put the model on; None for as many as in training, as far as there are.

    Raises:
      UserError: if there is none, or its config is not valid.
    """
    checkpoints, step = checkpoint.open_run(workdir)
    record = checkpoints.record(step)
    config = with_later_keys(record.config)
    validate(config)
    # As in training where there are as many devices; where not, the model is evaluated all the same.
    available = min(config.mesh.devices or jax.device_count(), jax.device_count())
    mesh = DataMesh(devices or fitting_devices(config.data.batch_size, available))
    spec = build.model_spec(config, len(record.label_names), record.tokenizer)
    like = mesh.abstract(abstract_variables(spec))
    variables = checkpoints.restore_variables(step, like)
    threshold, _ = site_selection(config)
    parameters = Parameters(variables, threshold)
    model = Model(parameters, tuple(record.label_names), record.thresholds, config.optim.loss, mesh)
    return Run(model, config, record, step, spec)


def input_of(config: Config, dataset: Dataset, mesh: DataMesh, epochs: int) -> "Input":
    """The batches of a run; `epochs` 0 for evaluation alone.

    Raises:
      UserError: if the dataset lacks a split, or features that the model reads.
    """
    # Here, not at the top: it imports TensorFlow, which takes seconds, and predictions on clips do without.
    from mme2e_jax.data.pipeline import Input

    return Input(
        dataset,
        batch_size=config.data.batch_size,
        text_max_len=config.data.text_max_len,
        seed=config.seed,
        epochs=epochs,
        max_shapes=config.data.max_shapes,
        groups=mesh.devices,
        local_groups=mesh.local_groups,
        audio_columns=_audio_columns(config, dataset) if dataset.kind == "features" else (),
        skip_bad=config.data.skip_bad,
        tell=functools.partial(console.print, markup=False),
    )


def _audio_columns(config: Config, dataset: Dataset) -> tuple[int, ...]:
    """The columns of the stored audio that a baseline reads, once it is clear that all widths are the model's."""
    text, audio, video = dataset.feature_sizes
    columns = audio_columns(config.data.audio_feature_type, audio) if "a" in config.model.modalities else ()
    names, expected = ("text", "audio", "video"), (text, len(columns), video)
    wrong = [
        f"{size} for {name}, found {found}"
        for m, name, size, found in zip("tav", names, expected, config.model.feature_sizes, strict=True)
        if m in config.model.modalities and size != found
    ]
    if wrong:
        raise UserError(
            f"config.model.feature_sizes: expected the widths of the features in {dataset.directory} (audio: of type "
            f"{config.data.audio_feature_type}): {'; '.join(wrong)}. Give them, as text, audio, video, with "
            "--config.model.feature_sizes, or choose another config.data.audio_feature_type."
        )
    return columns


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
            report[split]["cost"] = cost.account(run.spec, batches.seen_lengths(split), found.sites)
    if isinstance(run.spec, ModelSpec):
        console.print(cost_table("millions of multiply-adds per utterance (test)", report["test"]["cost"]))
    report["intervals"] = {"level": bootstrap.LEVEL, "resamples": bootstrap.RESAMPLES, **around}
    report["skipped"] = batches.skipped.report()
    write_report(workdir, "metrics.json", report)
    _write_page(run, model, batches, predictions, report, workdir)
    return report


def open_input(run: Run, data_dir: str | Path | None = None) -> "Input":
    """The batches to evaluate a run on.

    Args:
      run: with its best checkpoint.
      data_dir: prepared records; None for where training found them.

    Raises:
      UserError: if the data are missing or do not belong to the run.
    """
    dataset = open_dataset(data_dir or run.config.data.dir, run.config.data.dataset, records_kind(run.config))
    check_fit(run.record, dataset)
    return input_of(run.config, dataset, run.model.mesh, run.config.optim.epochs)


def model_to_judge(run: Run, batches: "Input") -> Model:
    """The run's model with thresholds for its decisions: stored ones, or, of imported weights, chosen here."""
    return _with_thresholds(run, batches) if run.step == checkpoint.IMPORTED_STEP else run.model


def write_report(workdir: str | Path, name: str, content: Mapping[str, Any]) -> None:
    """Writes `report/NAME` of a run as JSON and says so; only one process does."""
    if not is_first():
        return
    path = Path(workdir) / "report" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
    console.print(f"Wrote {path}")


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


def _with_thresholds(run: Run, batches: "Input") -> Model:
    """The model of imported weights, with thresholds as training chooses them."""
    console.print("Imported weights have no thresholds: they are chosen on the validation split.")
    model, smoothing = run.model, run.config.evaluation.threshold_smoothing
    score, truth, *_ = predict(model.parameters, batches.evaluation("valid"), model.loss, model.mesh)
    task = objective.TASKS[model.loss]
    return dataclasses.replace(
        model, thresholds=metrics.best_thresholds(score, truth, model.label_names, smoothing, task)
    )


def check_fit(record: checkpoint.RunRecord, dataset: Dataset) -> None:
    """Refuses data that the model was not made for, as far as is known what it was made for.

    Raises:
      UserError: listing every difference.
    """
    pairs = {
        "dataset": (record.config["data"]["dataset"], dataset.name),
        "label names": (record.label_names, list(dataset.label_names)),
        "tokenizer": (record.tokenizer, {k: dataset.tokenizer.get(k) for k in record.tokenizer}),
        "preprocessing": (record.preprocessing, {k: dataset.preprocessing.get(k) for k in record.preprocessing}),
    }
    wrong = [f"{what}: trained with {a}, found {b}" for what, (a, b) in pairs.items() if a != b]
    if wrong:
        raise UserError(f"{dataset.directory} does not fit the run: {'; '.join(wrong)}.")
