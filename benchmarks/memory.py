"""Lists the memory that an update of the paper-size models takes.

    python -m benchmarks.memory --json=FILE
    python -m benchmarks.memory --models=sparse --dtypes=float32

An update has 8 utterances with 14 frames, 18 mel chunks and 32 tokens each; `optim.accumulate` splits it into steps of
fewer utterances. Nothing is run. `scratch` is the memory that XLA plans in addition to the arguments and results of a
step. `state` is held all the time: parameters, statistics, optimiser, averaged gradient. XLA's CPU compiler computes
most of bfloat16 in float32, with copies that other backends do not make.
"""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import jax
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from benchmarks import paper_size
from mme2e_jax.config.schema import Config, EndToEndModelConfig

_MODELS = flags.DEFINE_list("models", ["dense", "sparse"], "Models: dense, sparse.")
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "Values of model.dtype.")
_REMAT = flags.DEFINE_list("remat", ["False", "True"], "Values of model.remat.")
_ACCUMULATE = flags.DEFINE_list("accumulate", ["1", "4"], "Values of optim.accumulate, divisors of 8.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config override for every row, for example model.width=0.25.")

TOKENS = 32


def main(argv: list[str]) -> None:
    """Compiles every variant and prints the table."""
    del argv
    # JAX warns about every accelerator that this machine lacks.
    logging.set_verbosity(logging.WARNING)
    console = Console(width=100)
    rows = []
    for model, dtype, remat, accumulate in itertools.product(
        _MODELS.value, _DTYPES.value, _REMAT.value, _ACCUMULATE.value
    ):
        console.print(f"compiling {model}, {dtype}, remat {remat}, accumulate {accumulate} ...")
        rows.append(_row(model, [f"model.dtype={dtype}", f"model.remat={remat}", f"optim.accumulate={accumulate}"]))
    table = Table(title=f"An update of {paper_size.UTTERANCES} utterances, {jax.devices()[0].device_kind}")
    for heading in ("model", "dtype", "remat", "accumulate", "scratch MB", "state MB", "compile s"):
        table.add_column(heading)
    for row in rows:
        figures = (f"{row[key]:.0f}" for key in ("scratch_mb", "state_mb", "compile_seconds"))
        table.add_row(row["model"], row["dtype"], str(row["remat"]), str(row["accumulate"]), *figures)
    console.print(table)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


def _row(model: str, overrides: list[str]) -> dict:
    config = paper_size.experiment(model, [*overrides, *_OVERRIDES.value])
    assert isinstance(config.model, EndToEndModelConfig)
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


def _memory(config: Config) -> Any:
    """XLA's memory plan of a training step."""
    return paper_size.compiled_step(config, TOKENS, paper_size.UTTERANCES // config.optim.accumulate).memory_analysis()


if __name__ == "__main__":
    app.run(main)
