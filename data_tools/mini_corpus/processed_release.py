"""Writes the embedded corpus as the paper's authors publish CMU-MOSEI and IEMOCAP: cut out, pickled, split.

As their preparation does, it keeps only utterances whose media are all there, takes every frame of
IEMOCAP and two a second of MOSEI, and splits IEMOCAP over utterances, so that dialogues are on all sides.
"""

import pickle
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import wavfile

from data_tools.mini_corpus import iemocap_release, mosei_release, published_features
from data_tools.mini_corpus.dialogues import OTHER_LABELS, DialoguePlan
from data_tools.mini_corpus.emotions import EMOTIONS
from data_tools.mini_corpus.plan import NO_LABEL, NO_TRANSCRIPT, NoiseRates, VideoPlan
from data_tools.mini_corpus.video import FPS, ClipTimes
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.framing import VIEWS
from mme2e_jax.media.video import VideoError, frames_at

_MOSEI_FPS = 2
# Of ten utterances or videos, in turn.
_SIDES = (0, 0, 1, 0, 0, 2, 0, 0, 1, 2)
_PROTOCOL = 4


def make_mosei_directories(root: Path) -> None:
    """Creates the tree of a release under `root`."""
    for name in ("MOSEI_RAW_PROCESSED", "MOSEI_SPLIT"):
        (root / name).mkdir()


def make_iemocap_directories(root: Path) -> None:
    """Creates the tree of a release under `root`."""
    for name in ("IEMOCAP_RAW_PROCESSED", "IEMOCAP_SPLIT"):
        (root / name).mkdir()


def write_mosei_video(root: Path, plan: VideoPlan) -> tuple[str, list[ClipTimes]]:
    """Writes the folders of one video's clips; returns its name and where they lay."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch)
        mosei_release.make_directories(raw)
        _, times = mosei_release.write_video(raw, plan)
        movie, wav = mosei_release.movie_path(raw, plan.video_id), mosei_release.wav_path(raw, plan.video_id)
        try:
            end = times[-1].end
            frames = [f for _, f in frames_at(movie, [i / _MOSEI_FPS for i in range(int(end * _MOSEI_FPS) + 1)])]
        except VideoError:
            return plan.video_id, times
        if not wav.exists():
            return plan.video_id, times
        rate, sound = wavfile.read(wav)
    for clip, span in zip(plan.clips, times, strict=True):
        folder = root / "MOSEI_RAW_PROCESSED" / f"{plan.video_id}_{clip.index}"
        if NO_LABEL in clip.awkward or NO_TRANSCRIPT in clip.awkward:
            continue
        folder.mkdir()
        wavfile.write(folder / "audio.wav", rate, sound[int(span.start * rate) : int(span.end * rate)])
        for i, frame in enumerate(frames[int(span.start * _MOSEI_FPS) : int(span.end * _MOSEI_FPS)]):
            _write_picture(folder / f"image_{i}.jpg", frame)
    return plan.video_id, times


def write_iemocap_dialogue(root: Path, plan: DialoguePlan) -> tuple[str, list[ClipTimes]]:
    """Writes the folders of one dialogue's turns; returns its name and where they lay."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch)
        iemocap_release.make_directories(raw)
        _, times = iemocap_release.write_dialogue(raw, plan)
        dialog = raw / f"Session{plan.session}" / "dialog"
        movie, wav = dialog / "avi/DivX" / f"{plan.name}.avi", dialog / "wav" / f"{plan.name}.wav"
        if not (movie.exists() and wav.exists()):
            return plan.name, times
        rate, sound = wavfile.read(wav)
        if sound.ndim < 2:
            return plan.name, times
        frames = [f for _, f in frames_at(movie, [i / FPS for i in range(round(times[-1].end * FPS) + 1)])]
    for turn, span in zip(plan.turns, times, strict=True):
        folder = root / "IEMOCAP_RAW_PROCESSED" / plan.name / turn.name
        folder.mkdir(parents=True)
        piece = sound[int(span.start * rate) : int(span.end * rate)]
        for name, channels in (("audio", piece), ("audio_L", piece[:, 0]), ("audio_R", piece[:, 1])):
            wavfile.write(folder / f"{name}.wav", rate, channels)
        for i, frame in enumerate(frames[round(span.start * FPS) : round(span.end * FPS)]):
            _write_picture(folder / f"image_L_{i}.jpg", VIEWS["left"](frame))
            _write_picture(folder / f"image_R_{i}.jpg", VIEWS["right"](frame))
    return plan.name, times


def finish_mosei(
    root: Path, plans: Sequence[VideoPlan], _: Mapping[str, Sequence[ClipTimes]], *, seed: int, rates: NoiseRates
) -> None:
    """Writes `meta.pkl`, the splits, by video, and hand-crafted features."""
    folder = root / "MOSEI_RAW_PROCESSED"
    meta, sides = {}, {}
    for plan in plans:
        for clip in plan.clips:
            name = f"{plan.video_id}_{clip.index}"
            if (folder / name).is_dir():
                label = [int(emotion in clip.labels) for emotion in EMOTIONS]
                meta[name] = {"text": clip.transcript, "label": label}
                sides[name] = _SIDES[plan.index % len(_SIDES)]
    _write_texts(root, "MOSEI", meta, sides)
    published_features.write_mosei(root, meta, sides)


def finish_iemocap(
    root: Path, plans: Sequence[DialoguePlan], times: Mapping[str, Sequence[ClipTimes]], *, seed: int, rates: NoiseRates
) -> None:
    """Writes `meta.pkl`, with the labels that are none of the six too, the splits, over utterances, and features."""
    meta, sides = {}, {}
    for plan in plans:
        for turn, span in zip(plan.turns, times[plan.name], strict=True):
            if not (root / "IEMOCAP_RAW_PROCESSED" / plan.name / turn.name).is_dir():
                continue
            entry: dict[str, Any] = {"start_time": span.start, "end_time": span.end, "label": turn.label}
            meta[turn.name] = entry | {"text": turn.transcript, "sr": 16_000, "fps": float(FPS)}
            if turn.label not in OTHER_LABELS:
                sides[turn.name] = _SIDES[len(sides) % len(_SIDES)]
    _write_texts(root, "IEMOCAP", meta, sides)
    published_features.write_iemocap(root, meta, sides)


def _write_texts(root: Path, name: str, meta: Mapping[str, Any], sides: Mapping[str, int]) -> None:
    (root / f"{name}_RAW_PROCESSED" / "meta.pkl").write_bytes(pickle.dumps(dict(meta), _PROTOCOL))
    for i, part in enumerate(SPLITS):
        lines = "".join(f"{key}\n" for key, side in sides.items() if side == i)
        (root / f"{name}_SPLIT" / f"{part}_split.txt").write_text(lines, encoding="utf-8")


def _write_picture(path: Path, picture: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
