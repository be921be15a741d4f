"""Reads video frames at exact times in one pass over the file."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

# Times in transcripts are rounded to a millisecond at best: a frame that starts within this time after the requested
# time is the requested one.
TIME_TOLERANCE_S = 1e-3
# No recording of speech is longer; a file that states more is damaged or hostile.
LONGEST_S = 48 * 3600.0
# No codec needs fewer for speech or moving pictures; a file that states a longer time is damaged or hostile.
LEAST_BYTES_PER_S = 16
# Those of 8K video, with some room. A few bytes can state any size, and every pixel takes memory.
MOST_PIXELS = 40_000_000
# Sound encoders start up to this much before 0. Broadcast recordings start at any time, even a minute before 0, where
# their clock returns to 0.
_PRIMING_S = 0.5
# Over longer gaps between requested frames, seeking to the keyframe before the next one is faster than decoding.
_SEEK_S = 8.0
# Frames are not stored in display order: seeking aims this much before the requested time.
_LEAD_S = 1.0
# AVI files with packed frames do not have exact times after seeking; FFmpeg estimates the lengths of many others.
_INDEXED = ("mp4", "matroska")
_DURATION = re.compile(r"(\d{1,9}):(\d\d):(\d\d(?:\.\d*)?)")


class VideoError(ValueError):
    """A video that cannot be opened, has no frames, or cannot be decoded to its end."""


def sample_times(start: float, end: float, interval_ms: float) -> list[float]:
    """The times of an utterance's frames in seconds: `start + k * interval` for k = 0, 1, .. while below `end`."""
    times: list[float] = []
    while (time := start + len(times) * interval_ms / 1000) < end - TIME_TOLERANCE_S:
        times.append(time)
    return times


def video_duration(path: Path) -> float:
    """The length of the video track in seconds (`track_duration`).

    Raises `VideoError` if the file cannot be opened, or has no video track of known length up to `LONGEST_S`.
    """
    try:
        with open_media(path) as container:
            if (stream := picture_track(container)) is None:
                raise VideoError("no video track")
            seconds = track_duration(container, stream)
            if seconds is None:
                raise VideoError("unknown length")
            return seconds
    except (FFmpegError, OSError) as error:
        raise VideoError(_describe(error)) from error


def open_media(path: Path) -> InputContainer:
    """Opens a video or sound file, whose texts need not be UTF-8; raises FFmpegError or OSError if it cannot."""
    return av.open(str(path), metadata_errors="replace")


def require_size(width: int, height: int) -> None:
    """Raises `VideoError` for pictures of more than `MOST_PIXELS`."""
    if width * height > MOST_PIXELS:
        raise VideoError(f"pictures of {width} x {height}, expected at most {MOST_PIXELS} pixels")


def picture_track(container: InputContainer) -> av.VideoStream | None:
    """The first video track that is not the cover of an album; None if there is none."""
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def start_time(container: InputContainer) -> float:
    """The time in seconds of the file's clock that counts as 0: its start, without the priming of a sound encoder."""
    seconds = (container.start_time or 0) / av.time_base
    return 0.0 if -_PRIMING_S < seconds < 0 else seconds


