"""Measures what compiling the steps of the mini configs takes.

    python -m benchmarks.compile --json=FILE
    python -m benchmarks.compile --programs=dense --steps=train --rounds=3

For the training step and the evaluation step of the dense model, of the sparse model by rows of active sites, and of
the sparse model by masks: CPU seconds of all threads to trace (Python to StableHLO) and to compile, and the size of the
program: lines of StableHLO, instructions of optimised HLO, and fusions. Distinct fusions count equal ones once, as
XLA's CPU compiler compiles them once. A batch has 8 utterances with 14 frames, 18 mel chunks and 32 tokens each.
Nothing is run, and no cache is used. Seconds are the least of the rounds.
"""

import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from benchmarks import paper_size
from benchmarks.hlo import distinct_fusions

_PROGRAMS = flags.DEFINE_list("programs", ["dense", "rows", "masked"], "Programs: dense, rows, masked.")
_STEPS = flags.DEFINE_list("steps", ["train", "eval"], "Steps: train, eval.")
_ROUNDS = flags.DEFINE_integer("rounds", 1, "Times that every program is compiled.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config override for every program, for example model.width=1.")

TOKENS = 32
# Model and config overrides of each program.
PROGRAMS = {
    "dense": ("dense", ()),
    "rows": ("sparse", ("model.sparse_impl=rows",)),
    "masked": ("sparse", ("model.sparse_impl=masked",)),
}

flags.register_validator("programs", lambda v: v and set(v) <= set(PROGRAMS), "Expected dense, rows or masked.")
flags.register_validator("steps", lambda v: v and set(v) <= {"train", "eval"}, "Expected train, eval or both.")


def traced(program: str, step: str, overrides: Sequence[str]) -> jax.stages.Traced:
    """Traces a step of a mini config.

    Args:
      program: key of PROGRAMS.
      step: "train" or "eval".
      overrides: config overrides.
    """
    model, own = PROGRAMS[program]
    config = paper_size.experiment(model, [*own, *overrides], "mini")
    return {"train": paper_size.traced_step, "eval": paper_size.traced_inference}[step](config, TOKENS)


def figures(trace: Callable[[], jax.stages.Traced]) -> dict[str, float]:
    """CPU seconds to trace and to compile a program, and its size."""
    jax.clear_caches()
    start = time.process_time()
    lowered = trace().lower()
    middle = time.process_time()
    compiled = lowered.compile()
    end = time.process_time()
    optimized = str(compiled.as_text())
    return {
        "trace_cpu_seconds": middle - start,
        "compile_cpu_seconds": end - middle,
        "stablehlo_lines": lowered.as_text().count("\n"),
        "hlo_instructions": sum(" = " in line for line in optimized.splitlines()),
        "fusions": optimized.count(" fusion("),
        "distinct_fusions": distinct_fusions(optimized),
    }


def main(argv: list[str]) -> None:
    """Compiles every program and prints the table."""
    del argv
    # JAX warns about every accelerator that this machine lacks.
    logging.set_verbosity(logging.WARNING)
    jax.config.update("jax_enable_compilation_cache", False)
    # What a process does once does not count.
    jax.jit(jnp.sin).lower(1.0).compile()
    rows: list[dict[str, Any]] = []
    for step in _STEPS.value:
        for program in _PROGRAMS.value:
            trace = functools.partial(traced, program, step, _OVERRIDES.value)
            rounds = [figures(trace) for _ in range(_ROUNDS.value)]
            rows.append({"program": program, "step": step} | {key: min(r[key] for r in rounds) for key in rounds[0]})
    table = Table(title=f"CPU seconds to compile, {jax.devices()[0].device_kind}")
    for heading in ("program", "step", "trace", "compile", "StableHLO", "HLO", "fusions", "distinct"):
        table.add_column(heading, justify="left" if heading in ("program", "step") else "right")
    for row in rows:
        seconds = (f"{row[key]:.1f}" for key in ("trace_cpu_seconds", "compile_cpu_seconds"))
        sizes = (f"{row[key]:,}" for key in ("stablehlo_lines", "hlo_instructions", "fusions", "distinct_fusions"))
        table.add_row(row["program"], row["step"], *seconds, *sizes)
    Console(width=100).print(table)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
