"""Generates the embedded corpus with long videos of 640 x 360 pixels.

Faces, voices, sentences and labels come from `data_tools.mini_corpus`, in the layout of CMU-MOSEI, without its special
cases. The videos have 30 frames per second. Clips fill every video from its first to its last second.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from data_tools.mini_corpus import mosei_release
from data_tools.mini_corpus.media import Movie, write_wav
from data_tools.mini_corpus.plan import NoiseRates, VideoPlan, plan_video
from data_tools.mini_corpus.speakers import make_face
from data_tools.mini_corpus.video import FPS, MIN_FRAMES, ClipTimes, animate_face, make_clip_sound, measure_loudness
from data_tools.mini_corpus.voice import SAMPLE_RATE, VOICES
from mme2e_jax.runtime.files import finished_directory

WIDTH, HEIGHT = 640, 360
_REPEATS = 2  # copies of every drawn frame; grain makes them differ
_FACE_STREAM, _VOICE_STREAM, _GRAIN_STREAM = 31, 32, 33


@dataclass(frozen=True)
class Sizes:
    """Size of the corpus.

    Attributes:
      videos: number of videos, at least three, so that each split has one.
      seconds: length of each video, at least two.
      seed: seed of the whole content.
    """

    videos: int
    seconds: int
    seed: int = 0


def make_long_videos(out: Path, sizes: Sizes, workers: int) -> None:
    """Writes the release to `out` with `workers` processes; `out` appears only when it is complete.

    Raises:
      OutputExistsError: if `out` exists and is not empty.
    """
    plans = [_plan(sizes, index) for index in range(sizes.videos)]
    with finished_directory(out) as root:
        mosei_release.make_directories(root)
        # Spawned: forked copies of a process with threads (TensorFlow) can hang.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            made = list(pool.map(_make_video, [root] * len(plans), plans, [sizes.seconds] * len(plans)))
        mosei_release.write_labels(root, made)


def _plan(sizes: Sizes, index: int) -> VideoPlan:
    # Enough clips even if each has the shortest length.
    plan = plan_video(sizes.seed, index, -(-sizes.seconds * FPS // MIN_FRAMES), NoiseRates())
    return replace(plan, clips=tuple(replace(clip, awkward=()) for clip in plan.clips), awkward=())


def _make_video(root: Path, plan: VideoPlan, seconds: int) -> VideoPlan:
    """Writes the files of a video; returns its plan with the clips that fit into it."""
    cv2.setNumThreads(1)  # the videos run in parallel
    sounds = _fitting_sounds(plan, seconds * FPS)
    plan = replace(plan, clips=plan.clips[: len(sounds)])
    face = make_face(plan.speaker, plan.rng(_FACE_STREAM))
    grain_rng = plan.rng(_GRAIN_STREAM)
    grain = [grain_rng.integers(0, 5, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(4)]
    times, start = [], 0
    with Movie(mosei_release.movie_path(root, plan.video_id), (WIDTH, HEIGHT), FPS * _REPEATS, SAMPLE_RATE) as movie:
        for clip, sound in zip(plan.clips, sounds, strict=True):
            count = len(sound) * FPS // SAMPLE_RATE
            drawn = animate_face(plan.rng(_FACE_STREAM, clip.index), face, clip.face, measure_loudness(sound, count))
            movie.append(_enlarged(drawn, grain), sound)
            times.append(ClipTimes(start / FPS, (start + count) / FPS))
            start += count
    write_wav(mosei_release.wav_path(root, plan.video_id), np.concatenate(sounds), SAMPLE_RATE)
    mosei_release.write_transcript(root, plan, times)
    return plan


def _fitting_sounds(plan: VideoPlan, frames: int) -> list[np.ndarray]:
    """The sounds of the first clips, `frames` frames in total: the last sound is cut or padded with silence."""
    voice = VOICES[plan.speaker % len(VOICES)]
    sounds: list[np.ndarray] = []
    left = frames * SAMPLE_RATE // FPS
    shortest = MIN_FRAMES * SAMPLE_RATE // FPS
    for clip in plan.clips:
        sound = make_clip_sound(plan.rng(_VOICE_STREAM, clip.index), clip, voice)
        if left - len(sound) < shortest:
            sounds.append(np.pad(sound, (0, max(left - len(sound), 0)))[:left])
            break
        sounds.append(sound)
        left -= len(sound)
    return sounds


def _enlarged(frames: Iterator[np.ndarray], grain: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames at full height in the middle of wider ones, each shown `_REPEATS` times."""
    place = 0
    for frame in frames:
        size = (frame.shape[1] * HEIGHT // frame.shape[0], HEIGHT)
        side = (WIDTH - size[0]) // 2
        large = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
        wide = cv2.copyMakeBorder(large, 0, 0, side, WIDTH - size[0] - side, cv2.BORDER_REPLICATE)
        for _ in range(_REPEATS):
            yield cv2.add(wide, grain[place % len(grain)])
            place += 1
