"""Compares ways to train the sparse model with the dense one, on a larger corpus of the generator.

    python -m benchmarks.quality --json=FILE
    python -m benchmarks.quality --json=FILE --rows=dense,self_kd --seeds=0

The corpus has 900 utterances (training 500, validation 150, test 250, by video) of one generator seed. Each row and
seed is a run of `launch.py` with its own run directory. Its figures are stored in FILE as soon as it is finished, and
are not measured again. The same command resumes a stopped run. Without --rows all rows are measured, seed by seed.

Figures of the test split, at the run's attention threshold: F1 and AUC of the fused logits and of each modality's own
(with decision thresholds of their own from the validation split), kept sites per stage, lift, GFLOPs of feature
extraction. Lift is how often kept sites lie where the generator's expressions move the face, or where the speaker
speaks in a mel chunk, relative to as many random sites of the same image. `seconds per step` is the first quartile over
steps at the final threshold, because other load only adds to it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table

from benchmarks import site_controls
from benchmarks.paper_size import SITES, UNTAUGHT
from benchmarks.quality_corpus import lift, make_corpus, moving_region, per_site, voiced_columns
from mme2e_jax.config.schema import SparseOptimConfig
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.attention_maps import utterance_sites
from mme2e_jax.evaluation.inference import InferenceState
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.mme2e import ModelSpec, stage_sizes
from mme2e_jax.models.saliency import teach
from mme2e_jax.models.variables import fusion_weights, initial_variables, structures
from mme2e_jax.runs.load import Run, load_run, make_batch_loader
from mme2e_jax.runtime.files import write_json
from mme2e_jax.weights.dense_weights import sparse_from_dense

_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Training seeds; all use the same corpus.")
_ROWS = flags.DEFINE_list("rows", None, "Rows to measure, by default all.")
_EPOCHS = flags.DEFINE_list("epochs", ["12", "8"], "Epochs of the dense model, and of what starts from it.")
_UTTERANCES = flags.DEFINE_integer("utterances", 900, "Utterances of the corpus.")
_OUT = flags.DEFINE_string("out", "runs/benchmark-quality", "Directory of the corpus and the runs.")
_JSON = flags.DEFINE_string("json", None, "File of the figures.", required=True)
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config override for every run, for example model.width=0.25.")

HEADS = ("fused", "t", "a", "v")
TOWERS = "va"


class Row(NamedTuple):
    """One way to train. Overrides may name {dense}, the run of the dense row, {first} and {more}, numbers of epochs."""

    label: str
    config: str
    overrides: Sequence[str]
    control: str = ""  # "random" or "fixed": sites that do not depend on scores
    shares_of: str = ""  # row whose shares of sites a control keeps


_SALIENCY = ("optim.teacher_saliency=0.1", "optim.score_lr_factor=5.0", "optim.teacher_kd=0.0")
_TAUGHT = (*SITES, "init.teacher={dense}", "optim.dense_epochs=0", *_SALIENCY)
_TAUGHT_KD = (*_TAUGHT, "optim.teacher_kd=0.5", "optim.epochs={more}")
_SELF = (*SITES, "optim.dense_epochs={first}", *_SALIENCY)
_SELF_KD = (*_SELF, "optim.teacher_kd=0.5", "optim.epochs={all}")
_REGIONS = ("model.sparse_region=4",)
_ONCE = (*_REGIONS, "model.sparse_once=True")
_FROM_DENSE = ("init.checkpoint={dense}", *UNTAUGHT, "optim.epochs={more}")
# Taught the logits alone, as a control of where the model looks.
_LOGITS = ("optim.teacher_saliency=0.0", "optim.teacher_kd=0.5", "optim.score_lr_factor=1.0")
_CONTROL = (*SITES, "init.teacher={dense}", "optim.dense_epochs=0", *_LOGITS, "optim.epochs={more}")
# The sparse model with all sites is a dense one: what teaching the logits does by itself.
_ALL_SITES = (*SITES, "init.teacher={dense}", "optim.dense_epochs=0", *_LOGITS, "model.sparse_threshold=1.0")
ROWS = {
    "dense": Row("dense", "mini_dense", ["optim.epochs={first}"]),
    "dense_more": Row("dense, then more epochs", "mini_dense", ["init.checkpoint={dense}", "optim.epochs={more}"]),
    "dense_kd": Row("dense, then taught its own logits", "mini_sparse", [*_ALL_SITES, "optim.epochs={more}"]),
    "scratch": Row("sparse, untaught, from scratch", "mini_sparse", [*UNTAUGHT, "optim.epochs={all}"]),
    "taught": Row("sparse, taught by the dense run", "mini_sparse", [*_TAUGHT, "optim.epochs={more}"]),
    "self": Row("sparse, teaches itself", "mini_sparse", [*_SELF, "optim.epochs={all}"]),
    "self_kd": Row("sparse, teaches itself, logits too", "mini_sparse", _SELF_KD),
    "self_kd_regions": Row("... regions of 4x4 sites", "mini_sparse", [*_SELF_KD, *_REGIONS]),
    "self_kd_once": Row("... regions, selected once (as mini_sparse)", "mini_sparse", [*_SELF_KD, *_ONCE]),
    "self_kd_15": Row("... with exponent 1.5", "mini_sparse", [*_SELF_KD, *_ONCE, "optim.saliency_exponent=1.5"]),
    "untaught": Row("sparse, untaught, from dense weights", "mini_sparse", _FROM_DENSE),
    "random": Row("sparse, random sites, logits taught", "mini_sparse", _CONTROL, "random", "self_kd"),
    "fixed": Row("sparse, one map for all images, logits taught", "mini_sparse", _CONTROL, "fixed", "self_kd"),
    "taught_kd": Row("sparse, taught by the dense run, logits too", "mini_sparse", _TAUGHT_KD),
    "taught_kd_regions": Row("... regions of 4x4 sites", "mini_sparse", [*_TAUGHT_KD, *_REGIONS]),
    "taught_kd_once": Row("... regions, selected once", "mini_sparse", [*_TAUGHT_KD, *_ONCE]),
    "exponent_1": Row("... with exponent 1", "mini_sparse", [*_TAUGHT_KD, *_ONCE, "optim.saliency_exponent=1.0"]),
    "exponent_15": Row("... with exponent 1.5", "mini_sparse", [*_TAUGHT_KD, *_ONCE, "optim.saliency_exponent=1.5"]),
    "exponent_2": Row("... with exponent 2", "mini_sparse", [*_TAUGHT_KD, *_ONCE, "optim.saliency_exponent=2.0"]),
    "fixed_once": Row("... one map for all images", "mini_sparse", [*_CONTROL, *_ONCE], "fixed", "exponent_2"),
    "random_once": Row("... random regions", "mini_sparse", [*_CONTROL, *_ONCE], "random", "exponent_2"),
    "taught_slow": Row(
        "sparse, taught, scores at the rate of the rest",
        "mini_sparse",
        [*_TAUGHT, "optim.score_lr_factor=1.0", "optim.epochs={more}"],
    ),
}


def main(argv: list[str]) -> None:
    """Measures what is missing, and prints the table of all that is measured."""
    del argv
    # Restoring checkpoints logs many lines.
    logging.set_verbosity(logging.WARNING)
    out = Path(_OUT.value)
    measure = Measurements(Path(_JSON.value))
    directory = out / f"corpus-{_UTTERANCES.value}"
    bench = Bench(out, directory, open_dataset(make_corpus(directory, _UTTERANCES.value)))
    unknown = set(_ROWS.value or ()) - ROWS.keys()
    if unknown:
        raise app.UsageError(f"--rows: expected some of {', '.join(ROWS)}, found {', '.join(sorted(unknown))}")
    for seed in _SEEDS.value:
        for name in _ROWS.value or ROWS:
            if measure.find(name, seed) is None:
                measure.add(name, seed, bench.figures(name, seed, measure))
                measure.print()
    measure.print()


class Measurements:
    """The figures of finished runs, in a file."""

    def __init__(self, file: Path):
        self._file = file
        self._found: list[dict] = json.loads(file.read_text()) if file.exists() else []

    def find(self, name: str, seed: str) -> dict | None:
        """The figures of a row and seed."""
        same = {"row": name, "seed": seed, "epochs": _EPOCHS.value, "utterances": _UTTERANCES.value}
        same["overrides"] = _OVERRIDES.value
        return next((f for f in self._found if same.items() <= f.items()), None)

    def add(self, name: str, seed: str, figures: dict) -> None:
        """Stores the figures of a row and seed at once."""
        key = {"row": name, "seed": seed, "epochs": _EPOCHS.value, "utterances": _UTTERANCES.value}
        self._found.append(key | {"overrides": _OVERRIDES.value} | figures)
        write_json(self._file, self._found)

    def print(self) -> None:
        """Prints mean and sample standard deviation over the seeds of each row."""
        table = Table(title="Test split")
        for heading in (
            *("row", "seeds", "F1", "AUC", "AUC t", "AUC a", "AUC v", "sites v", "sites a", "lift v", "lift a"),
            *("AUC, other transcripts guide", "GFLOPs", "seconds per step"),
        ):
            table.add_column(heading, justify="left" if heading == "row" else "right")
        for name, row in ROWS.items():
            found = [f for f in self._found if f["row"] == name and self.find(name, f["seed"]) == f]
            if found:
                table.add_row(row.label, ",".join(f["seed"] for f in found), *_cells(found))
        Console(width=220).print(table)


def _cells(found: Sequence[dict]) -> Iterable[str]:
    def spread(value: Callable[[dict], float]) -> str:
        values = [value(f) for f in found]
        return f"{np.mean(values):.3f}" + (f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else "")

    def stages(key: str, m: str, digits: int) -> str:
        values = [f[key][m] for f in found if f[key]]
        return "/".join(f"{v:.{digits}f}" for v in np.mean(values, axis=0)) if values else ""

    yield spread(lambda f: f["f1"]["fused"])
    yield from (spread(lambda f, head=head: f["auc"][head]) for head in HEADS)
    yield from (stages("shares", m, 2) for m in TOWERS)
    yield from (stages("lift", m, 1) for m in TOWERS)
    yield spread(lambda f: f["auc_other_text"]) if found[0]["shares"] else ""
    yield spread(lambda f: f["gflops"])
    yield spread(lambda f: f["seconds_per_step"])


class Bench:
    """Runs and evaluates rows."""

    def __init__(self, out: Path, directory: Path, dataset: Dataset):
        """Args: out: directory of the runs; directory: of the corpus; dataset: its records."""
        self._out, self._directory, self._dataset = out, directory, dataset
        self._region: np.ndarray | None = None

    def figures(self, name: str, seed: str, measured: Measurements) -> dict:
        """Trains a row with a seed, unless its run is finished, and measures it."""
        row, workdir = ROWS[name], self._workdir(name, seed)
        control: dict[str, np.ndarray] = {}
        if row.control:
            taught = measured.find(row.shares_of, seed)
            if taught is None:
                raise app.UsageError(f"--rows: {name} keeps the shares of the row {row.shares_of}; measure that first")
            control = self._control(row, seed, taught)
        self._train(row, seed, workdir, control)
        if control:
            with site_controls.controlled(control):
                return self._evaluate(load_run(workdir), workdir)
        return self._evaluate(load_run(workdir), workdir)

    def _workdir(self, name: str, seed: str) -> Path:
        return self._out / f"{name}-{'-'.join(_EPOCHS.value)}-{_UTTERANCES.value}-{seed}"

    def _train(self, row: Row, seed: str, workdir: Path, control: Mapping[str, np.ndarray]) -> None:
        if (workdir / "report" / "metrics.json").exists():
            return
        first, more = map(int, _EPOCHS.value)
        values = {"dense": self._workdir("dense", seed), "first": first, "more": more, "all": first + more}
        # A single padded shape: a taught run compiles three training programs for each.
        common = ["data.max_shapes=1", "log.tensorboard=False"]
        overrides = [f"seed={seed}", f"data.dir={self._dataset.directory}", *common, *row.overrides]
        command = [sys.executable, "launch.py"]
        if control:
            workdir.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = dict(control)
            np.savez(workdir / "control.npz", **arrays)
            command = [sys.executable, "-m", "benchmarks.site_controls", str(workdir / "control.npz")]
        command += [f"--config=configs/{row.config}.py", f"--workdir={workdir}"]
        command += [f"--config.{override.format(**values)}" for override in [*overrides, *_OVERRIDES.value]]
        print(f"{workdir} ...", file=sys.stderr)
        root = Path(__file__).absolute().parent.parent
        subprocess.run(command, check=True, cwd=root, stdout=subprocess.DEVNULL, env=os.environ)

    def _control(self, row: Row, seed: str, taught: dict) -> dict[str, np.ndarray]:
        """Random sites, or the teacher's mean saliency over the training split, at the shares of another row."""
        run = load_run(self._workdir(row.shares_of, seed))
        assert isinstance(run.spec, ModelSpec)
        maps = self._mean_saliency(run, seed) if row.control == "fixed" else dict.fromkeys(TOWERS)
        control: dict[str, np.ndarray] = {}
        for m in TOWERS:
            shares, threshold = taught["shares"][m], run.config.site_selection[0]
            control |= site_controls.make_control(shares, stage_sizes(m), threshold, maps[m], run.spec.selection)
        return control

    def _mean_saliency(self, run: Run, seed: str) -> dict[str, list[np.ndarray]]:
        """Per tower and stage, the mean over training images of the targets of the dense run as teacher."""
        dense = load_run(self._workdir("dense", seed)).model.state.variables.arrays()
        start = initial_variables(run.spec, 0)
        teacher = start.with_arrays(start.arrays() | sparse_from_dense(jax.device_get(dense)))
        teacher = model_variables.Variables(structures(run.spec)(1.0), teacher.params, teacher.batch_stats)
        look = jax.jit(teach)
        assert isinstance(run.config.optim, SparseOptimConfig)
        exponent = run.config.optim.saliency_exponent
        total = {m: [np.zeros(size) for size in stage_sizes(m)] for m in TOWERS}
        for batch in make_batch_loader(run.config, self._dataset, run.model.mesh, epochs=1).evaluation("train"):
            saliency = jax.device_get(look(teacher, batch).saliency)
            for m in TOWERS:
                for k, stage in enumerate(saliency[m]):
                    target = stage**exponent
                    mass = target.sum((1, 2), keepdims=True)
                    total[m][k] += (target / np.where(mass > 0, mass, 1)).sum(0)
        return {m: [stage / stage.sum() for stage in stages] for m, stages in total.items()}

    def _evaluate(self, run: Run, workdir: Path) -> dict:
        batches = make_batch_loader(run.config, self._dataset, run.model.mesh, epochs=1)
        names, smoothing = run.model.label_names, run.config.evaluation.threshold_smoothing
        sparse = isinstance(run.spec, ModelSpec) and run.spec.sparse
        look = _looker()
        valid = _logits(run, look, batches.evaluation("valid"))
        test = _logits(run, look, batches.evaluation("test"))
        found: dict[str, Any] = {"f1": {}, "auc": {}, "shares": {}, "lift": {}}
        for head in HEADS:
            thresholds = metrics.best_thresholds(valid.scores(head), valid.labels, names, smoothing)
            mean = metrics.compute(test.scores(head), test.labels, names, thresholds).mean
            found["f1"][head], found["auc"][head] = mean["f1"], mean["auc"]
        if sparse:
            other = _logits(run, look, batches.evaluation("test"), other_text=True)
            weights = fusion_weights(run.spec, run.model.state.variables)
            # Transcripts of others guide the attention only: text's own logits are the right ones.
            logits = weights["t"] * test.logits["t"] + sum(weights[m] * other.logits[m] for m in TOWERS)
            score = tasks.scores(logits, run.model.loss)
            found["auc_other_text"] = metrics.compute(score, test.labels, names, dict.fromkeys(names, 0.5)).mean["auc"]
            found["shares"], found["lift"] = self._sites(run, look, batches)
        lines = [json.loads(line)["seconds"]["step"] for line in (workdir / "steps.jsonl").read_text().splitlines()]
        found["seconds_per_step"] = float(np.quantile(lines[len(lines) * 3 // 4 :], 0.25))
        cost = json.loads((workdir / "report" / "metrics.json").read_text())["test"]["cost"]
        return found | {"gflops": cost["extraction_gflops"], "dense_gflops": cost["dense_extraction_gflops"]}

    def _sites(self, run: Run, look: Callable, batches: Any) -> tuple[dict, dict]:
        """Share and lift of the kept sites of the test split, per tower and stage."""
        if self._region is None:
            crops: dict[str, np.ndarray] = {}
            ids = self._dataset.split("train").ids
            for batch in batches.evaluation("train"):
                for g, b in np.argwhere(batch.example >= 0):
                    if batch.frame_count[g, b]:
                        crops[ids[batch.example[g, b]]] = _part(batch.faces, batch.frame_count, g, b)
            self._region = moving_region(self._directory, crops)
        sizes = {m: stage_sizes(m) for m in TOWERS}
        kept: dict[str, list[list[np.ndarray]]] = {m: [[], [], []] for m in TOWERS}
        voiced: list[list[np.ndarray]] = [[], [], []]
        for batch in batches.evaluation("test"):
            found = jax.device_get(look(run.model.state, batch))[1]
            for g, b in np.argwhere(batch.example >= 0):
                for m, counts in (("v", batch.frame_count), ("a", batch.chunk_count)):
                    for k, stage in enumerate(found[m]):
                        kept[m][k].append(utterance_sites(stage, counts, g, b))
                if batch.chunk_count[g, b]:
                    columns = voiced_columns(_part(batch.mel, batch.chunk_count, g, b))
                    for k, (h, w) in enumerate(sizes["a"]):
                        marked = np.repeat(columns[:, None], batch.mel.shape[2], axis=1)
                        voiced[k].append(per_site(marked, h, w))
        joined = {m: [np.concatenate(stage) for stage in stages] for m, stages in kept.items()}
        shares = {m: [float(stage.mean()) for stage in stages] for m, stages in joined.items()}
        faces = [lift(stage, per_site(self._region, *sizes["v"][k])) for k, stage in enumerate(joined["v"])]
        mel = [lift(stage, np.concatenate(voiced[k])) for k, stage in enumerate(joined["a"])]
        return shares, {"v": faces, "a": mel}


def _part(images: np.ndarray, count: np.ndarray, g: int, b: int) -> np.ndarray:
    """The images of one utterance."""
    start = int(count[g, :b].sum())
    return images[g, start : start + int(count[g, b])]


def _looker() -> Callable:
    """A jitted function to the logits and the kept sites; a new one for each run, because controls replace parts."""

    def look(state: InferenceState, batch):
        outputs, _ = model_variables.apply(state.variables, batch, train=False, threshold=state.threshold, seed=None)
        kept = {m: [stage.kept for stage in stages] for m, stages in outputs.stages.items()}
        return {"fused": outputs.logits} | outputs.by_modality, kept

    return jax.jit(look)


class _Predicted(NamedTuple):
    logits: dict[str, np.ndarray]  # [n, l], in the order of the split
    labels: np.ndarray
    loss: str

    def scores(self, head: str) -> np.ndarray:
        return tasks.scores(self.logits[head], self.loss)


def _logits(run: Run, look: Callable, batches: Iterable[Any], *, other_text: bool = False) -> _Predicted:
    """Logits of a split; with `other_text` each utterance has the transcript of another one of its batch."""
    parts: list[tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]] = []
    for batch in batches:
        real = batch.example.reshape(-1) >= 0
        given = batch
        if other_text:
            # Real rows come first in their group.
            turn = [np.roll(np.arange(n), 1) for n in (batch.example >= 0).sum(1)]
            order = np.stack([np.r_[t, len(t) : batch.example.shape[1]] for t in turn])
            ids = np.take_along_axis(batch.token_ids, order[..., None], 1)
            given = batch._replace(token_ids=ids, token_count=np.take_along_axis(batch.token_count, order, 1))
        found = jax.device_get(look(run.model.state, given)[0])
        logits = {head: found[head].reshape(len(real), -1)[real] for head in HEADS}
        parts.append((logits, batch.labels.reshape(len(real), -1)[real], batch.example.reshape(-1)[real]))
    order = np.argsort(np.concatenate([example for _, _, example in parts]))
    logits = {head: np.concatenate([part[0][head] for part in parts])[order] for head in HEADS}
    return _Predicted(logits, np.concatenate([labels for _, labels, _ in parts])[order], run.model.loss)


if __name__ == "__main__":
    app.run(main)
