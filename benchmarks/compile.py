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

TOKENS = 32
# Model and config overrides of each program.
PROGRAMS = {
    "dense": ("dense", ()),
    "rows": ("sparse", ("model.sparse_impl=rows",)),
    "masked": ("sparse", ("model.sparse_impl=masked",)),
}


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
    values = flags.FLAGS
    # JAX warns about every accelerator that this machine lacks.
    logging.set_verbosity(logging.WARNING)
    jax.config.update("jax_enable_compilation_cache", False)
    # What a process does once does not count.
    jax.jit(jnp.sin).lower(1.0).compile()
    rows: list[dict[str, Any]] = []
    for step in values.steps:
        for program in values.programs:
            trace = functools.partial(traced, program, step, values.override)
            rounds = [figures(trace) for _ in range(values.rounds)]
            rows.append({"program": program, "step": step} | {key: min(r[key] for r in rounds) for key in rounds[0]})
    table = Table(title=f"CPU seconds to compile, {jax.devices()[0].device_kind}")
    for heading in ("program", "step", "trace", "compile", "StableHLO", "HLO", "fusions", "distinct"):
        table.add_column(heading, justify="left" if heading in ("program", "step") else "right")
    for row in rows:
        seconds = (f"{row[key]:.1f}" for key in ("trace_cpu_seconds", "compile_cpu_seconds"))
        sizes = (f"{row[key]:,}" for key in ("stablehlo_lines", "hlo_instructions", "fusions", "distinct_fusions"))
        table.add_row(row["program"], row["step"], *seconds, *sizes)
    Console(width=100).print(table)
    if values.json:
        Path(values.json).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    # Here, as tests import several benchmarks, whose flags have the same names.
    flags.DEFINE_multi_enum("programs", list(PROGRAMS), list(PROGRAMS), "Program to compile; may be repeated.")
    flags.DEFINE_multi_enum("steps", ["train", "eval"], ["train", "eval"], "Step to compile; may be repeated.")
    flags.DEFINE_integer("rounds", 1, "Times that every program is compiled.", lower_bound=1)
    flags.DEFINE_string("json", None, "Also write the rows to this file.")
    flags.DEFINE_multi_string("override", [], "Config override for every program, for example model.width=1.")
    app.run(main)
