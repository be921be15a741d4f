"""From the media files of one video to the arrays of its utterances.

Axes: `t` frames of an utterance, `x` samples.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from mme2e_jax.media.arrays import Footage
from mme2e_jax.media.face_choice import MOST_PROBABLE, Scene, choose_face
from mme2e_jax.media.faces import BATCH_SIZE, FaceDetector
from mme2e_jax.media.framing import VIEWS
from mme2e_jax.media.open_sound import OpenSound, OpenSounds
from mme2e_jax.media.pictures import pictures_at, pictures_duration
from mme2e_jax.media.sound import Sound, SoundError, read_track, read_wav
from mme2e_jax.media.track import Track
from mme2e_jax.media.utterance import Finding, Media, Pictures, Utterance
from mme2e_jax.media.video import TIME_TOLERANCE_S, VideoError, frames_at, sample_times, video_duration

# Times of a transcript may be rounded; what lies past the end by less than this is no news.
_END_TOLERANCE_S = 0.05
_SHORT_SOUND_S = 0.5
_LENGTH_MISMATCH_S = 0.5
_NO_SOUND = Sound(np.zeros(0, np.float32), 16_000)

A = TypeVar("A")


@dataclass(frozen=True)
class ExtractSettings:
    """How media are read.

    Attributes:
      frame_interval_ms: milliseconds between the frames of an utterance.
      audio_from_video: whether the video's own sound stands in for a missing wav file.
      sound_in_video: whether it is where the release keeps the sound, so that a missing wav is no news.
      face_choice: which of several faces is taken, one of `face_choice.CHOICES`.
    """

    frame_interval_ms: int = 500
    audio_from_video: bool = False
    sound_in_video: bool = False
    face_choice: str = MOST_PROBABLE


@dataclass
class Extracted(Generic[A]):
    """The outcome for one video.

    Attributes:
      arrays: by utterance identifier, without the utterances that had to be dropped.
      findings: what was dropped or degraded, or is worth knowing.
      seconds: time spent by kind of work: decode, faces, features.
    """

    arrays: dict[str, A] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"decode": 0.0, "faces": 0.0, "features": 0.0})

    @contextmanager
    def timed(self, work: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[work] += time.perf_counter() - start


def extract(
    utterances: Sequence[Utterance],
    media: Media,
    settings: ExtractSettings,
    detector: FaceDetector,
    to_arrays: Callable[[Footage], A],
    open_sounds: OpenSounds | None = None,
) -> Extracted[A]:
    """Reads the frames and the sound of all utterances of one video, decoding it once.

    Frames are taken every `frame_interval_ms` from the utterance's start (`video.sample_times`,
    `video.frames_at`); in each one face is cut out, by `face_choice`. Whatever cannot be read leaves
    that modality empty and is reported; an utterance without frames and sound is dropped.

    Args:
      utterances: all of this video.
      media: the video's files.
      settings: how they are read.
      detector: finds the faces.
      to_arrays: makes of an utterance's footage what is stored of it (`arrays.TO_ARRAYS`).
      open_sounds: of calls for one part of a video after the other, with utterances in the order of their starts:
        the sound is kept open in between instead of being read as a whole.
    """
    result: Extracted[A] = Extracted()
    ids = [utterance.id for utterance in utterances]

    def report(reason: str, detail: str = "", only: Sequence[str] = ids) -> None:
        result.findings += [Finding(name, reason, detail) for name in only]

    with result.timed("decode"):
        sounds = {c: _read_sound(media, settings, c, open_sounds) for c in sorted({u.channel for u in utterances})}
        length, video_note = _video_length(media)
    for channel, (_, notes) in sounds.items():
        for reason, detail in notes:
            report(reason, detail, [u.id for u in utterances if u.channel == channel])
    if video_note:
        report(*video_note)
    # All channels are of one file, and equally long.
    sound = next((sound for sound, _ in sounds.values() if sound), None)
    if sound is None and length is None:
        report("no_media")
        return result
    tolerance = _LENGTH_MISMATCH_S + (1 / media.video.fps if isinstance(media.video, Pictures) else 0.0)
    if sound and length is not None and abs(sound.duration - length) > tolerance:
        report("length_mismatch", f"sound {sound.duration:.2f} s, video {length:.2f} s")

    media_end = max(sound.duration if sound else 0.0, length or 0.0)
    spans: dict[str, tuple[float, float]] = {}
    by_id = {utterance.id: utterance for utterance in utterances}
    for utterance in utterances:
        detail = f"{utterance.start:.2f} s to {utterance.end:.2f} s of {media_end:.2f} s"
        if utterance.start >= media_end - TIME_TOLERANCE_S:
            report("past_end", detail, [utterance.id])
            continue
        if media_end + _END_TOLERANCE_S < utterance.end < math.inf:
            report("clipped", detail, [utterance.id])
        spans[utterance.id] = (utterance.start, min(utterance.end, media_end))

    views = {name: by_id[name].view for name in spans}
    tracks = _extract_faces(spans, views, media, length, settings, detector, result)
    for name, (start, _) in spans.items():
        sound, _ = sounds[by_id[name].channel]
        wave = (sound or _NO_SOUND).cut(start, by_id[name].end)
        if sound and not len(wave):
            report("no_sound", only=[name])
        elif sound and len(wave) < _SHORT_SOUND_S * sound.sample_rate:
            report("too_short", f"{len(wave) / sound.sample_rate:.2f} s", [name])
        if not tracks[name].faces and not len(wave):
            report("no_media", only=[name])
            continue
        footage = tracks[name].footage(wave, (sound or _NO_SOUND).sample_rate)
        with result.timed("features"):
            result.arrays[name] = to_arrays(footage)
    return result


def _read_sound(
    media: Media, settings: ExtractSettings, channel: int, open_sounds: OpenSounds | None
) -> tuple[Sound | OpenSound | None, list[tuple[str, str]]]:
    """The sound and, where it is not simply the wav's channel, reasons and details to report."""
    wav, track = (open_sounds.wav, open_sounds.track) if open_sounds else (read_wav, read_track)
    notes = [("no_wav", "")]
    if media.wav is not None:
        try:
            sound = wav(media.wav, channel)
            return sound, _channel_notes(sound, channel)
        except SoundError as error:
            notes = [("broken_wav", str(error))]
    if (settings.audio_from_video or settings.sound_in_video) and isinstance(media.video, Path):
        (reason, detail) = notes[0]
        try:
            sound = track(media.video, channel)
            replaced = [] if settings.sound_in_video and reason == "no_wav" else [("audio_from_video", reason)]
            return sound, [*replaced, *_channel_notes(sound, channel)]
        except SoundError as error:
            notes = [(reason, f"{detail} video's track: {error}".strip())]
    return None, notes


