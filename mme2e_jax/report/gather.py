"""Gathers a report's content from a run, its data and its predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mme2e_jax.checkpoints import reader
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.contributions import contributions, shares
from mme2e_jax.evaluation.inference import Model, SplitResult
from mme2e_jax.models.fusion import sort_modalities
from mme2e_jax.models.mme2e import MODALITIES, ModelSpec
from mme2e_jax.models.variables import fusion_weights, parameter_count
from mme2e_jax.report.content import REPORTED, Content, Examples
from mme2e_jax.report.preparation import read_preparation
from mme2e_jax.report.provenance import provenance
from mme2e_jax.report.training import course, last_record
from mme2e_jax.report.utterances import PARTLY, RIGHT, WRONG, Shown, choose, kinds, names_of, stored, visible

if TYPE_CHECKING:
    from mme2e_jax.data.batch_loader import BatchLoader
    from mme2e_jax.runs.load import Run


def gather(
    run: "Run",
    model: Model,
    batches: "BatchLoader",
    results: Mapping[str, SplitResult],
    report: Mapping[str, Any],
    workdir: str | Path,
) -> Content:
    """What the report of a run shows. All processes take part.

    Args:
      run: with the checkpoint that is reported.
      model: with the thresholds of its decisions.
      batches: of the data.
      results: one pass over each split, the validation split first; of the test split with attention maps.
      report: content of `metrics.json`.
      workdir: of the run.
    """
    task = tasks.TASKS[model.loss]
    modalities = sort_modalities(run.spec.modalities, MODALITIES)
    last = last_record(workdir) or run.record
    threshold, _ = run.config.site_selection
    sparse = isinstance(run.spec, ModelSpec) and run.spec.sparse
    return Content(
        run=str(workdir),
        metrics=report,
        config=run.config.to_dict(),
        task=task,
        label_names=model.label_names,
        modalities=modalities,
        thresholds=model.thresholds if task is not metrics.Task.SINGLE_LABEL else {},
        sparse_threshold=threshold if sparse and set(modalities) & set("av") else None,
        imported=run.step == reader.IMPORTED_STEP,
        parameters=parameter_count(model.state.variables),
        judged={split: result.decisions for split, result in results.items()},
        training=course(workdir, last.history, len(run.record.history), run.step),
        examples=_examples(run, model, batches, results[REPORTED]),
        preparation=read_preparation(batches.dataset.directory),
        unlearned_steps=last.skipped,
        provenance=provenance(model.mesh.devices),
    )


def _examples(run: "Run", model: Model, batches: "BatchLoader", result: SplitResult) -> Examples:
    predictions, judged = result.predictions, result.decisions
    split, spec, names = batches.dataset.split(REPORTED), run.spec, model.label_names
    end_to_end = isinstance(spec, ModelSpec)
    kind = kinds(judged.truth, judged.predicted)
    seen = visible(split, predictions.example) if end_to_end else np.ones(len(kind), bool)
    places = choose(kind, seen, run.config.seed)
    chosen = predictions.example[places].tolist()
    maps = predictions.attention_maps
    assert maps is not None
    weights = fusion_weights(spec, model.state.variables)

    def shown(place: int, example: int) -> Shown:
        record = stored(split, example, maps[example], spec.modalities if end_to_end else "")
        added = contributions({m: logits[place] for m, logits in predictions.by_modality.items()}, weights)
        return Shown(
            identity=split.ids[example],
            kind=str(kind[place]),
            truth=names_of(judged.truth[place], names),
            decided=names_of(judged.predicted[place], names),
            scores=dict(zip(names, judged.score[place].tolist(), strict=True)),
            shares={m: float(np.mean(values)) for m, values in shares(added).items()},
            transcript=record.transcript,
            evidence=record.evidence,
            notes=record.notes,
        )

    counts = {name: int(np.sum(kind == name)) for name in (RIGHT, PARTLY, WRONG)}
    return Examples([shown(*both) for both in zip(places, chosen, strict=True)], counts)
