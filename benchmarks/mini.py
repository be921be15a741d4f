"""What the models reach on the embedded corpus: seeds, models, single modalities.

    python -m benchmarks.mini --seeds=0,1,2 --json=FILE

Each run is a `launch.py` of its own with its own directory; a run that is there already is not repeated. Prints test
F1 and AUC (mean and spread over seeds) per variant, beside saying every emotion always, and the seconds of the command.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

from mme2e_jax.commands.subprocess_run import finished_run

_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of training; the corpus is the same for all.")
_OUT = flags.DEFINE_string("out", "runs/benchmark-mini", "Where the runs go.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config overrides for every run, as in optim.epochs=3.")

VARIANTS = {
    "dense, fused": ("mini_dense", "tav"),
    "sparse, fused": ("mini_sparse", "tav"),
    "dense, text alone": ("mini_dense", "t"),
    "dense, audio alone": ("mini_dense", "a"),
    "dense, video alone": ("mini_dense", "v"),
    "LF-LSTM, fused": ("mini_lf_rnn", "tav"),
    "LF-TRANS, fused": ("mini_lf_transformer", "tav"),
}


def main(argv: list[str]) -> None:
    """Runs what is missing and prints the table."""
    del argv
    rows = [_row(name, *variant) for name, variant in VARIANTS.items()]
    table = Table(title=f"Embedded corpus, test split, seeds {', '.join(_SEEDS.value)}")
    for heading in ("variant", "F1", "AUC", "always F1", "seconds"):
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
