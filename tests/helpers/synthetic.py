"""Tiny made-up records, for tests of what reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.records.records import feature_schema, write_dataset
from mme2e_jax.config.schema import END_TO_END_MODELS
from mme2e_jax.constants import LABEL_NAMES

SEP = 3
VOCABULARY = 100
# Lengths (tokens, frames, chunks) that tests rely on, by place in every split; the others are drawn.
ODD_LENGTHS = {0: (5, 0, 4), 1: (9, 3, 0), 2: (3, 0, 0), 3: (40, 2, 3), 4: (16, 1, 1)}
SIZES = {"train": 20, "valid": 9, "test": 7}
# Feature records may lack words too.
ODD_FEATURE_LENGTHS = ODD_LENGTHS | {5: (0, 2, 2)}
FEATURE_SIZES = (300, 144, 35)  # of text, audio and video

METADATA: dict[str, Any] = {
    "dataset": "mini",
    "label_names": list(LABEL_NAMES["mini"]),
    "frame_interval_ms": 500,
    "face_size": 48,
    "face_choice": "most_probable",
    "sample_rate": 16000,
    "mel": {"n_fft": 400},
    "tokenizer": {"name": "made", "sha256": "0", "vocab_size": VOCABULARY, "pad_id": 0, "cls_id": 2, "sep_id": SEP},
}


FEATURE_METADATA: dict[str, Any] = {
    "dataset": "mini",
    "label_names": list(LABEL_NAMES["mini"]),
    "features": {"text": "made", "audio": "made", "video": "made"},
}


def make_example(split: str, index: int) -> dict[str, Any]:
    """An utterance whose content no other has."""
    rng = np.random.default_rng([index, *split.encode()])
    drawn = (int(rng.integers(3, 41)), int(rng.integers(1, 6)), int(rng.integers(1, 7)))
    tokens, frames, chunks = ODD_LENGTHS.get(index, drawn)
    return {
        "utterance_id": f"{split}_{index}",
        "dialogue_id": split,
        "speaker": split,
        "transcript": "made up",
        "token_ids": np.array([2, *rng.integers(5, VOCABULARY, tokens - 2), SEP], np.int32),
        "faces": rng.integers(0, 256, (frames, 48, 48, 3), dtype=np.uint8),
        "face_found": np.ones(frames, bool),
        "frame_ms": np.arange(frames, dtype=np.float32) * 500,
        "mel": rng.random((chunks, 128, 32), dtype=np.float32),
        # Every emotion occurs in every split, and no emotion always.
        "label": (np.arange(6) == index % 6).astype(np.float32),
    }


def make_records(directory: Path, sizes: Mapping[str, int] = SIZES, **metadata: Any) -> Path:
    """Writes records of splits of the given sizes; `metadata` replaces entries of METADATA."""
    write_dataset(
        directory,
        name="mini",
        splits={split: [make_example(split, i) for i in range(n)] for split, n in sizes.items()},
        metadata=METADATA | metadata,
        examples_per_shard=8,
    )
    return directory


def make_feature_example(split: str, index: int, feature_sizes: Sequence[int] = FEATURE_SIZES) -> dict[str, Any]:
    """An utterance of hand-crafted features whose content no other has."""
    rng = np.random.default_rng([index, *split.encode(), 1])
    drawn = (int(rng.integers(1, 41)), int(rng.integers(1, 6)), int(rng.integers(1, 7)))
    words, frames, chunks = ODD_FEATURE_LENGTHS.get(index, drawn)
    text, audio, video = feature_sizes
    return {
        "utterance_id": f"{split}_{index}",
        "dialogue_id": split,
        "speaker": split,
        "transcript": "made up",
        "text": rng.standard_normal((words, text), np.float32),
        "audio": rng.standard_normal((chunks, audio), np.float32),
        "video": rng.standard_normal((frames, video), np.float32),
        "label": (np.arange(6) == index % 6).astype(np.float32),
    }


def make_feature_records(
    directory: Path, sizes: Mapping[str, int] = SIZES, feature_sizes: Sequence[int] = FEATURE_SIZES
) -> Path:
    """Writes feature records of splits of the given sizes."""
    write_dataset(
        directory,
        name="mini",
        splits={split: [make_feature_example(split, i, feature_sizes) for i in range(n)] for split, n in sizes.items()},
        metadata=FEATURE_METADATA,
        schema=feature_schema(feature_sizes),
        examples_per_shard=8,
    )
    return directory


def shrink(config: Any, records: Path) -> Any:
    """Changes a config so that a step takes a fraction of a second on the synthetic records of its kind; returns it.

    One text length, one shape and one threshold: every program compiles once.
    """
    config.data.dir = str(records)
    config.data.batch_size = 8
    config.data.text_max_len = 16
    config.data.max_shapes = 1
    if config.model.name in END_TO_END_MODELS:
        config.model.width = 0.0625
        config.model.trans_dim = 16
        config.model.text.size = "tiny"
        config.model.text.init = "random"
    if "sparse_impl" in config.model:
        # Rows from the first step: with a falling threshold a run would need the program of masks too.
        config.model.sparse_impl, config.model.sparse_anneal = "auto", 0.0
        # Without a teacher, whose step takes twice as long to compile.
        config.optim.update(dense_epochs=0, teacher_saliency=0.0, teacher_kd=0.0, score_lr_factor=1.0)
    if "trans_layers" in config.model:
        config.model.trans_layers = 1
    config.optim.epochs = 2
    config.log.tensorboard = False
    config.mesh.devices = 1
    return config


def shrunk_run(experiment: Any, records: Path, workdir: Path) -> list[str]:
    """Arguments of the launcher that train the shrunk model of a config for two epochs.

    Args:
      experiment: module of the config.
      records: of the kind that it reads.
      workdir: of the run.
    """
    usual, shrunk = (_flat(config) for config in (experiment.get_config(), shrink(experiment.get_config(), records)))
    changed = {key: value for key, value in shrunk.items() if value != usual[key]}
    config = f"--config={experiment.__name__.replace('.', '/')}.py"
    return [config, f"--workdir={workdir}", *(f"--config.{key}={value}" for key, value in changed.items())]


def _flat(config: Any) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        found |= {f"{key}.{k}": v for k, v in _flat(value).items()} if hasattr(value, "items") else {key: value}
    return found
