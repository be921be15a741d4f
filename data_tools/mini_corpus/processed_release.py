"""Writes the embedded corpus in the layout of the paper's processed folders.

As in the authors' preparation, only utterances with all media are kept, frames are all frames of IEMOCAP and two per
second of MOSEI, and IEMOCAP is split by utterance, so that dialogues are in several splits.
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
from data_tools.mini_corpus.plan import NO_LABEL, NO_TRANSCRIPT, VideoPlan
from data_tools.mini_corpus.sentences import EMOTIONS
from data_tools.mini_corpus.video import FPS, ClipTimes
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.framing import VIEWS
from mme2e_jax.media.video import VideoError, frames_at

_MOSEI_FPS = 2
_SPLIT_PATTERN = (0, 0, 1, 0, 0, 2, 0, 0, 1, 2)  # split numbers of ten successive utterances or videos
_PROTOCOL = 4


def write_mosei_video(root: Path, plan: VideoPlan) -> tuple[str, list[ClipTimes]]:
    """Writes the folders of one video's clips; returns its identifier and the times of the clips."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch)
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
        folder.mkdir(parents=True)
        wavfile.write(folder / "audio.wav", rate, sound[int(span.start * rate) : int(span.end * rate)])
        for i, frame in enumerate(frames[int(span.start * _MOSEI_FPS) : int(span.end * _MOSEI_FPS)]):
            _write_image(folder / f"image_{i}.jpg", frame)
    return plan.video_id, times


def write_iemocap_dialogue(root: Path, plan: DialoguePlan) -> tuple[str, list[ClipTimes]]:
    """Writes the folders of one dialogue's turns; returns its name and the times of the turns."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch)
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
            _write_image(folder / f"image_L_{i}.jpg", VIEWS["left"](frame))
            _write_image(folder / f"image_R_{i}.jpg", VIEWS["right"](frame))
    return plan.name, times


def finish_mosei(root: Path, plans: Sequence[VideoPlan], _: Mapping[str, Sequence[ClipTimes]]) -> None:
    """Writes `meta.pkl`, splits by video, and hand-crafted features."""
    folder = root / "MOSEI_RAW_PROCESSED"
    meta, split_numbers = {}, {}
    for plan in plans:
        for clip in plan.clips:
            name = f"{plan.video_id}_{clip.index}"
            if (folder / name).is_dir():
                label = [int(emotion in clip.labels) for emotion in EMOTIONS]
                meta[name] = {"text": clip.transcript, "label": label}
                split_numbers[name] = _SPLIT_PATTERN[plan.index % len(_SPLIT_PATTERN)]
    _write_texts(root, "MOSEI", meta, split_numbers)
    published_features.write_mosei(root, meta, split_numbers)


def finish_iemocap(root: Path, plans: Sequence[DialoguePlan], times: Mapping[str, Sequence[ClipTimes]]) -> None:
    """Writes `meta.pkl`, which also has other labels than the six, splits by utterance, and hand-crafted features."""
    meta, split_numbers = {}, {}
    for plan in plans:
        for turn, span in zip(plan.turns, times[plan.name], strict=True):
            if not (root / "IEMOCAP_RAW_PROCESSED" / plan.name / turn.name).is_dir():
                continue
            entry: dict[str, Any] = {"start_time": span.start, "end_time": span.end, "label": turn.label}
            meta[turn.name] = entry | {"text": turn.transcript, "sr": 16_000, "fps": float(FPS)}
            if turn.label not in OTHER_LABELS:
                split_numbers[turn.name] = _SPLIT_PATTERN[len(split_numbers) % len(_SPLIT_PATTERN)]
    _write_texts(root, "IEMOCAP", meta, split_numbers)
    published_features.write_iemocap(root, meta, split_numbers)


def _write_texts(root: Path, name: str, meta: Mapping[str, Any], split_numbers: Mapping[str, int]) -> None:
    (root / f"{name}_RAW_PROCESSED" / "meta.pkl").write_bytes(pickle.dumps(dict(meta), _PROTOCOL))
    (root / f"{name}_SPLIT").mkdir()
    for i, part in enumerate(SPLITS):
        lines = "".join(f"{key}\n" for key, number in split_numbers.items() if number == i)
        (root / f"{name}_SPLIT" / f"{part}_split.txt").write_text(lines, encoding="utf-8")


def _write_image(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
