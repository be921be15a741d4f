"""Compares ways to train the sparse attention, on the embedded corpus.

    python -m benchmarks.attention --seeds=0,1,2 --json=FILE

Variants: the paper's (scores select and keep their random initial weights), with annealing, and with the features of
kept sites multiplied by their attention, without and with a penalty on spread attention. Prints test F1 and AUC of the
fused logits and of each modality's own logits, and the share of active sites per stage, as mean and standard deviation
over seeds. Each run is a process of `launch.py`; finished runs are not repeated.
"""

import json
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from benchmarks.paper_size import UNTAUGHT
from mme2e_jax.commands.subprocess_run import finished_run
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.inference import InferenceState
from mme2e_jax.models import variables
from mme2e_jax.runs.load import Run, load_run, make_batch_loader

_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Training seeds; all use the same corpus.")
_THRESHOLDS = flags.DEFINE_list("thresholds", ["0.5", "0.3"], "Final attention thresholds.")
_OUT = flags.DEFINE_string("out", "runs/benchmark-attention", "Parent directory of the runs.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config override for every run, for example optim.epochs=3.")

VARIANTS = {
    "none": ["model.sparse_anneal=0.0"],
    "none, annealed": ["model.sparse_anneal=0.5"],
    "renormalized, annealed": ["model.sparse_anneal=0.5", "model.attention_grad=renormalized"],
    "renormalized, annealed, entropy 0.1": [
        "model.sparse_anneal=0.5",
        "model.attention_grad=renormalized",
        "model.attention_entropy=0.1",
    ],
}
HEADS = ("fused", "t", "a", "v")


def main(argv: list[str]) -> None:
    """Runs the missing variants and prints the table."""
    del argv
    # Restoring checkpoints logs many lines.
    logging.set_verbosity(logging.WARNING)
    rows = [_row(variant, threshold) for threshold in _THRESHOLDS.value for variant in VARIANTS]
    table = Table(title=f"Embedded corpus, test split, seeds {', '.join(_SEEDS.value)}")
    for heading in ("threshold", "variant", *(f"F1 {h}" for h in HEADS), *(f"AUC {h}" for h in HEADS), "active v, a"):
        table.add_column(heading)
    for row in rows:
        scores = [_spread(row[kind][head]) for kind in ("f1", "auc") for head in HEADS]
        active = " ".join("/".join(f"{np.mean(stage):.2f}" for stage in row["active"][m]) for m in "va")
        table.add_row(str(row["threshold"]), row["variant"], *scores, active)
    Console(width=180).print(table)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f}±{np.std(values):.3f}"


def _row(variant: str, threshold: str) -> dict:
    found = []
    for seed in _SEEDS.value:
        workdir = Path(_OUT.value) / f"{variant.replace(', ', '-').replace(' ', '-')}-{threshold}-{seed}"
        overrides = [f"seed={seed}", f"model.sparse_threshold={threshold}", *UNTAUGHT, *VARIANTS[variant]]
        overrides += _OVERRIDES.value
        finished_run(workdir, "configs/mini_sparse.py", overrides)
        found.append(_heads(load_run(workdir)))
    return {
        "threshold": float(threshold),
        "variant": variant,
        "f1": {head: [f["f1"][head] for f in found] for head in HEADS},
        "auc": {head: [f["auc"][head] for f in found] for head in HEADS},
        # Per modality and stage, a value per seed.
        "active": {m: np.transpose([f["active"][m] for f in found]).tolist() for m in "va"},
    }


@jax.jit
def _look(params: InferenceState, batch):
    outputs, _ = variables.apply(params.variables, batch, train=False, threshold=params.threshold, seed=None)
    sites = {m: [(s.active, s.total) for s in stages] for m, stages in outputs.stages.items()}
    return {"fused": outputs.logits} | outputs.by_modality, sites


def _heads(run: Run) -> dict:
    """Scores of the fused and of each modality's own logits, each with its own thresholds; shares of active sites."""
    batches = make_batch_loader(run.config, open_dataset(run.config.data.dir), run.model.mesh, epochs=0)
    names, smoothing = run.model.label_names, run.config.evaluation.threshold_smoothing
    splits = {split: _predictions(run, batches.evaluation(split)) for split in ("valid", "test")}
    result: dict = {"f1": {}, "auc": {}, "active": splits["test"][2]}
    for head in HEADS:
        scores, truth, _ = splits["valid"]
        thresholds = metrics.best_thresholds(scores[head], truth, names, smoothing)
        scores, truth, _ = splits["test"]
        mean = metrics.compute(scores[head], truth, names, thresholds).mean
        result["f1"][head], result["auc"][head] = mean["f1"], mean["auc"]
    return result


def _predictions(run: Run, batches):
    logits, labels, sites = {head: [] for head in HEADS}, [], {m: np.zeros((3, 2)) for m in "va"}
    for batch in batches:
        found, counts = jax.device_get(_look(run.model.state, run.model.mesh.put_batch(batch)))
        real = batch.example.reshape(-1) >= 0
        for head in HEADS:
            logits[head].append(found[head].reshape(len(real), -1)[real])
        labels.append(batch.labels.reshape(len(real), -1)[real])
        for m in "va":
            sites[m] += np.array(counts[m])
    scores = {head: tasks.scores(np.concatenate(parts), run.model.loss) for head, parts in logits.items()}
    return scores, np.concatenate(labels), {m: (v[:, 0] / v[:, 1]).tolist() for m, v in sites.items()}


if __name__ == "__main__":
    app.run(main)
