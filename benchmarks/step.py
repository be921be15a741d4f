"""Measures time, memory and operations of a step of the paper-size models.

    python -m benchmarks.step --rounds=5 --json=FILE
    python -m benchmarks.step --text_lengths=24 --thresholds=0.5 --modes=train
    python -m benchmarks.step --utterances=64 --override=model.dtype=bfloat16

One batch has 8 utterances (`--utterances`) with 14 frames, 18 mel chunks and 24 or 100 tokens each. Every round runs
every variant, and a product of two 2048 x 2048 matrices, so that other load on the machine affects all. A variant runs
twice in its turn, and the second run counts, as a model in training has its memory. Figures are medians over rounds;
ratios are medians of the rounds' ratios. The attention of a fresh model is nearly uniform, so a stage keeps about the
threshold's share of its candidates; the shares are printed. `gflops` counts two operations per multiply-add
(`mme2e_jax.evaluation.flops`) for the whole batch. `peak MB` is XLA's plan: arguments, outputs and scratch.
`process_peak_mb` in the file is the peak of this process with all variants and their compilation. `--peak` also runs
each variant in its own process and shows its peak (Linux).
"""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from benchmarks.trainee import Program, Trainee
from mme2e_jax.runtime.huge_pages import use_huge_pages

_MODELS = flags.DEFINE_list("models", ["dense", "sparse"], "Models: dense, sparse; taught is sparse with a teacher.")
_THRESHOLDS = flags.DEFINE_list("thresholds", ["0.8", "0.5", "0.3"], "Attention thresholds of the sparse model.")
_MODES = flags.DEFINE_list("modes", ["train", "eval"], "Modes: train, eval.")
_TEXT_LENGTHS = flags.DEFINE_list("text_lengths", ["100", "24"], "Tokens per utterance.")
_UTTERANCES = flags.DEFINE_integer("utterances", 8, "Utterances in the batch.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed runs of every variant.", lower_bound=1)
_PEAK = flags.DEFINE_bool("peak", False, "Also run every variant in its own process to get its peak memory.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string(
    "override", [], "Config override for every variant, for example model.width=0.25."
)

MODELS = {"dense", "sparse", "taught"}
flags.register_validator("models", lambda v: v and set(v) <= MODELS, "Expected some of dense, sparse, taught.")
flags.register_validator("modes", lambda v: v and set(v) <= {"train", "eval"}, "Expected train, eval or both.")

MATMUL_SIZE = 2048


class Variant(NamedTuple):
    """Model and mode of one row."""

    model: str
    threshold: float
    mode: str
    text_length: int

    @property
    def dense(self) -> "Variant":
        """The dense variant that it is compared with."""
        return self._replace(model="dense", threshold=1.0)


def main(argv: list[str]) -> None:
    """Measures and prints the table."""
    del argv
    use_huge_pages()  # as launch.py does
    # JAX warns about every accelerator that this machine lacks.
    logging.set_verbosity(logging.WARNING)
    jax.config.update("jax_enable_compilation_cache", False)
    rows = _rows(_variants())
    if _PEAK.value:
        for row in rows:
            row["process_peak_mb"] = _alone(row)
    table = Table(title=f"{_UTTERANCES.value} utterances, {jax.devices()[0].device_kind}; median of {_ROUNDS.value}")
    headings = ("model", "p", "mode", "text", "seconds", "/ dense", "GFLOPs", "of matmul", "peak MB", "compile s")
    for heading in (*headings, "active v, a"):
        table.add_column(heading)
    for row in rows:
        active = " ".join("/".join(f"{s:.2f}" for s in row["active"][m]) for m in "va" if m in row["active"])
        ratio = row["ratio_to_dense"]
        table.add_row(
            row["model"],
            f"{row['threshold']:g}",
            row["mode"],
            str(row["text_length"]),
            f"{row['seconds']:.3f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{row['gflops']:.0f}",
            f"{row['share_of_matmul']:.2f}",
            f"{row['peak_mb']:.0f}" + (f" ({row['process_peak_mb']:.0f})" if _PEAK.value else ""),
            f"{row['compile_seconds']:.1f}",
            active,
        )
    console = Console(width=140)
    console.print(table)
    console.print(f"A {MATMUL_SIZE} x {MATMUL_SIZE} float32 product: {rows[0]['matmul_gflops_per_second']:.1f} GFLOP/s")
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


