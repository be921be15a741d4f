"""Compares our models with the paper's dense model in PyTorch, in turns in one process.

    pip install -r requirements.txt -r requirements-rivals.txt
    python -m benchmarks.rivals --rounds=5 --json=FILE
    python -m benchmarks.rivals --device=cuda --utterances=64

Paper-size models on utterances of CMU-MOSEI's mean length (14 frames, 18 mel chunks), without padding, in float32 (on a
GPU with TF32). A training step of PyTorch is forward, backward and fused Adam, with dropout and weighted loss as in
the paper's recipe. It is measured with the image layouts NCHW, as in the published code, and NHWC (channels last);
ratios are to the faster of the two. Our sparse model keeps the shares of sites in `SHARES`, which attention keeps that
a teacher has trained, but at random sites; `taught` is a step with a teacher's lesson. In its turn, a model runs twice,
and the second run counts, as a model in training has its memory. Figures are medians over rounds;
ratios are medians of the rounds' ratios. Each number of threads is measured in a process of its own that may use as
many cores (Linux).
"""

# PyTorch is optional.
# pyright: reportMissingImports=false

import itertools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from absl import app, flags, logging
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks import paper_size
from benchmarks.torch_model import TorchMME2E
from benchmarks.trainee import Trainee
from mme2e_jax.batch import Batch
from mme2e_jax.runtime.huge_pages import use_huge_pages

SHARES = {"v": (0.2, 0.1, 0.1), "a": (0.2, 0.1, 0.1)}
THRESHOLD = 0.5
OURS = ("dense", "sparse", "taught")
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
TEXT_LR_FACTOR = 10


class Case(NamedTuple):
    """What the models of a row of the table compute."""

    threads: int
    mode: str  # "train" or "eval"
    tokens: int
    utterances: int


def main(argv: list[str]) -> None:
    """Measures and prints the table."""
    del argv
    use_huge_pages()  # as launch.py does
    values = flags.FLAGS
    rows = []
    for threads, mode, tokens, utterances in itertools.product(
        values.threads, values.modes, values.tokens, values.utterances
    ):
        case = Case(int(threads), str(mode), int(tokens), int(utterances))
        print(f"{case} ...", file=sys.stderr)
        # JAX and PyTorch size their thread pools once in a process.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _limit, (case.threads,)) as process:
            rows.append(process.submit(measure, case, values.device, values.rounds, values.models).result())
        _print(rows)
        if values.json:
            Path(values.json).write_text(json.dumps(rows, indent=2) + "\n")


def _limit(threads: int) -> None:
    logging.set_verbosity(logging.WARNING)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def measure(case: Case, device: str, rounds: int, models: Sequence[str]) -> dict[str, Any]:
    """Seconds of each model in a case, and ratios to the faster layout of PyTorch.

    Args:
      case: what is computed.
      device: PyTorch's device, "cpu" or "cuda"; JAX uses its default one.
      rounds: timed runs of every model, each after one that is not timed.
      models: those of `OURS` to measure.
    """
    runs: dict[str, Callable[[], Any]] = {}
    for name in models:
        if case.mode == "eval" and name == "taught":
            continue
        shares = None if name == "dense" else SHARES
        trainee = Trainee(name, 1.0 if name == "dense" else THRESHOLD, utterances=case.utterances, shares=shares)
        runs[name] = trainee.program(case.mode, case.tokens).run
        if name == "dense":
            spec = trainee.spec
    batch = paper_size.batch(case.tokens, case.utterances)
    for layout in LAYOUTS:
        runs[f"PyTorch {layout}"] = torch_step(TorchMME2E(spec), batch, case.mode, device, layout)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()  # takes back the memory that the model before it has freed, which is slow
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    rival = np.min([seconds[f"PyTorch {layout}"] for layout in LAYOUTS], axis=0)
    dense = np.array(seconds["dense"])
    return {
        **case._asdict(),
        "device": device,
        "rounds": rounds,
        "seconds": {name: float(np.median(taken)) for name, taken in seconds.items()},
        "to_pytorch": {name: float(np.median(taken / rival)) for name, taken in seconds.items() if name in OURS},
        "to_dense": {name: float(np.median(taken / dense)) for name, taken in seconds.items() if name in OURS},
    }


