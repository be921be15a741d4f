"""Video frames at exact times, from one pass over the file."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

# Times in transcripts are rounded, to as little as a millisecond; a frame that starts within this
# of the asked time is meant.
TIME_TOLERANCE_S = 1e-3
# Over a longer gap between wanted frames, going to the keyframe before the next one is faster than decoding all.
_SEEK_S = 8.0
# Pictures are not stored in the order they are shown: what is sought lies this much before what is wanted.
_LEAD_S = 1.0
# Containers whose times are exact after seeking; those of AVI, with frames packed together, need not be.
_INDEXED = ("mp4", "matroska")


class VideoError(ValueError):
    """A video that cannot be opened, holds no pictures, or breaks while it is decoded."""


def sample_times(start: float, end: float, interval_ms: float) -> list[float]:
    """The times of an utterance's frames: `start + k * interval` for k = 0, 1, .. while below `end`.

    Args:
      start, end: of the utterance, in seconds.
      interval_ms: above 0, in milliseconds.

    Returns:
      times in seconds, ascending; the first is `start` unless the utterance is empty.
    """
    times: list[float] = []
    while (time := start + len(times) * interval_ms / 1000) < end - TIME_TOLERANCE_S:
        times.append(time)
    return times


def video_duration(path: Path) -> float:
    """The length of the picture track in seconds (`stated_seconds`).

    Raises:
      VideoError: the file cannot be opened, or has no picture track with a known length.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("no picture track")
            seconds = stated_seconds(container, container.streams.video[0])
            if seconds is None:
                raise VideoError("unknown length")
            return seconds
    except (FFmpegError, OSError) as error:
        raise VideoError(_describe(error)) from error


def stated_seconds(container: InputContainer, stream: av.VideoStream | av.AudioStream) -> float | None:
    """The length of a track as it is stated, or else that of its file, or else up to the end of its last packet.

    Recorders of live video (browsers', for instance) state none. None where packets have no times either.
    """
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    zero = max((container.start_time or 0) / av.time_base, 0.0)
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base) - zero
        for packet in container.demux(stream)
        if packet.pts is not None
    ]
    return max(ends, default=None)


def frames_at(path: Path, times: Sequence[float]) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes a video once and yields the frame on screen at each asked time.

    That is the last frame which starts at or before the time (one millisecond later counts as
    well), or the first frame, for a time before it. A frame stays on screen for its duration;
    times after the last frame's end have none and are left out. Decoding stops at the last time, and
    leaves long gaps between times out.

    Args:
      path: the video.
      times: seconds from the start of the file, ascending.

    Yields:
      (i, frame): for each `times[i]` in order, the frame as uint8 RGB `[height, width, 3]`.

    Raises:
      VideoError: the file cannot be opened or a part of it cannot be decoded; everything before
        that part has been yielded.
    """
    asked = 0
    try:
        for asked, picture in _decode(path, times, seeking=True):
            yield asked, picture
            asked += 1
    except _Lost:
        for place, picture in _decode(path, times[asked:], seeking=False):
            yield asked + place, picture


class _Lost(Exception):
    """Seeking did not lead to where it should."""


def _decode(path: Path, times: Sequence[float], *, seeking: bool) -> Iterator[tuple[int, np.ndarray]]:
    """As `frames_at`; raises `_Lost` where seeking skips a wanted frame, before anything wrong is yielded."""
    if not times:
        return
    asked = 0
    shown: av.VideoFrame | None = None
    sought = False
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise VideoError("no picture track")
            stream = container.streams.video[0]
            # Workers are processes already; threads of the decoder would only compete with them.
            stream.codec_context.thread_count = 1
            # Broadcast recordings start at any time; a slightly negative start is the encoder's
            # lead-in of the sound, which players skip.
            zero = max((container.start_time or 0) / av.time_base, 0.0)
            seeking = seeking and any(name in container.format.name.split(",") for name in _INDEXED)
            frames = container.decode(stream)
            while (frame := next(frames, None)) is not None:
                if frame.time is None:
                    continue
                time = frame.time - zero
                if sought:
                    if time > times[asked]:
                        raise _Lost
                    # Where keyframes are that far apart, seeking again would decode the same once more.
                    seeking = shown is None or shown.time is None or time > shown.time - zero
                    sought = False
                while asked < len(times) and time > times[asked] + TIME_TOLERANCE_S:
                    yield asked, (shown or frame).to_ndarray(format="rgb24")
                    asked += 1
                if asked == len(times):
                    return
                shown = frame
                if seeking and times[asked] - time > _SEEK_S:
                    container.seek(int((times[asked] - _LEAD_S + zero) * av.time_base), backward=True)
                    frames, sought = container.decode(stream), True
            if sought:
                raise _Lost
            if shown is not None and shown.time is not None:
                end = shown.time - zero + _frame_seconds(shown, stream)
                while asked < len(times) and times[asked] < end:
                    yield asked, shown.to_ndarray(format="rgb24")
                    asked += 1
    except (FFmpegError, OSError) as error:
        if sought:
            raise _Lost from error
        raise VideoError(_describe(error)) from error


def _frame_seconds(frame: av.VideoFrame, stream: av.VideoStream) -> float:
    if frame.duration and frame.time_base is not None:
        return float(frame.duration * frame.time_base)
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _describe(error: Exception) -> str:
    # FFmpeg's texts end with the path, which is named elsewhere and differs between machines.
    return getattr(error, "strerror", None) or type(error).__name__