def track_duration(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> float | None:
    """The stated length of a track in seconds, else that of its file, else the end of its last packet.

    Matroska files state it in a tag. Recorders of live video (browsers, for instance) state no length. None if the
    packets have no times either. Raises `VideoError` as `require_length`.
    """
    seconds = stated_duration(container, stream)
    if seconds is None:
        seconds = _packets_end(container, stream)
    if seconds is not None:
        require_length(seconds, container.size)
    return seconds


def require_length(seconds: float, size: int) -> None:
    """Raises `VideoError` for a length above `LONGEST_S`, or too long for a file of `size` bytes."""
    if not seconds <= LONGEST_S:
        raise VideoError(f"a length of {seconds:g} s, expected at most {LONGEST_S:g} s")
    if seconds * LEAST_BYTES_PER_S > max(size, 1000 * LEAST_BYTES_PER_S):
        raise VideoError(f"a length of {seconds:g} s in {size} bytes, expected {LEAST_BYTES_PER_S} a second")


def stated_duration(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> float | None:
    """The length of a track in seconds that the file states; None if it states none."""
    # First, as FFmpeg estimates `stream.duration` of these files by their longest track. The tag of a recording that
    # starts later may or may not include the time before.
    starts_at_zero = start_time(container) == 0
    if starts_at_zero and (found := _DURATION.fullmatch(stream.metadata.get("DURATION", ""))):
        hours, minutes, seconds = found.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if stream.duration is not None and stream.time_base is not None:
        # A track may start later than others.
        late = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base) - start_time(container)
        return late + float(stream.duration * stream.time_base)
    # The length of the file is that of its longest track.
    if starts_at_zero and container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _packets_end(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> float | None:
    zero = start_time(container)
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero
        for packet in container.demux(stream)
        if packet.pts is not None
    ]
    return max(ends, default=None)


def is_indexed(container: InputContainer) -> bool:
    """Whether the file's times are exact: those that it states, and those after seeking."""
    return any(name in container.format.name.split(",") for name in _INDEXED)


def frames_at(path: Path, times: Sequence[float]) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes a video once and yields (i, frame) for each `times[i]` (seconds from its start, ascending), uint8 RGB.

    That is the last frame that starts at or up to a millisecond after the time, or the first frame for earlier times. A
    frame is shown for its duration; times after the end of the last frame are omitted. Decoding stops at the last time
    and skips long gaps between times.

    Raises `VideoError` if the file cannot be opened or a part cannot be decoded, after all frames before it.
    """
    done = 0
    try:
        for done, frame in _decode(path, times, seeking=True):
            yield done, frame
            done += 1
    except _SeekError:
        for i, frame in _decode(path, times[done:], seeking=False):
            yield done + i, frame


class _SeekError(Exception):
    """Seeking skipped a requested frame."""


def _decode(path: Path, times: Sequence[float], *, seeking: bool) -> Iterator[tuple[int, np.ndarray]]:
    """As `frames_at`; raises `_SeekError` where seeking skips a requested frame, before a wrong frame is yielded."""
    if not times:
        return
    done = 0
    shown: av.VideoFrame | None = None
    sought = False
    try:
        with open_media(path) as container:
            if (stream := picture_track(container)) is None:
                raise VideoError("no video track")
            if stream.codec_context is None:
                raise VideoError("no decoder for its codec")
            require_size(stream.codec_context.width, stream.codec_context.height)
            # For sizes that change within the file.
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
            # Workers are processes already; decoder threads would compete with them.
            stream.codec_context.thread_count = 1
            zero = start_time(container)
            seeking = seeking and is_indexed(container)
            frames = container.decode(stream)
            while (frame := next(frames, None)) is not None:
                if frame.time is None:
                    continue
                time = frame.time - zero
                if sought:
                    if time > times[done]:
                        raise _SeekError
                    # With keyframes this far apart, further seeking would decode the same frames again.
                    seeking = shown is None or shown.time is None or time > shown.time - zero
                    sought = False
                while done < len(times) and time > times[done] + TIME_TOLERANCE_S:
                    yield done, _upright(shown or frame)
                    done += 1
                if done == len(times):
                    return
                shown = frame
                if seeking and times[done] - time > _SEEK_S:
                    container.seek(int((times[done] - _LEAD_S + zero) * av.time_base), backward=True)
                    frames, sought = container.decode(stream), True
            if sought:
                raise _SeekError
            if shown is not None and shown.time is not None:
                end = shown.time - zero + _frame_seconds(shown, stream)
                while done < len(times) and times[done] < end:
                    yield done, _upright(shown)
                    done += 1
    except (FFmpegError, OSError) as error:
        if sought:
            raise _SeekError from error
        raise VideoError(_describe(error)) from error


def _upright(frame: av.VideoFrame) -> np.ndarray:
    """The frame as uint8 RGB, turned as its metadata says: phones store portrait videos lying on their side."""
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))


def _frame_seconds(frame: av.VideoFrame, stream: av.VideoStream) -> float:
    if frame.duration and frame.time_base is not None:
        return float(frame.duration * frame.time_base)
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _describe(error: Exception) -> str:
    # FFmpeg's messages end with the path, which differs between machines.
    return getattr(error, "strerror", None) or type(error).__name__
