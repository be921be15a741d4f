"""Renders a dialogue of two speakers, each on one sound channel."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from data_tools.mini_corpus.dialogues import MONO_WAV, NO_VIDEO, NO_WAV, DialoguePlan
from data_tools.mini_corpus.face import Face
from data_tools.mini_corpus.media import DIVX, Movie, write_wav
from data_tools.mini_corpus.speakers import HEIGHT, WIDTH, make_face
from data_tools.mini_corpus.video import FPS, ClipTimes, animate_face, make_clip_sound, measure_loudness
from data_tools.mini_corpus.voice import SAMPLE_RATE, VOICES

_FACE_STREAM, _VOICE_STREAM, _ROOM_STREAM = 31, 32, 33
_CROSSTALK = 0.1  # how loud a speaker is on the other's microphone
_NOISE = 0.001  # standard deviation of the microphones' noise, relative to full scale
_SAMPLES = SAMPLE_RATE / FPS  # per frame; turns last a multiple of three frames, a whole number of samples


def make_dialogue(plan: DialoguePlan, movie_path: Path, wav_path: Path) -> list[ClipTimes]:
    """Writes the movie and the sound of `plan`; returns the times of its turns."""
    cv2.setNumThreads(1)  # dialogues are rendered in parallel
    sides = (plan.left, "M" if plan.left == "F" else "F")
    people = {who: 2 * (plan.session - 1) + "FM".index(who) for who in sides}
    sounds = [
        make_clip_sound(plan.rng(_VOICE_STREAM, i), turn.clip, VOICES[people[turn.speaker] % len(VOICES)])
        for i, turn in enumerate(plan.turns)
    ]
    starts: list[int] = []
    lengths = [round(len(sound) / _SAMPLES) for sound in sounds]
    end = 0
    for turn, length in zip(plan.turns, lengths, strict=True):
        starts.append(max(0, end + turn.gap))
        end = max(end, starts[-1] + length)
    total = end + FPS

    wave = plan.rng(_ROOM_STREAM).normal(0, _NOISE, (2, round(total * _SAMPLES)))
    for turn, start, sound in zip(plan.turns, starts, sounds, strict=True):
        first = round(start * _SAMPLES)
        near = sides.index(turn.speaker)
        wave[near, first : first + len(sound)] += sound
        wave[1 - near, first : first + len(sound)] += _CROSSTALK * sound
    if NO_WAV not in plan.awkward:
        write_wav(wav_path, wave[0] if MONO_WAV in plan.awkward else wave, SAMPLE_RATE)
    if NO_VIDEO not in plan.awkward:
        faces = {who: make_face(people[who], plan.rng(_FACE_STREAM, "FM".index(who))) for who in sides}
        halves = []
        for who in sides:
            turn_at = {start: i for i, start in enumerate(starts) if plan.turns[i].speaker == who}
            halves.append(_render_speaker(plan, who, faces[who], turn_at, sounds, total))
        _write_movie(plan, movie_path, zip(*halves, strict=True), wave, total)
    return [ClipTimes(start / FPS, (start + n) / FPS) for start, n in zip(starts, lengths, strict=True)]


def _render_speaker(
    plan: DialoguePlan, who: str, face: Face, turn_at: dict[int, int], sounds: list[np.ndarray], total: int
) -> Iterator[np.ndarray]:
    """Yields the `total` frames of one speaker, who rests between their turns."""
    rest = next(animate_face(plan.rng(_FACE_STREAM, "FM".index(who), 0), face, (), np.zeros(1)))
    frame = 0
    while frame < total:
        if frame not in turn_at:
            yield rest
            frame += 1
            continue
        i = turn_at[frame]
        loudness = measure_loudness(sounds[i], round(len(sounds[i]) / _SAMPLES))
        yield from animate_face(plan.rng(_FACE_STREAM, 2, i), face, plan.turns[i].clip.face, loudness)
        frame += len(loudness)


def _write_movie(
    plan: DialoguePlan, path: Path, halves: Iterator[tuple[np.ndarray, ...]], wave: np.ndarray, total: int
) -> None:
    rng = plan.rng(_ROOM_STREAM, 1)
    grain = [rng.integers(0, 5, (HEIGHT, 2 * WIDTH, 3), dtype=np.uint8) for _ in range(4)]
    frames = (cv2.add(np.hstack(pair), grain[i % len(grain)]) for i, pair in enumerate(halves))
    with Movie(path, (2 * WIDTH, HEIGHT), FPS, SAMPLE_RATE, DIVX) as movie:
        # In pieces of a second, so that frames and sound are interleaved in the file.
        for first in range(0, total, FPS):
            sound = wave[:, round(first * _SAMPLES) : round((first + FPS) * _SAMPLES)]
            movie.append(itertools.islice(frames, FPS), sound)
