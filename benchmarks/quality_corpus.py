"""Corpus of `benchmarks.quality`, and where its faces move and its speakers speak.

Axis legend: `n` images (faces or mel chunks), `h`, `w` height and width of sites, `p` pixels per side of a face, `c`
columns of a mel chunk.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.generate import generate
from data_tools.prepare import Settings, prepare
from data_tools.releases.splits import SPLITS
from mme2e_jax.constants import FACE_SIZE

SHARES = {"train": 500, "valid": 150, "test": 250}
SEED = 0
# The inner face on a crop, in pixels: centre and half axes, (x, y). Part of it that moves most: a third.
_CENTRE, _HALF_AXES, _MOVING = (24.0, 27.0), (16.0, 19.0), 0.35
# Sound that is weaker than the loudest column of its utterance by more than this is not voiced.
_VOICED_DB = -20.0


def make_corpus(directory: Path, utterances: int) -> Path:
    """Generates and prepares the corpus, divided by video; returns the records. Does nothing if they are there.

    Args:
      directory: gets `release`, with the generator's `truth.json`, and `records`.
      utterances: number of utterances; some are dropped intentionally.
    """
    records = directory / "records"
    if (records / "dataset_info.json").exists():
        return records
    if not (directory / "release" / "truth.json").exists():
        generate(directory / "release", utterances, SEED)
    clips = json.loads((directory / "release" / "truth.json").read_text())["clips"]
    files = directory / "splits"
    files.mkdir(exist_ok=True)
    for split, videos in _split_videos([clip["video"] for clip in clips]).items():
        (files / f"{split}_split.txt").write_text("".join(f"{video}\n" for video in videos))
    prepare(directory / "release", records, Settings(dataset="mini", splits=files))
    return records


def _split_videos(videos: list[str]) -> dict[str, list[str]]:
    """Videos of each split, in a random order; `videos` has the video of each utterance."""
    ends = np.cumsum(list(SHARES.values())) / sum(SHARES.values()) * len(videos)
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    done = 0
    for video in np.random.default_rng(SEED).permutation(list(dict.fromkeys(videos))):
        size = videos.count(video)
        found[SPLITS[int(np.searchsorted(ends[:-1], done + size / 2, side="right"))]].append(str(video))
        done += size
    return found


def moving_region(directory: Path, faces: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where expressions move the face: the third of the inner face that changes most, bool [p, p].

    A pixel's change is the mean, over speakers and emotions, of the difference between the mean crop with the emotion
    and the mean neutral crop.

    Args:
      directory: directory of `make_corpus`.
      faces: crops of the training split by utterance id, uint8 [n, p, p, 3].
    """
    clips = {
        (clip["video"], clip["index"]): clip
        for clip in json.loads((directory / "release" / "truth.json").read_text())["clips"]
    }
    groups: dict[tuple[int, tuple[str, ...]], list[np.ndarray]] = {}
    for name, crops in faces.items():
        matched = re.fullmatch(r"(.+?)(?:___|_|\[)(\d+)\]?", name)
        if matched is None:
            raise ValueError(f"Expected VIDEO_NUMBER as the identifier of an utterance, found {name!r}.")
        clip = clips[matched[1], int(matched[2])]
        groups.setdefault((clip["speaker"], tuple(clip["face"])), []).extend(crops.mean(-1))
    change, found = np.zeros((FACE_SIZE, FACE_SIZE)), 0
    for (speaker, shown), crops in groups.items():
        neutral = groups.get((speaker, ()), [])
        if len(shown) == 1 and len(crops) > 3 and len(neutral) > 3:
            change += np.abs(np.mean(crops, axis=0) - np.mean(neutral, axis=0))
            found += 1
    y, x = np.mgrid[:FACE_SIZE, :FACE_SIZE]
    inner = ((x - _CENTRE[0]) / _HALF_AXES[0]) ** 2 + ((y - _CENTRE[1]) / _HALF_AXES[1]) ** 2 <= 1
    assert found, "no speaker has enough crops with an emotion and without"
    return inner & (change >= np.quantile(change[inner], 1 - _MOVING))


def voiced_columns(mel: np.ndarray) -> np.ndarray:
    """Which columns of an utterance's mel chunks hold speech, bool [n, c]; `mel` is power, [n, 128, c]."""
    power = mel.sum(axis=1)
    return power >= power.max() * 10 ** (_VOICED_DB / 10)


def per_site(marked: np.ndarray, height: int, width: int) -> np.ndarray:
    """Share of marked pixels in each site, [..., h, w], of `marked`, bool [..., y, x]."""
    *first, y, x = marked.shape
    return marked.reshape(*first, height, y // height, width, x // width).mean((-3, -1))


def lift(kept: np.ndarray, marked: Any) -> float:
    """Marked pixels at kept sites, relative to as many random sites of the same images; 1 for sites that know nothing.

    Args:
      kept: kept sites, [n, h, w].
      marked: share of marked pixels per site, [n, h, w] or [h, w].
    """
    marked = np.broadcast_to(marked, kept.shape)
    return float((kept * marked).sum() / (kept.sum((1, 2)) * marked.mean((1, 2))).sum())