def _variants() -> list[Variant]:
    sparse = [float(t) for t in _THRESHOLDS.value]
    thresholds = {"dense": [1.0], "sparse": sparse, "taught": sparse}
    return [
        Variant(model, threshold, mode, int(text_length))
        for mode in _MODES.value
        for text_length in _TEXT_LENGTHS.value
        for model in _MODELS.value
        for threshold in thresholds[model]
        if mode == "train" or model != "taught"
    ]


def _rows(variants: Sequence[Variant]) -> list[dict]:
    models = {(v.model, v.threshold) for v in variants}
    trainees = {key: Trainee(*key, _OVERRIDES.value, _UTTERANCES.value) for key in sorted(models)}
    programs: dict[Variant, Program] = {}
    for variant in variants:
        print(f"compiling {variant} ...", file=sys.stderr)
        trainee = trainees[variant.model, variant.threshold]
        programs[variant] = trainee.program(variant.mode, variant.text_length)
    matmul = _matmul()

    seconds, matmul_seconds, active = {v: [] for v in variants}, [], {}
    # The first round warms up.
    for index in range(_ROUNDS.value + 1):
        print(f"round {index} of {_ROUNDS.value} ...", file=sys.stderr)
        round_seconds = {}
        for variant in variants:
            programs[variant].run()  # takes back the memory that the variant before it has freed, which is slow
            round_seconds[variant], active[variant] = _timed(programs[variant].run)
        # A single product is so short that other load distorts it.
        matmul_round = min(_timed(matmul)[0] for _ in range(5))
        if index:
            matmul_seconds.append(matmul_round)
            for variant, value in round_seconds.items():
                seconds[variant].append(value)
    rate = 2e-9 * MATMUL_SIZE**3 / float(np.median(matmul_seconds))
    rows = []
    for variant in variants:
        taken = np.array(seconds[variant])
        gflops = trainees[variant.model, variant.threshold].gflops(variant.mode, variant.text_length, active[variant])
        dense = seconds.get(variant.dense)
        rows.append(
            variant._asdict()
            | {
                "utterances": _UTTERANCES.value,
                "seconds": float(np.median(taken)),
                "ratio_to_dense": float(np.median(taken / dense)) if dense else None,
                "peak_mb": programs[variant].peak_bytes / 2**20,
                "gflops": gflops,
                "share_of_matmul": float(np.median(gflops / taken / rate)),
                "matmul_gflops_per_second": rate,
                "compile_seconds": programs[variant].compile_seconds,
                "active": {m: shares.tolist() for m, shares in active[variant].items()},
                "process_peak_mb": _process_peak_mb(),
                "device": jax.devices()[0].device_kind,
                "overrides": list(_OVERRIDES.value),
            }
        )
    return rows


def _matmul() -> Callable[[], Any]:
    a, b = (jax.random.normal(jax.random.key(k), (MATMUL_SIZE, MATMUL_SIZE)) for k in (0, 1))
    product = jax.jit(jnp.matmul)
    return lambda: product(a, b)


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = jax.block_until_ready(run())
    return time.perf_counter() - start, result


def _process_peak_mb() -> float | None:
    # Not getrusage: a process inherits its maximum from its parent.
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else None


def _alone(row: dict) -> float:
    """Peak memory in MB of a process that runs only the variant of the row."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "row.json"
        subprocess.run(
            [sys.executable, "-m", "benchmarks.step", "--rounds=1", f"--json={out}", f"--models={row['model']}"]
            + [f"--thresholds={row['threshold']}", f"--modes={row['mode']}", f"--text_lengths={row['text_length']}"]
            + [f"--utterances={row['utterances']}"]
            + [f"--override={override}" for override in _OVERRIDES.value],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return json.loads(out.read_text())[0]["process_peak_mb"]


if __name__ == "__main__":
    app.run(main)