def torch_step(model: TorchMME2E, batch: Batch, mode: str, device: str, layout: str) -> Callable[[], Any]:
    """A training or evaluation step of the PyTorch model on a batch of one group, as a function that waits for it.

    Args:
      model: model, moved to the device here.
      batch: batch without padding rows.
      mode: "train" or "eval".
      device: "cpu" or "cuda".
      layout: one of `LAYOUTS`.
    """
    torch.set_float32_matmul_precision("high")
    module: Any = model  # PyTorch's types lack this argument
    module.to(device).to(memory_format=LAYOUTS[layout])
    arguments = torch_inputs(batch, device, layout)
    # As many positives as negatives weigh.
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.full(batch.labels.shape[-1:], 3.0, device=device))
    labels = torch.from_numpy(batch.labels[0]).to(device)
    text, rest = [], []
    for name, parameter in model.named_parameters():
        (text if name.startswith(("T.", "t_out.")) else rest).append(parameter)
    lr = 5e-5
    optimizer = torch.optim.Adam([{"params": text, "lr": lr / TEXT_LR_FACTOR}, {"params": rest}], lr=lr, fused=True)

    def train() -> float:
        optimizer.zero_grad()
        found = loss(model(*arguments), labels)
        found.backward()
        optimizer.step()
        return found.item()

    def evaluate() -> Tensor:
        with torch.inference_mode():
            return model(*arguments).cpu()

    model.train(mode == "train")
    return train if mode == "train" else evaluate


def torch_inputs(batch: Batch, device: str, layout: str) -> tuple[Any, ...]:
    """The arguments of `TorchMME2E` for a batch of one group without padding rows."""

    def images(x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(device).contiguous(memory_format=LAYOUTS[layout])

    tokens = np.arange(batch.token_ids.shape[-1])[None] < batch.token_count[0][:, None]
    return (
        torch.from_numpy(batch.token_ids[0].astype(np.int64)).to(device),
        torch.from_numpy(tokens.astype(np.int64)).to(device),
        images(batch.faces[0].transpose(0, 3, 1, 2)),
        batch.frame_count[0].tolist(),
        images(batch.mel[0][:, None]),
        batch.chunk_count[0].tolist(),
    )


def _print(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title=f"Seconds of a step, medians of {rows[0]['rounds']} rounds; ratios to the faster PyTorch")
    names = [*OURS, *(f"PyTorch {layout}" for layout in LAYOUTS)]
    for heading in (*Case._fields, *names, *(f"{name} / PyTorch" for name in OURS), "sparse / dense"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            *(str(row[field]) for field in Case._fields),
            *(f"{row['seconds'][name]:.3f}" if name in row["seconds"] else "" for name in names),
            *(f"{row['to_pytorch'][name]:.2f}" if name in row["to_pytorch"] else "" for name in OURS),
            f"{row['to_dense']['sparse']:.2f}" if "sparse" in row["to_dense"] else "",
        )
    Console(width=170).print(table)


if __name__ == "__main__":
    flags.DEFINE_list("threads", ["1", "2"], "Numbers of threads.")
    flags.DEFINE_list("modes", ["train", "eval"], "Modes: train, eval.")
    flags.DEFINE_list("tokens", ["24", "100"], "Tokens per utterance.")
    flags.DEFINE_list("utterances", ["1", "8"], "Utterances in a batch.")
    flags.DEFINE_list("models", ["dense", "sparse", "taught"], "Our models; dense is always needed.")
    flags.DEFINE_integer("rounds", 5, "Timed runs of every model.", lower_bound=1)
    flags.DEFINE_enum("device", "cpu", ["cpu", "cuda"], "PyTorch's device; JAX uses its default one.")
    flags.DEFINE_string("json", None, "Also write the rows to this file.")
    flags.register_validator(
        "models", lambda v: "dense" in v and set(v) <= set(OURS), f"Expected dense, and some of {OURS}."
    )
    app.run(main)
