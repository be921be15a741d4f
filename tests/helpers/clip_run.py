"""A release of small clips, and a run of random weights for them."""

from pathlib import Path

import numpy as np

from configs import mosei_sparse
from data_tools.prepare import Settings, default_console, prepare
from mme2e_jax.checkpoints.reader import RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runs.tokenizer import keep_tokenizer
from tests.helpers.media import tone, write_video
from tests.helpers.synthetic import shrink
from tests.helpers.weights import random_variables

WORDS = ("one two three four", "five six seven", "eight nine", "ten one two five", "six two", "nine ten one")
SIZE = (160, 120)
THRESHOLDS = {"calm": 0.4, "tense": 0.6}


def levels(seconds: float, seed: int) -> list[int]:
    """Random brightness of frames, 10 per second."""
    return np.random.default_rng(seed).integers(0, 256, round(10 * seconds)).tolist()


def write_clips(root: Path) -> Path:
    """Writes a release of six clips; the last two are predicted, the last one by the times of its cue."""
    rows = ["path,transcript,start,end,split,calm,tense"]
    for i, (words, split) in enumerate(zip(WORDS, ["train"] * 3 + ["valid"] + ["test"] * 2, strict=True)):
        seconds = 2.0 + i
        wave = tone(seconds, 200 + 100 * i) * np.linspace(0, 1, round(16_000 * seconds))
        write_video(root / f"v{i}.mp4", levels(seconds, i), size=SIZE, wave=wave)
        rows.append(f"v{i}.mp4,{words},{'1.25,4.5' if i == 5 else ','},{split},{i % 2},{1 - i % 2}")
    (root / "clips.csv").write_text("\n".join(rows))
    return root


def make_clip_run(release: Path, scratch: Path) -> Path:
    """Makes a run of random weights in `scratch`, as it would be trained on records of the clips."""
    train_mini(WORDS * 2).save(scratch / "tokenizer")
    settings = Settings(dataset="clips", tokenizer=str(scratch / "tokenizer"), frame_interval_ms=400)
    prepare(release, scratch / "records", settings, processes=1, console=default_console())
    dataset = open_dataset(scratch / "records", "clips")
    config = shrink(mosei_sparse.get_config(), dataset.directory)
    config.data.dataset = "clips"
    # The clips show no faces: crops of their centres stand in for them.
    config.model.absent = "paper"
    tokenizer, preprocessing = dict(dataset.tokenizer), dict(dataset.preprocessing)
    spec = model_spec(parse_config(config), 2, tokenizer)
    record = RunRecord(config.to_dict(), list(dataset.label_names), tokenizer, preprocessing, THRESHOLDS, [])
    writer = CheckpointWriter(scratch / "run")
    writer.save_imported(random_variables(spec, 1), record)
    writer.wait()
    keep_tokenizer(dataset.directory, scratch / "run")
    return scratch / "run"
