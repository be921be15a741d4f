"""Scores the models and single modalities on the embedded corpus.

    python -m benchmarks.mini --seeds=0,1,2 --json=FILE

Each run is a process of `launch.py` with its own run directory; finished runs are not repeated. Prints test F1 and AUC
(mean and standard deviation over seeds) of each variant, the F1 of the all-positive baseline, and the seconds per run.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

from mme2e_jax.commands.subprocess_run import finished_run

_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Training seeds; all use the same corpus.")
_OUT = flags.DEFINE_string("out", "runs/benchmark-mini", "Parent directory of the runs.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config override for every run, for example optim.epochs=3.")

VARIANTS = {
    "dense, fused": ("mini_dense", "tav"),
    "sparse, fused": ("mini_sparse", "tav"),
    "dense, text alone": ("mini_dense", "t"),
    "dense, audio alone": ("mini_dense", "a"),
    "dense, video alone": ("mini_dense", "v"),
    "LF-LSTM, fused": ("lf_rnn", "tav"),
    "LF-TRANS, fused": ("lf_transformer", "tav"),
}


def main(argv: list[str]) -> None:
    """Runs the missing variants and prints the table."""
    del argv
    rows = [_row(name, *variant) for name, variant in VARIANTS.items()]
    table = Table(title=f"Embedded corpus, test split, seeds {', '.join(_SEEDS.value)}")
    for heading in ("variant", "F1", "AUC", "all-positive F1", "seconds"):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for row in rows:
        table.add_row(
            row["variant"],
            f"{np.mean(row['f1']):.3f} ± {np.std(row['f1']):.3f}",
            f"{np.mean(row['auc']):.3f} ± {np.std(row['auc']):.3f}",
            f"{row['always_f1']:.3f}",
            f"{np.mean(row['seconds']):.0f}",
        )
    Console().print(table)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


def _row(name: str, config: str, modalities: str) -> dict:
    reports = [
        finished_run(
            Path(_OUT.value) / f"{config}-{modalities}-{seed}",
            f"configs/{config}.py",
            [f"seed={seed}", f"model.modalities={modalities}", *_OVERRIDES.value],
        )
        for seed in _SEEDS.value
    ]
    return {
        "variant": name,
        "f1": [r["test"]["mean"]["f1"] for r in reports],
        "auc": [r["test"]["mean"]["auc"] for r in reports],
        "always_f1": reports[0]["test"]["always_f1"],
        "seconds": [r["seconds"] for r in reports],
    }


if __name__ == "__main__":
    app.run(main)
