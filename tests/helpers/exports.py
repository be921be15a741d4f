"""Small runs to export, and processes in which exported models have to do without the code of models."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mme2e_jax.checkpoints.reader import RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.schema import END_TO_END_MODELS
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, LABEL_NAMES, MEL_BANDS
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runs.tokenizer import DIRECTORY
from tests.helpers.synthetic import METADATA, shrink
from tests.helpers.weights import random_variables

REPOSITORY = Path(__file__).parent.parent.parent
WORDS = ("one two three four", "five six seven", "eight nine", "ten one two five", "six two", "nine ten one")
LABELS = LABEL_NAMES["mini"]
THRESHOLDS = {name: 0.3 + 0.05 * i for i, name in enumerate(LABELS)}
# What an exported model is to do without, and a first line of programs that makes sure of it.
MODEL_CODE = ("mme2e_jax.models", "flax", "optax", "orbax")
_WITHOUT = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if any(name == barred or name.startswith(barred + ".") for barred in {barred!r}):
            raise ImportError(name + " was to be done without")
sys.meta_path.insert(0, Refusal())
"""


def make_run(workdir: Path, experiment: Any, **model: Any) -> Path:
    """A run of random weights.

    Args:
      workdir: of the run.
      experiment: module of the config, which is shrunk.
      model: values of `config.model` that differ from it.
    """
    config = shrink(experiment.get_config(), workdir / "nowhere")
    config.model.update(model)
    media = config.model.name in END_TO_END_MODELS
    tokenizer = train_mini(WORDS * 2).save(workdir / DIRECTORY) if media else {}
    spec = model_spec(parse_config(config), len(LABELS), tokenizer)
    record = RunRecord(
        config=config.to_dict(),
        label_names=list(LABELS),
        tokenizer=tokenizer,
        preprocessing={k: METADATA[k] for k in ("frame_interval_ms", "face_size", "face_choice", "sample_rate", "mel")},
        thresholds=THRESHOLDS,
        history=[],
    )
    writer = CheckpointWriter(workdir)
    writer.save_imported(random_variables(spec, 1), record)
    writer.wait()
    return workdir


def media_batch(
    counts: Sequence[tuple[int, int, int]], tokens: int, frames: int, chunks: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """A batch for a program.

    Args:
      counts: tokens, frames and chunks of each utterance.
      tokens, frames, chunks: that it is padded to; the padding holds what no utterance does.
      seed: of the content.
    """
    rng = np.random.default_rng(seed)
    token_count, frame_count, chunk_count = (np.array(x, np.int32) for x in zip(*counts, strict=True))
    mel = rng.random((chunks, MEL_BANDS, CHUNK_FRAMES), dtype=np.float32)
    mel[chunk_count.sum() :] = np.nan
    return {
        "token_ids": rng.integers(5, 20, (len(counts), tokens), dtype=np.int32),
        "token_count": token_count,
        "faces": rng.integers(0, 256, (frames, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8),
        "frame_count": frame_count,
        "mel": mel,
        "chunk_count": chunk_count,
    }


def run_without(barred: Sequence[str], program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a process that cannot import the modules `barred`; what it prints is captured."""
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(barred=tuple(barred)) + program, *arguments],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
