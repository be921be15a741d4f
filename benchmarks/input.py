"""Measures the speed of the input pipeline and the padding of its batches.

    python -m benchmarks.input --json=FILE

Writes records of random content with lengths like those of CMU-MOSEI's utterances (frames are lognormal with mean 14).
Runs the pipeline over them: shuffled, read by index, packed. In turns with it, a baseline parses the same examples from
a TFRecord file into bytes and does nothing else, and the library of the records reads them by index and does nothing
else. Timing starts with the second batch, because a run traces only once. Then one process, and two at the same time,
run the pipeline on a core each. Padding is computed from the plan of an epoch, without records, and weighted by the
costs of token, frame and chunk.
"""

import functools
import itertools
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags
from array_record.python.array_record_data_source import ArrayRecordDataSource
from rich.console import Console
from rich.table import Table

from data_tools.records.records import write_dataset
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, LABEL_NAMES, MEL_BANDS
from mme2e_jax.data import plan
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import Dataset, Split, open_dataset
from mme2e_jax.data.description import Files
from mme2e_jax.data.plan import Lengths
from mme2e_jax.media.face_choice import TRACKED
from mme2e_jax.runtime.huge_pages import use_huge_pages

_UTTERANCES = flags.DEFINE_integer("utterances", 600, "Records to write.", lower_bound=64)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Utterances per batch, for one device.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Epochs per reader.", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "Also write the figures to this file.")

VOCABULARY = 30_000
TEXT_MAX_LEN, MAX_SHAPES = 100, 7  # as in the configs of CMU-MOSEI
PLANNED = {"train": 16_326, "valid": 1871, "test": 4659}  # utterances of CMU-MOSEI
BATCH_SIZES, DEVICES = (8, 32, 128), (1, 4, 8)
METADATA: dict[str, Any] = {
    "dataset": "mosei",
    "label_names": list(LABEL_NAMES["mosei"]),
    "frame_interval_ms": 500,
    "face_size": FACE_SIZE,
    "face_choice": TRACKED,
    "sample_rate": 16000,
    "mel": {},
    "tokenizer": {"name": "made", "vocab_size": VOCABULARY, "sep_id": 3},
}


def main(argv: list[str]) -> None:
    """Measures and prints the tables."""
    del argv
    use_huge_pages()  # as launch.py does
    tf.config.set_visible_devices([], "GPU")
    with tempfile.TemporaryDirectory() as directory:
        speed = _speed(Path(directory))
    padding = [_padding(batch_size, devices) for batch_size in BATCH_SIZES for devices in DEVICES]
    console = Console()
    console.print(
        f"Batches of {_BATCH_SIZE.value}, median of {_ROUNDS.value}: pipeline {speed['pipeline']:.0f} utterances/s, "
        f"bare TFRecord parse {speed['tfrecord']:.0f}, ratio {speed['ratio']:.2f}; reading alone {speed['read']:.0f}. "
        f"First batch after {speed['first_batch_seconds']:.2f} s."
    )
    for processes, rate in speed["processes"].items():
        console.print(f"Processes with a core each: {processes}. Together {rate:.0f} utterances/s.")
    table = Table(title="Padding, share of the batch")
    for heading in ("batch", "devices", "tokens", "frames", "chunks", "all by cost", "shapes"):
        table.add_column(heading, justify="right")
    for row in padding:
        shares = [f"{row[name]:.1%}" for name in ("tokens", "frames", "chunks", "cost")]
        table.add_row(str(row["batch_size"]), str(row["devices"]), *shares, str(row["shapes"]))
    console.print(table)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps({"speed": speed, "padding": padding}, indent=2) + "\n")


def _lengths(rng: np.random.Generator, utterances: int) -> Lengths:
    """Lengths like those of CMU-MOSEI: 7 s on average; two frames, 2.5 chunks and 3.5 tokens per second."""
    sigma = 0.6
    seconds = rng.lognormal(np.log(7.0) - sigma**2 / 2, sigma, utterances).clip(0.5, 60.0)
    tokens = 2 + rng.poisson(3.3 * seconds)
    return Lengths(tokens, np.ceil(2 * seconds).astype(np.int64), np.ceil(2.5 * seconds).astype(np.int64))