def _channel_notes(sound: Sound | OpenSound, channel: int) -> list[tuple[str, str]]:
    if channel < sound.channels:
        return []
    return [("no_channel", f"channel {channel} of {sound.channels}, counted from 0")]


def _video_length(media: Media) -> tuple[float | None, tuple[str, str] | None]:
    if media.video is None:
        return None, ("no_video", "")
    try:
        if isinstance(media.video, Pictures):
            return pictures_duration(media.video), None
        return video_duration(media.video), None
    except VideoError as error:
        return None, ("broken_video", str(error))


def _extract_faces(
    spans: dict[str, tuple[float, float]],
    views: dict[str, str],
    media: Media,
    length: float | None,
    settings: ExtractSettings,
    detector: FaceDetector,
    result: Extracted[A],
) -> dict[str, Track]:
    """Decodes the video once and fills a track for each utterance."""
    tracks = {name: Track() for name in spans}
    if media.video is None or length is None:
        return tracks
    wanted = [
        (moment, name)
        for name, (start, end) in spans.items()
        for moment in sample_times(start, end, settings.frame_interval_ms)
        if moment < length - TIME_TOLERANCE_S
    ]
    wanted.sort()  # utterances may overlap; the video is decoded once, in the order of time
    batch: list[tuple[int, np.ndarray]] = []

    def finish_batch() -> None:
        with result.timed("faces"):
            found = detector.find([picture for _, picture in batch])
            for (index, picture), faces in zip(batch, found, strict=True):
                moment, name = wanted[index]
                height, width = picture.shape[:2]
                box = choose_face(faces, settings.face_choice, Scene(width, height, tracks[name].last_box))
                tracks[name].add(picture, box, len(faces), 1000 * (moment - spans[name][0]))
        batch.clear()

    failure = "decoding ended early"
    try:
        times = [moment for moment, _ in wanted]
        for index, picture in _timed_views(media.video, times, [views[name] for _, name in wanted], result):
            # A picture may change its size in mid-video; a batch has one size.
            if batch and (len(batch) == BATCH_SIZE or batch[0][1].shape != picture.shape):
                finish_batch()
            batch.append((index, picture))
    except VideoError as error:
        failure = str(error)
    if batch:
        finish_batch()

    asked = Counter(name for _, name in wanted)
    for name, track in tracks.items():
        result.findings += track.findings(name, asked[name], failure)
    return tracks


def _timed_views(
    video: Path | Pictures, times: Sequence[float], views: Sequence[str], result: Extracted[A]
) -> Iterator[tuple[int, np.ndarray]]:
    frames = pictures_at(video, times) if isinstance(video, Pictures) else frames_at(video, times)
    while True:
        with result.timed("decode"):
            item = next(frames, None)
            view = None if item is None else VIEWS[views[item[0]]](item[1])
        if item is None or view is None:
            return
        yield item[0], view
