"""Renders videos of the corpus; clips last whole frames, keeping sound synchronous."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_tools.mini_corpus.expressions import EXPRESSIONS, NEUTRAL, Expression
from data_tools.mini_corpus.face import Face
from data_tools.mini_corpus.media import Movie, write_wav
from data_tools.mini_corpus.plan import BROKEN_VIDEO, NO_FACE, NO_WAV, SHORT_CLIP, WAV_LENGTH, ClipPlan, VideoPlan
from data_tools.mini_corpus.speakers import HEIGHT, WIDTH, empty_room, make_face
from data_tools.mini_corpus.voice import SAMPLE_RATE, VOICES, add_room, speak

FPS = 15
MIN_FRAMES, MAX_FRAMES = 30, 48  # 2.0 s and 3.2 s
SHORT_FRAMES = 6  # 0.4 s
WAV_CUT_S = 1.5  # missing end of the wav file in the case WAV_LENGTH

_FACE_STREAM, _VOICE_STREAM, _ROOM_STREAM = 11, 12, 13
_TALKING = 0.09  # opening of the mouth by speech, in eye distances
_BLINK, _BLINK_FRAMES, _BLINK_EVERY_S = -0.12, 2, 2.7


@dataclass(frozen=True)
class ClipTimes:
    """Start and end of a clip in its video, in seconds."""

    start: float
    end: float


def make_video(plan: VideoPlan, movie_path: Path, wav_path: Path) -> list[ClipTimes]:
    """Writes the movie and the sound of `plan`; returns the times of its clips."""
    cv2.setNumThreads(1)  # videos are rendered in parallel
    face = make_face(plan.speaker, plan.rng(_FACE_STREAM))
    room_rng = plan.rng(_ROOM_STREAM)
    grain = [room_rng.integers(0, 5, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(4)]
    room = empty_room(room_rng)
    voice = VOICES[plan.speaker % len(VOICES)]
    sounds, times, start = [], [], 0
    with Movie(movie_path, (WIDTH, HEIGHT), FPS, SAMPLE_RATE) as movie:
        for clip in plan.clips:
            rng = plan.rng(_VOICE_STREAM, clip.index)
            sound = make_clip_sound(rng, clip, voice)
            count = len(sound) * FPS // SAMPLE_RATE
            if NO_FACE in clip.awkward:
                frames = (room for _ in range(count))
            else:
                face_rng = plan.rng(_FACE_STREAM, clip.index)
                frames = animate_face(face_rng, face, clip.face, measure_loudness(sound, count))
            noisy = (cv2.add(frame, grain[i % len(grain)]) for i, frame in enumerate(frames))
            movie.append(noisy, sound)
            sounds.append(sound)
            times.append(ClipTimes(start / FPS, (start + count) / FPS))
            start += count
    if NO_WAV not in plan.awkward:
        removed = int(WAV_CUT_S * SAMPLE_RATE) if WAV_LENGTH in plan.awkward else 0
        sound = np.concatenate(sounds)
        write_wav(wav_path, sound[: len(sound) - removed], SAMPLE_RATE)
    if BROKEN_VIDEO in plan.awkward:
        # Without its second half, the movie also lacks the index at its end.
        content = movie_path.read_bytes()
        movie_path.write_bytes(content[: len(content) // 2])
    return times


def make_clip_sound(rng: np.random.Generator, clip: ClipPlan, voice: str) -> np.ndarray:
    """Synthesises the sound of a clip, padded with silence to whole frames."""
    spoken = speak(rng, clip.pieces, clip.voice, voice=voice, max_seconds=(MAX_FRAMES - 3) / FPS)
    frames = int(np.clip(np.ceil(len(spoken) * FPS / SAMPLE_RATE) + 2, MIN_FRAMES, MAX_FRAMES))
    frames += -frames % 3  # three frames last a whole number of samples
    if SHORT_CLIP in clip.awkward:
        frames = SHORT_FRAMES
    length = frames * SAMPLE_RATE // FPS
    return add_room(rng, np.pad(spoken, (0, max(0, length - len(spoken))))[:length])


def measure_loudness(sound: np.ndarray, frames: int) -> np.ndarray:
    """The loudness in [0, 1] at each of `frames` frames, which moves the lips."""
    blocks = sound[: len(sound) // frames * frames].reshape(frames, -1)
    level = np.sqrt(np.mean(blocks**2, axis=1))
    smooth = np.convolve(level, np.ones(3) / 3, "same")
    return smooth / (smooth.max() + 1e-6)


def animate_face(
    rng: np.random.Generator, face: Face, emotions: tuple[str, ...], loudness: np.ndarray
) -> Iterator[np.ndarray]:
    """Yields the frames of a face that talks and shows each of `emotions` for an equal time."""
    strength = rng.uniform(0.95, 1.25)
    moods = [EXPRESSIONS[emotion].scaled(strength) for emotion in emotions] or [NEUTRAL]
    phases = rng.uniform(0, 2 * np.pi, 3)
    first_blink = rng.uniform(0, _BLINK_EVERY_S) * FPS
    for i in range(len(loudness)):
        seconds = i / FPS
        mood: Expression = moods[i * len(moods) // len(loudness)]
        mood = mood.scaled(min(1.0, 0.7 + seconds / 0.5))
        blinks = (i - first_blink) % (_BLINK_EVERY_S * FPS) < _BLINK_FRAMES
        wearing = mood.plus(opening=_TALKING * float(loudness[i]), lid=_BLINK if blinks else 0.0)
        sway, nod, roll = np.sin(np.array([0.9, 1.3, 0.7]) * seconds + phases)
        yield face.render(wearing, (4 * sway, 2 * nod), 2 * roll)
