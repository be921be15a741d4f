"""What memory an update of the paper-size models takes, by `model.dtype`, `model.remat` and `optim.accumulate`.

    python -m benchmarks.memory --json=FILE
    python -m benchmarks.memory --models=sparse --dtypes=float32

An update is of 8 utterances with 14 frames, 18 mel chunks and 32 tokens each; `accumulate` splits it into steps of
fewer utterances. Nothing is run: `scratch` is what XLA plans beside a step's arguments and results, `state` what lies
there all the time (parameters, statistics, optimiser, averaged gradient). XLA's CPU compiler computes much of what is
bfloat16 in float32, with copies that other backends do not make.
"""

import ast
import importlib
import itertools
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from mme2e_jax import build, objective, state
from mme2e_jax.batch import Batch
from mme2e_jax.config import Config, validate
from mme2e_jax.conventions import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.state import TrainState
from mme2e_jax.step import make_train_step

_MODELS = flags.DEFINE_list("models", ["dense", "sparse"], "Of dense, sparse.")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "Values of model.dtype.")
_REMAT = flags.DEFINE_list("remat", ["False", "True"], "Values of model.remat.")
_ACCUMULATE = flags.DEFINE_list("accumulate", ["1", "4"], "Values of optim.accumulate, divisors of 8.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config overrides for every row, as in model.width=0.25.")

UTTERANCES, FRAMES, CHUNKS, TOKENS = 8, 14, 18, 32
VOCABULARY = 30000  # of ALBERT
LABELS = 6


def main(argv: list[str]) -> None:
    """Compiles every variant and prints the table."""
    del argv
    # Which accelerators this machine does not have is told of at length.
    logging.set_verbosity(logging.WARNING)
    console = Console(width=100)
    rows = []
    for model, dtype, remat, accumulate in itertools.product(
        _MODELS.value, _DTYPES.value, _REMAT.value, _ACCUMULATE.value
    ):
        console.print(f"compiling {model}, {dtype}, remat {remat}, accumulate {accumulate} ...")
        rows.append(_row(model, [f"model.dtype={dtype}", f"model.remat={remat}", f"optim.accumulate={accumulate}"]))
    table = Table(title=f"An update of {UTTERANCES} utterances, {jax.devices()[0].device_kind}")
    for heading in ("model", "dtype", "remat", "accumulate", "scratch MB", "state MB", "compile s"):
        table.add_column(heading)
    for row in rows:
        figures = (f"{row[key]:.0f}" for key in ("scratch_mb", "state_mb", "compile_seconds"))
        table.add_row(row["model"], row["dtype"], str(row["remat"]), str(row["accumulate"]), *figures)
    console.print(table)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


def _row(model: str, overrides: list[str]) -> dict:
    config: Config = importlib.import_module(f"configs.mosei_{model}").get_config()
    for override in [*overrides, *_OVERRIDES.value]:
        key, _, value = override.partition("=")
        config.update_from_flattened_dict({key: _parsed(value)})
    validate(config)
    start = time.perf_counter()
    memory = _memory(config)
    return {
        "model": model,
        "dtype": config.model.dtype,
        "remat": config.model.remat,
        "accumulate": config.optim.accumulate,
        "scratch_mb": memory.temp_size_in_bytes / 2**20,
        "state_mb": memory.alias_size_in_bytes / 2**20,
        "compile_seconds": time.perf_counter() - start,
        "device": jax.devices()[0].device_kind,
        "overrides": list(_OVERRIDES.value),
    }


def _parsed(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except ValueError:
        return value  # a word


def _memory(config: Config) -> Any:
    """What XLA says of the memory of a training step."""
    tx = build.make_optimizer(config, total_steps=1000)
    spec = build.model_spec(config, LABELS, {"vocab_size": VOCABULARY})
    variables = state.abstract_variables(spec)
    start = jax.eval_shape(lambda v: TrainState(jnp.int32(0), v, tx.init(v.params)), variables)
    step = make_train_step(tx, objective.make_loss("bce", np.ones(LABELS)), seed=0, attention_entropy=0.0)
    jitted = jax.jit(step, donate_argnums=0, compiler_options=build.compiler_options(config))
    batch = _batch(UTTERANCES // config.optim.accumulate)
    return jitted.lower(start, batch, jax.ShapeDtypeStruct((), jnp.float32)).compile().memory_analysis()


def _batch(utterances: int) -> Any:
    """Shapes of a batch without padding, on one device."""

    def shape(dtype: Any, *axes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((1, *axes), dtype)

    count = shape(jnp.int32, utterances)
    return Batch(
        token_ids=shape(jnp.int32, utterances, TOKENS),
        token_count=count,
        faces=shape(jnp.uint8, utterances * FRAMES, FACE_SIZE, FACE_SIZE, 3),
        frame_count=count,
        mel=shape(jnp.float32, utterances * CHUNKS, MEL_BANDS, CHUNK_FRAMES),
        chunk_count=count,
        labels=shape(jnp.float32, utterances, LABELS),
        example=count,
    )


if __name__ == "__main__":
    app.run(main)
