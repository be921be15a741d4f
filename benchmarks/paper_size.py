"""Paper-size models and a random batch for benchmarks without data."""

import ast
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mme2e_jax.batch import Batch
from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.schema import Config
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, LABEL_NAMES, MEL_BANDS
from mme2e_jax.data.dataset import Dataset, Split
from mme2e_jax.data.description import Files
from mme2e_jax.data.plan import Lengths
from mme2e_jax.errors import UserError
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.variables import TrainState
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training import setup

LABELS = LABEL_NAMES["mosei"]
# A mean utterance of CMU-MOSEI: 7.3 s.
FRAMES, CHUNKS = 14, 18
UTTERANCES = 8
VOCABULARY = 30_000


def experiment(model: str, overrides: Sequence[str]) -> Config:
    """The paper's config of a model on CMU-MOSEI, with batches of 8 on one device and ALBERT from scratch.

    Args:
      model: "dense" or "sparse".
      overrides: config overrides, for example `model.width=0.25`.

    Raises:
      UserError: if an override is not KEY=VALUE, or the resulting config is invalid.
    """
    config: Any = importlib.import_module(f"configs.mosei_{model}").get_config()
    config.data.batch_size, config.mesh.devices, config.model.text.init = UTTERANCES, 1, "random"
    for override in overrides:
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


def compiled_step(config: Config, text_length: int, utterances: int = UTTERANCES) -> jax.stages.Compiled:
    """Compiles a training step from the shapes of parameters and batch, without running it.

    Args:
      config: config from `experiment`.
      text_length: tokens per utterance.
      utterances: utterances per device.
    """
    mesh = DataMesh(config.mesh.devices)
    tx = setup.make_optimizer(config, total_steps=1000)
    described = dataset(text_length)
    spec = model_spec(config, len(LABELS), described.tokenizer)
    variables = model_variables.abstract_variables(spec)
    start = jax.eval_shape(lambda v: TrainState(jnp.int32(0), v, tx.init(v.params)), variables)
    one = batch(text_length, utterances)
    batches = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((mesh.devices, *x.shape[1:]), x.dtype, sharding=mesh.split), one
    )
    step = setup.make_step(config, described, tx)
    jitted = jax.jit(step, donate_argnums=0, compiler_options=setup.compiler_options(config))
    threshold = jax.ShapeDtypeStruct((), jnp.float32)
    with mesh.active():
        return jitted.lower(mesh.abstract(start), batches, mesh.abstract(threshold)).compile()
