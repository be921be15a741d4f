"""Gathers the content of a report from a run and its results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.checkpoints import reader
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.attention_maps import AttentionMapStore
from mme2e_jax.evaluation.contributions import contributions, shares
from mme2e_jax.evaluation.inference import Model, SplitResult, predict
from mme2e_jax.models.fusion import sort_modalities
from mme2e_jax.models.mme2e import MODALITIES, ModelSpec
from mme2e_jax.models.variables import fusion_weights, parameter_count
from mme2e_jax.report import utterances
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.preparation import read_preparation
from mme2e_jax.report.provenance import provenance
from mme2e_jax.report.training import last_record, read_training
from mme2e_jax.report.utterances import Shown
from mme2e_jax.runs.load import Run, untaught_state


def gather(
    run: Run,
    model: Model,
    batches: BatchLoader,
    results: Mapping[str, SplitResult],
    report: Mapping[str, Any],
    workdir: str | Path,
) -> Content:
    """Gathers the content of a report from `results` by split, the validation split first. All processes must call it.

    `model` has thresholds, `report` is the content of `metrics.json`; the test split's result has attention maps.
    """
    task = tasks.TASKS[model.loss]
    modalities = sort_modalities(run.spec.modalities, MODALITIES)
    last = last_record(workdir) or run.record
    decisions = {split: result.decisions for split, result in results.items()}
    outcomes = utterances.outcomes(decisions[REPORTED].truth, decisions[REPORTED].predicted)
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
        decisions=decisions,
        training=read_training(workdir, last.history, len(run.record.history), run.step),
        examples=_examples(run, model, batches, results[REPORTED], outcomes),
        outcomes={name: int(np.sum(outcomes == name)) for name in utterances.OUTCOMES},
        preparation=read_preparation(batches.dataset.directory),
        skipped_steps=last.skipped,
        provenance=provenance(model.mesh.devices),
    )


def _examples(run: Run, model: Model, batches: BatchLoader, result: SplitResult, outcome: np.ndarray) -> list[Shown]:
    predictions, decisions = result.predictions, result.decisions
    split, spec, names = batches.dataset.split(REPORTED), run.spec, model.label_names
    end_to_end = isinstance(spec, ModelSpec)
    eligible = utterances.has_media(split, predictions.example) if end_to_end else np.ones(len(outcome), bool)
    maps = predictions.attention_maps
    assert maps is not None
    weights = fusion_weights(spec, model.state.variables)
    rows = utterances.choose(outcome, eligible, run.config.seed)
    untaught = untaught_maps(run, model, batches, predictions.example[rows].tolist())

    def shown(row: int) -> Shown:
        example = int(predictions.example[row])
        modalities = spec.modalities if end_to_end else ""
        record = utterances.read_stored(
            split, example, maps[example], modalities, untaught[example], mask_absent=run.config.masks_absent
        )
        added = contributions({m: logits[row] for m, logits in predictions.by_modality.items()}, weights)
        return Shown(
            identifier=split.ids[example],
            outcome=str(outcome[row]),
            truth=utterances.present_labels(decisions.truth[row], names),
            decided=utterances.present_labels(decisions.predicted[row], names),
            scores=dict(zip(names, decisions.score[row].tolist(), strict=True)),
            shares={m: float(np.mean(values)) for m, values in shares(added).items()},
            **record._asdict(),
        )

    return [shown(row) for row in rows]


def untaught_maps(run: Run, model: Model, batches: BatchLoader, examples: Sequence[int]) -> AttentionMapStore:
    """Attention maps of some utterances with the run's untrained scores; none if no teacher trained them."""
    state = untaught_state(run) if examples else None
    if state is None:
        return AttentionMapStore()
    shown = batches.evaluation(REPORTED, only=examples)
    maps = predict(state, shown, model.loss, model.mesh, keep_maps=True).attention_maps
    assert maps is not None
    return maps
