"""Models at the paper's or the mini configs' size, and a random batch, without data."""

import ast
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mme2e_jax.batch import Batch
from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.schema import Config
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, LABEL_NAMES, MEL_BANDS
from mme2e_jax.data.dataset import Dataset, Split
from mme2e_jax.data.description import Files
from mme2e_jax.data.plan import Lengths
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import flops
from mme2e_jax.evaluation.inference import InferenceState, infer_batch
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import TrainState
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training import setup
from mme2e_jax.training.step import compiler_options

LABELS = LABEL_NAMES["mosei"]
# A mean utterance of CMU-MOSEI: 7.3 s.
FRAMES, CHUNKS = 14, 18
UTTERANCES = 8
VOCABULARY = 30_000
# As in the paper: each stage selects sites, and no teacher trains the scores.
SITES = ("model.sparse_region=1", "model.sparse_once=False")
UNTAUGHT = (
    *SITES,
    *("optim.dense_epochs=0", "optim.teacher_saliency=0.0", "optim.teacher_kd=0.0", "optim.score_lr_factor=1.0"),
)


def experiment(model: str, overrides: Sequence[str], data: str = "mosei") -> Config:
    """A model's config, the paper's for CMU-MOSEI by default, with batches of 8 on one device and ALBERT from scratch.

    The sparse model selects sites as in the paper and has no teacher, unless `overrides` ask for it.

    Args:
      model: "dense" or "sparse".
      overrides: config overrides, for example `model.width=0.25`.
      data: "mosei" or "mini".

    Raises:
      UserError: if an override is not KEY=VALUE, or the resulting config is invalid.
    """
    config: Any = importlib.import_module(f"configs.{data}_{model}").get_config()
    config.data.batch_size, config.mesh.devices, config.model.text.init = UTTERANCES, 1, "random"
    for override in [*(UNTAUGHT if model == "sparse" else ()), *overrides]:
        key, found, value = override.partition("=")
        if not found:
            raise UserError(f"--override: expected KEY=VALUE, for example model.width=0.25, found {override!r}.")
        config.update_from_flattened_dict({key: _plain(value)})
    return parse_config(config)


def _plain(value: str):
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def lengths(text_length: int) -> Lengths:
    """Lengths of the utterances of the batch."""
    return Lengths(*(np.full(UTTERANCES, n) for n in (text_length, FRAMES, CHUNKS)))


def dataset(text_length: int) -> Dataset:
    """A dataset without records, whose training split has the utterances of the batch."""
    split = Split("train", Files((), ()), (), lengths(text_length), np.full(len(LABELS), UTTERANCES // 4))
    return Dataset(
        directory=Path(),
        name="mosei",
        kind="media",
        label_names=LABELS,
        tokenizer={"vocab_size": VOCABULARY},
        feature_sizes=(),
        preprocessing={},
        splits={"train": split},
    )


def batch(text_length: int, utterances: int = UTTERANCES) -> Batch:
    """A batch for one device, without padding."""
    rng = np.random.default_rng(0)
    grid = (1, utterances)
    return Batch(
        token_ids=rng.integers(0, VOCABULARY, (*grid, text_length), dtype=np.int32),
        token_count=np.full(grid, text_length, np.int32),
        faces=rng.integers(0, 256, (1, utterances * FRAMES, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8),
        frame_count=np.full(grid, FRAMES, np.int32),
        mel=rng.exponential(size=(1, utterances * CHUNKS, MEL_BANDS, CHUNK_FRAMES)).astype(np.float32),
        chunk_count=np.full(grid, CHUNKS, np.int32),
        labels=(rng.random((*grid, len(LABELS))) < 0.25).astype(np.float32),
        example=np.arange(utterances, dtype=np.int32).reshape(grid),
    )


def traced_step(config: Config, text_length: int, utterances: int = UTTERANCES) -> jax.stages.Traced:
    """Traces a training step from the shapes of parameters and batch, without running it.

    Args:
      config: config from `experiment`.
      text_length: tokens per utterance.
      utterances: utterances per device.
    """
    mesh, state, batches, threshold = _inputs(config, text_length, utterances)
    step = setup.make_step(config, dataset(text_length), _optimizer(config))
    with mesh.active():
        jitted = jax.jit(step, donate_argnums=0, compiler_options=compiler_options())
        return jitted.trace(state, batches, threshold)


def traced_inference(config: Config, text_length: int, utterances: int = UTTERANCES) -> jax.stages.Traced:
    """Traces an evaluation step; arguments as for `traced_step`."""
    mesh, state, batches, threshold = _inputs(config, text_length, utterances)
    with mesh.active():
        return infer_batch.trace(InferenceState(state.variables, threshold), batches)


def compiled_step(config: Config, text_length: int, utterances: int = UTTERANCES) -> jax.stages.Compiled:
    """Compiles a training step; arguments as for `traced_step`."""
    return traced_step(config, text_length, utterances).lower().compile()


def _optimizer(config: Config) -> optax.GradientTransformation:
    return setup.make_optimizer(config, total_steps=1000)


def _inputs(config: Config, text_length: int, utterances: int) -> tuple[DataMesh, TrainState, Any, Any]:
    """Devices, and the shapes of training state, batch and attention threshold."""
    mesh = DataMesh(config.mesh.devices)
    spec = model_spec(config, len(LABELS), dataset(text_length).tokenizer)
    variables = model_variables.abstract_variables(spec)
    tx = _optimizer(config)
    start = jax.eval_shape(lambda v: TrainState(jnp.int32(0), v, tx.init(v.params)), variables)
    batches = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((mesh.devices, *x.shape[1:]), x.dtype, sharding=mesh.split),
        batch(text_length, utterances),
    )
    return mesh, mesh.abstract(start), batches, mesh.abstract(jax.ShapeDtypeStruct((), jnp.float32))


def training_macs(spec: ModelSpec, lengths: Lengths, active: Mapping[str, Sequence[float]]) -> float:
    """Multiply-adds of a training step, the mean over utterances; arguments as for `flops.macs`.

    The backward pass computes two products per product, one for the gradient of either factor, except for images, which
    have no gradient, and scores that only select.
    """
    parts = flops.macs(spec, lengths, active)
    skipped = sum(
        flops.first_convolution(spec, m) * float(np.mean(images))
        for m, images in (("v", lengths.frames), ("a", lengths.chunks))
        if m in parts
    )
    if not spec.renormalize:
        skipped += 2 * sum(tower.get("scores", 0.0) for tower in parts.values())
    return 3 * sum(value for tower in parts.values() for value in tower.values()) - skipped
