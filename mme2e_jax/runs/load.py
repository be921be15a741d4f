"""Loads a run: its model, config and batch loader."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax

from mme2e_jax.checkpoints import reader
from mme2e_jax.checkpoints.hub import open_model
from mme2e_jax.config.devices import largest_divisor
from mme2e_jax.config.parse import read_stored_config
from mme2e_jax.config.schema import Config, FeatureDataConfig, FeatureModelConfig, SparseOptimConfig
from mme2e_jax.data.audio_columns import audio_columns
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.inference import InferenceState, Model, Predictions, predict
from mme2e_jax.models.variables import Spec, abstract_variables, initial_variables
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.sharding import DataMesh

if TYPE_CHECKING:
    from mme2e_jax.data.batch_loader import BatchLoader


class Run(NamedTuple):
    """A trained model and the config it was trained with."""

    model: Model
    config: Config
    record: reader.RunRecord
    step: int  # steps before the checkpoint
    spec: Spec


def load_run(workdir: str | Path, devices: int | None = None) -> Run:
    """Restores the best checkpoint of a run, or a shared model; reads no other file.

    The model gets `devices` devices, by default as many as in training if JAX finds them. Raises `UserError` if there
    is no checkpoint, or its config is not valid.
    """
    checkpoints, step = open_model(workdir)
    record = checkpoints.read_record(step)
    config = read_stored_config(record.config)
    available = min(config.mesh.devices or jax.device_count(), jax.device_count())
    mesh = DataMesh(devices or largest_divisor(config.data.batch_size, available))
    spec = model_spec(config, len(record.label_names), record.tokenizer)
    variables = checkpoints.restore_variables(step, mesh.abstract(abstract_variables(spec)))
    state = InferenceState(variables, config.site_selection[0])
    model = Model(state, tuple(record.label_names), record.thresholds, config.optim.loss, mesh)
    return Run(model, config, record, step, spec)


def untaught_state(run: Run) -> InferenceState | None:
    """The run's weights with the attention scores that it started with; None if no teacher trained them."""
    optim, state = run.config.optim, run.model.state
    if not isinstance(optim, SparseOptimConfig) or not optim.teacher_saliency:
        return None
    arrays, start = state.variables.arrays(), initial_variables(run.spec, run.config.seed).arrays()
    scores = {path: run.model.mesh.put_replicated(start[path]) for path in arrays if "/scores/" in path}
    return dataclasses.replace(state, variables=state.variables.with_arrays(arrays | scores))


def make_batch_loader(config: Config, dataset: Dataset, mesh: DataMesh, epochs: int) -> "BatchLoader":
    """The batch loader of a run, `epochs` 0 for evaluation; raises `UserError` if splits or features are missing."""
    # Imports TensorFlow, which takes seconds and is not needed to predict on clips.
    from mme2e_jax.data.batch_loader import BatchLoader

    return BatchLoader(
        dataset,
        batch_size=config.data.batch_size,
        text_max_len=config.data.text_max_len,
        seed=config.seed,
        epochs=epochs,
        max_shapes=config.data.max_shapes,
        groups=mesh.devices,
        local_groups=mesh.local_groups,
        audio_columns=_audio_columns(config, dataset),
        skip_bad=config.data.skip_bad,
        mask_absent=config.masks_absent,
        log=console.print,
    )


def _audio_columns(config: Config, dataset: Dataset) -> tuple[int, ...]:
    """The audio columns that a baseline reads, after a check of all feature widths."""
    data, model = config.data, config.model
    if not isinstance(data, FeatureDataConfig) or not isinstance(model, FeatureModelConfig):
        return ()
    text, audio, video = dataset.feature_sizes
    columns = audio_columns(data.audio_feature_type, audio) if "a" in model.modalities else ()
    names, expected = ("text", "audio", "video"), (text, len(columns), video)
    wrong = [
        f"{size} for {name}, found {found}"
        for m, name, size, found in zip("tav", names, expected, model.feature_sizes, strict=True)
        if m in model.modalities and size != found
    ]
    if wrong:
        raise UserError(
            f"config.model.feature_sizes: expected the widths of the features in {dataset.directory} (audio: of type "
            f"{data.audio_feature_type}): {'; '.join(wrong)}. Give them, as text, audio, video, with "
            "--config.model.feature_sizes, or choose another config.data.audio_feature_type."
        )
    return columns


def open_batch_loader(run: Run, data_dir: str | Path | None = None) -> "BatchLoader":
    """Opens records to evaluate a run, by default its own; raises `UserError` if they are missing or of another run."""
    dataset = open_dataset(data_dir or run.config.data.dir, run.config.data.dataset, run.config.records_kind)
    check_fit(run.record, dataset)
    return make_batch_loader(run.config, dataset, run.model.mesh, run.config.optim.epochs)


def model_with_thresholds(run: Run, batches: "BatchLoader", valid: Predictions | None = None) -> Model:
    """The run's model with its stored thresholds; for imported weights, with thresholds chosen on the validation split.

    These need `valid`, the predictions for that split, which are computed if None.
    """
    model = run.model
    if run.step != reader.IMPORTED_STEP:
        return model
    console.print("Imported weights have no thresholds: they are chosen on the validation split.")
    if valid is None:
        valid = predict(model.state, batches.evaluation("valid"), model.loss, model.mesh)
    smoothing, task = run.config.evaluation.threshold_smoothing, tasks.TASKS[model.loss]
    thresholds = metrics.best_thresholds(valid.score, valid.truth, model.label_names, smoothing, task)
    return dataclasses.replace(model, thresholds=thresholds)


def check_fit(record: reader.RunRecord, dataset: Dataset) -> None:
    """Raises `UserError` with every difference between a dataset and what the record stores of the training data."""
    pairs = {
        "dataset": (record.config["data"]["dataset"], dataset.name),
        "label names": (record.label_names, list(dataset.label_names)),
        "tokenizer": (record.tokenizer, {k: dataset.tokenizer.get(k) for k in record.tokenizer}),
        "preprocessing": (record.preprocessing, {k: dataset.preprocessing.get(k) for k in record.preprocessing}),
    }
    wrong = [f"{name}: trained with {a}, found {b}" for name, (a, b) in pairs.items() if a != b]
    if wrong:
        raise UserError(f"{dataset.directory} does not fit the run: {'; '.join(wrong)}.")