def _examples(split: str, utterances: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng([utterances, *split.encode()])
    for index, (tokens, frames, chunks) in enumerate(zip(*_lengths(rng, utterances), strict=True)):
        yield {
            "utterance_id": f"{split}_{index}",
            "dialogue_id": split,
            "speaker": split,
            "transcript": "made up",
            "token_ids": rng.integers(5, VOCABULARY, tokens, dtype=np.int32),
            "faces": rng.integers(0, 256, (frames, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8),
            "face_found": np.ones(frames, bool),
            "frame_ms": np.arange(frames, dtype=np.float32) * 500,
            "mel": rng.random((chunks, MEL_BANDS, CHUNK_FRAMES), np.float32),
            "label": (rng.random(len(LABEL_NAMES["mosei"])) < 0.25).astype(np.float32),
        }


def _speed(directory: Path) -> dict[str, Any]:
    sizes = {"train": _UTTERANCES.value, "valid": _BATCH_SIZE.value, "test": _BATCH_SIZE.value}
    write_dataset(
        directory / "records",
        name="mosei",
        splits={split: _examples(split, n) for split, n in sizes.items()},
        metadata=METADATA,
        examples_per_shard=150,
    )
    dataset = open_dataset(directory / "records")
    flat = directory / "train.tfrecord"
    source = ArrayRecordDataSource([str(path) for path in dataset.split("train").files.paths])
    with tf.io.TFRecordWriter(str(flat)) as writer:
        for index in range(len(source)):
            writer.write(source[index])
    batches = _input(dataset, _BATCH_SIZE.value, 1, _ROUNDS.value)
    rates: dict[str, list[float]] = {"pipeline": [], "tfrecord": [], "read": []}
    first = []
    for epoch in range(_ROUNDS.value):
        start = time.perf_counter()
        training = batches.training(epoch * batches.steps_per_epoch)
        rate, first_seconds = _rate(itertools.islice(training, batches.steps_per_epoch), start)
        rates["pipeline"].append(rate)
        first.append(first_seconds)
        rates["tfrecord"].append(_rate(_bare(flat), time.perf_counter())[0])
        chosen = [batches.planned(step).examples for step in range(batches.steps_per_epoch)]
        reads = (source.__getitems__(examples[examples >= 0].tolist()) for examples in chosen)
        rates["read"].append(_rate(reads, time.perf_counter())[0])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return {
        "utterances": _UTTERANCES.value,
        "batch_size": _BATCH_SIZE.value,
        **{name: float(np.median(values)) for name, values in rates.items()},
        "ratio": float(np.median(np.divide(rates["pipeline"], rates["tfrecord"]))),
        "first_batch_seconds": float(np.median(first)),
        "processes": {n: _together(directory / "records", cores[:n]) for n in (1, 2) if n <= len(cores)},
    }


def _together(records: Path, cores: Sequence[int]) -> float:
    """Utterances per second of processes that run the pipeline at the same time, one on each core."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(cores))
    with ProcessPoolExecutor(len(cores), context, _set_barrier, (start,)) as pool:
        work = functools.partial(_on_core, records, _BATCH_SIZE.value, _ROUNDS.value)
        return sum(pool.map(work, cores))


# Of a process of `_together`: the processes start at the same time.
_start: Any = None


def _set_barrier(start: Any) -> None:
    global _start
    _start = start


def _on_core(records: Path, batch_size: int, rounds: int, core: int) -> float:
    os.sched_setaffinity(0, {core})
    tf.config.set_visible_devices([], "GPU")
    batches = _input(open_dataset(records), batch_size, 1, rounds)
    next(batches.training(0))  # traces
    _start.wait()
    begin = time.perf_counter()
    for _ in batches.training(0):
        pass
    return rounds * len(batches.dataset.split("train")) / (time.perf_counter() - begin)


def _input(dataset: Dataset, batch_size: int, devices: int, epochs: int) -> BatchLoader:
    return BatchLoader(
        dataset,
        batch_size=batch_size,
        text_max_len=TEXT_MAX_LEN,
        seed=0,
        epochs=epochs,
        max_shapes=MAX_SHAPES,
        groups=devices,
    )


def _bare(path: Path) -> Iterator[Any]:
    names = ("utterance_id", "token_ids", "faces", "mel", "label")
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in names}
    records: Any = tf.data.TFRecordDataset(str(path)).batch(_BATCH_SIZE.value)
    return iter(records.map(lambda raw: tf.io.parse_example(raw, spec)).prefetch(2))


def _rate(batches: Iterator[Any], start: float) -> tuple[float, float]:
    """Utterances per second after the first batch, and seconds until the first batch."""
    next(batches)
    first = time.perf_counter()
    count = sum(1 for _ in batches)
    # The last batch of an epoch may be smaller.
    utterances = _UTTERANCES.value - _BATCH_SIZE.value
    assert count == -(-utterances // _BATCH_SIZE.value)
    return utterances / (time.perf_counter() - first), first - start


def _padding(batch_size: int, devices: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    none, positives = Files((), ()), np.ones(len(LABEL_NAMES["mosei"]))
    splits = {s: Split(s, none, (), _lengths(rng, n), positives) for s, n in PLANNED.items()}
    dataset = Dataset(
        directory=Path(),
        name="mosei",
        kind="media",
        label_names=LABEL_NAMES["mosei"],
        tokenizer=METADATA["tokenizer"],
        feature_sizes=(),
        preprocessing={},
        splits=splits,
    )
    batches = _input(dataset, batch_size, devices, epochs=1)
    steps = [batches.planned(step) for step in range(batches.steps_per_epoch)]
    apart = np.array([batch_size, devices, devices])  # rows of a shape's tokens, frames and chunks in a batch
    padded = np.sum([np.array(step.shape) * apart for step in steps], axis=0)
    lengths = dataset.split("train").lengths
    seen = lengths._replace(tokens=np.minimum(lengths.tokens, batches.text_max_len))
    real = np.array([values.sum() for values in seen])
    weights = np.array(plan.MEDIA.cost)
    return {
        "batch_size": batch_size,
        "devices": devices,
        **dict(zip(Lengths._fields, (1 - real / padded).tolist(), strict=True)),
        "cost": float(1 - real @ weights / (padded @ weights)),
        "shapes": len({step.shape for step in steps}),
    }


if __name__ == "__main__":
    app.run(main)
