"""Extracts the arrays of all utterances of one video."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mme2e_jax.media.arrays import Arrays, Footage
from mme2e_jax.media.face_choice import MOST_PROBABLE, Box, Face, Scene, choose_face
from mme2e_jax.media.face_search import FaceSearch, Frame
from mme2e_jax.media.faces import BATCH_SIZE, FaceDetector
from mme2e_jax.media.framing import VIEWS, view_part
from mme2e_jax.media.image_sequence import images_at, sequence_duration
from mme2e_jax.media.sound import Sound, SoundError, read_soundtrack, read_wav, sample_range
from mme2e_jax.media.sound_stream import SoundStream, SoundStreamCache
from mme2e_jax.media.track import Track
from mme2e_jax.media.utterance import Finding, ImageSequence, Media, Utterance
from mme2e_jax.media.video import TIME_TOLERANCE_S, VideoError, frames_at, sample_times, video_duration

# Times of a transcript may be rounded: an end this little after the media's end is not reported.
_END_TOLERANCE_S = 0.05
_SHORT_SOUND_S = 0.5
_LENGTH_MISMATCH_S = 0.5
_MOMENT_DIGITS = 6  # times that differ by less than a microsecond show the same frame
_BATCH_BYTES = 100_000_000  # most memory of the frames that are searched together
_NO_SOUND = Sound(np.zeros(0, np.float32), 16_000)

_Note = tuple[str, str]  # reason and detail of a finding about a video


@dataclass(frozen=True)
class ExtractSettings:
    """How media are read."""

    frame_interval_ms: int = 500  # milliseconds between the frames of an utterance
    audio_from_video: bool = False  # whether the video's sound track replaces a missing wav file
    # Whether the release stores sound in the videos, so that a missing wav file is not reported.
    sound_in_video: bool = False
    face_choice: str = MOST_PROBABLE  # choice among several faces, one of `face_choice.CHOICES`


@dataclass
class Extracted:
    """The outcome for one video."""

    arrays: dict[str, Arrays] = field(
        default_factory=dict
    )  # arrays by utterance identifier, without dropped utterances
    findings: list[Finding] = field(default_factory=list)  # dropped, degraded and noted utterances
    # Time spent by kind of work: decode, faces, features.
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
    detector: FaceDetector | None,
    to_arrays: Callable[[Footage], Arrays],
    streams: SoundStreamCache | None = None,
) -> Extracted:
    """Reads the frames and the sound of all utterances of one video, decoding it once.

    Frames are taken every `frame_interval_ms` from the utterance's start (`video.sample_times`, `video.frames_at`); one
    face of each is cropped, by `face_choice`. Without a detector only the sound is read. `to_arrays` converts the
    result to stored arrays (`arrays.TO_ARRAYS`). An unreadable modality stays empty and is reported; an utterance
    without frames and sound is dropped.

    Successive calls with the parts of a video in order of time share its open sounds, `streams`; without them the sound
    is read as a whole.
    """
    result = Extracted()
    ids = [utterance.id for utterance in utterances]

    def report(reason: str, detail: str = "", names: Sequence[str] = ids) -> None:
        result.findings += [Finding(name, reason, detail) for name in names]

    with result.timed("decode"):
        sounds = {c: _read_sound(media, settings, c, streams) for c in sorted({u.channel for u in utterances})}
        length, video_note = _video_length(media)
    for channel, (_, notes) in sounds.items():
        for reason, detail in notes:
            report(reason, detail, [u.id for u in utterances if u.channel == channel])
    if video_note:
        report(*video_note)
    # All channels belong to one file and are equally long.
    sound = next((sound for sound, _ in sounds.values() if sound), None)
    if sound is None and length is None:
        report("no_media")
        return result
    tolerance = _LENGTH_MISMATCH_S + (1 / media.video.fps if isinstance(media.video, ImageSequence) else 0.0)
    if sound and not sound.failure and length is not None and abs(sound.duration - length) > tolerance:
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
        end = by_id[name].end
        wave = (sound or _NO_SOUND).cut(start, end)
        if sound:
            for gap in sound.gaps:
                if gap[0] < end and gap[1] > start:
                    report("sound_gap", f"{gap[0]:.2f} s to {gap[1]:.2f} s", [name])
        if sound and sound.failure and _is_short(wave, start, end, sound.sample_rate):
            report("broken_sound", sound.failure, [name])
        elif sound and not len(wave):
            report("no_sound", names=[name])
        elif sound and len(wave) < _SHORT_SOUND_S * sound.sample_rate:
            report("too_short", f"{len(wave) / sound.sample_rate:.2f} s", [name])
        if not tracks[name].faces and not len(wave):
            report("no_media", names=[name])
            continue
        footage = tracks[name].footage(wave, (sound or _NO_SOUND).sample_rate)
        with result.timed("features"):
            result.arrays[name] = to_arrays(footage)
    return result


def _read_sound(
    media: Media, settings: ExtractSettings, channel: int, streams: SoundStreamCache | None
) -> tuple[Sound | SoundStream | None, list[_Note]]:
    """The sound, and notes unless it is the requested channel of the wav file."""
    read, read_from_video = (streams.wav, streams.soundtrack) if streams else (read_wav, read_soundtrack)
    note = ("no_wav", "")
    if media.wav is not None:
        try:
            sound = read(media.wav, channel)
            return sound, _channel_notes(sound, channel)
        except SoundError as error:
            note = ("broken_wav", str(error))
    if (settings.audio_from_video or settings.sound_in_video) and isinstance(media.video, Path):
        reason, detail = note
        try:
            sound = read_from_video(media.video, channel)
            replaced = [] if settings.sound_in_video and reason == "no_wav" else [("audio_from_video", reason)]
            return sound, [*replaced, *_channel_notes(sound, channel)]
        except SoundError as error:
            note = (reason, f"{detail} video's track: {error}".strip())
    return None, [note]


def _is_short(wave: np.ndarray, start: float, end: float, sample_rate: int) -> bool:
    first, stop = sample_range(start, end, sample_rate)
    return stop is None or len(wave) < stop - first


def _channel_notes(sound: Sound | SoundStream, channel: int) -> list[_Note]:
    if channel < sound.channels:
        return []
    return [("no_channel", f"channel {channel} of {sound.channels}, counted from 0")]


def _video_length(media: Media) -> tuple[float | None, _Note | None]:
    if media.video is None:
        return None, ("no_video", "")
    try:
        if isinstance(media.video, ImageSequence):
            return sequence_duration(media.video), None
        return video_duration(media.video), None
    except VideoError as error:
        return None, ("broken_video", str(error))


def _extract_faces(
    spans: dict[str, tuple[float, float]],
    views: dict[str, str],
    media: Media,
    length: float | None,
    settings: ExtractSettings,
    detector: FaceDetector | None,
    result: Extracted,
) -> dict[str, Track]:
    """Decodes the video once and fills a track for each utterance."""
    tracks = {name: Track() for name in spans}
    if detector is None or media.video is None or length is None:
        return tracks
    # Utterances may overlap: the video is decoded once, in order of time, and faces of a moment are found once.
    sharing: dict[tuple[float, str], list[tuple[float, str]]] = {}  # moments and names by moment and view
    for name, (start, end) in spans.items():
        for moment in sample_times(start, end, settings.frame_interval_ms):
            if moment < length - TIME_TOLERANCE_S:
                sharing.setdefault((round(moment, _MOMENT_DIGITS), views[name]), []).append((moment, name))
    requested = sorted(sharing)
    batch: list[Frame] = []
    search = FaceSearch(detector, settings.face_choice)

    def followed(frame: Frame) -> list[Box]:
        boxes = [tracks[name].last_box for _, name in sharing[requested[frame.index]]]
        return [box for box in boxes if box]

    def take(frame: Frame, faces: list[Face]) -> list[Box]:
        height, width = frame.image.shape[:2]
        boxes = []
        for moment, name in sharing[requested[frame.index]]:
            box = choose_face(faces, settings.face_choice, Scene(width, height, tracks[name].last_box))
            tracks[name].add(frame.image, box, len(faces), 1000 * (moment - spans[name][0]), frame.part)
            boxes += [box] if box else []
        return boxes

    def finish_batch() -> None:
        with result.timed("faces"):
            search.find(batch, followed, take)
        batch.clear()

    failure = "decoding ended early"
    try:
        times, wanted = [sharing[key][0][0] for key in requested], [view for _, view in requested]
        for index, image, part in _timed_views(media.video, times, wanted, result):
            # The frame size may change within a video; all images of a batch have one size.
            full = len(batch) == BATCH_SIZE or (len(batch) + 1) * image.nbytes > _BATCH_BYTES
            if batch and (full or batch[0].image.shape != image.shape):
                finish_batch()
            batch.append(Frame(index, wanted[index], image, part))
    except VideoError as error:
        failure = str(error)
    if batch:
        finish_batch()

    counts = Counter(name for shared in sharing.values() for _, name in shared)
    for name, track in tracks.items():
        result.findings += track.findings(name, counts[name], failure)
    return tracks


def _timed_views(
    video: Path | ImageSequence, times: Sequence[float], views: Sequence[str], result: Extracted
) -> Iterator[tuple[int, np.ndarray, Box]]:
    frames = images_at(video, times) if isinstance(video, ImageSequence) else frames_at(video, times)
    while True:
        with result.timed("decode"):
            item = next(frames, None)
            if item is None:
                return
            index, frame = item
            view = VIEWS[views[index]](frame)
        yield index, view, view_part(views[index], frame.shape[1], frame.shape[0])
