"""Reads clips ahead of the model, several at a time."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mme2e_jax.errors import UserError
from mme2e_jax.predict.clip_reader import Clip, ClipPart, ClipReader, open_clip
from mme2e_jax.predict.cues import Cue, read_cues, sliding_windows, split_long_cues, windows
from mme2e_jax.predict.transcribe import Speech, Transcriber
from mme2e_jax.runtime.files import valid_unicode


class ClipRequest(NamedTuple):
    """A clip to predict, and its words; see `Predictor.__call__`."""

    path: str | Path
    transcript: str = ""
    transcript_file: str | Path | None = None

    @property
    def has_words(self) -> bool:
        """Whether words are given, so that none are recognised."""
        return bool(self.transcript.strip()) or self.transcript_file is not None


class OpenedClip(NamedTuple):
    """A clip whose tracks and transcript can be read."""

    request: ClipRequest
    clip: Clip
    cues: list[Cue]
    divided: int  # number of cues of the transcript, before long ones were divided; 0 for windows
    note: str = ""  # sentence about recognised speech


class _Item(NamedTuple):
    opened: OpenedClip | Exception
    parts: list[ClipPart] | Exception  # media of successive cues, or why there are no more
    last: bool


@dataclass
class _Reading:
    """A clip that is being read."""

    place: int  # of its process
    items: Iterator[_Item]
    upcoming: Future[_Item]
    ended: bool = False


def cut_into_cues(
    clip: Clip, request: ClipRequest, window: float | None, hop: float, speech: Speech | None = None
) -> OpenedClip:
    """Divides a clip into cues of its transcript file or its recognised speech, else into windows.

    Raises `UserError` as `read_cues`.
    """
    if speech is not None and speech.cues:
        return OpenedClip(request, clip, split_long_cues(speech.cues, clip.seconds), len(speech.cues), speech.note)
    if request.transcript_file is None:
        words = " ".join(valid_unicode(request.transcript).split())
        cues = sliding_windows(clip.seconds, words, window, hop) if window else windows(clip.seconds, words)
        return OpenedClip(request, clip, cues, 0, speech.note if speech else "")
    if request.transcript:
        raise UserError("Expected a transcript or a transcript file, found both.")
    read = read_cues(Path(request.transcript_file), clip.path.stem)
    return OpenedClip(request, clip, split_long_cues(read, clip.seconds), len(read))


@contextmanager
def read_ahead(
    reader: ClipReader,
    requests: Iterable[ClipRequest],
    window: float | None,
    hop: float,
    settings: Mapping[str, Any],
    quiet: Sequence[str],
    transcriber: Transcriber | None = None,
) -> Iterator[Iterator[tuple[OpenedClip | Exception, Iterator[ClipPart]]]]:
    """Yields the clips in order, each with its media.

    Each process of the reader has one clip and reads the next five minutes of it while the last ones are in use. An
    exception takes the place of a clip that cannot be opened; the media of one that cannot be read raise it.
    `settings` and `quiet` as for `ClipReader.read`. `transcriber` recognises the words of clips without any.
    """

    def read(request: ClipRequest, place: int) -> Iterator[_Item]:
        opened = None
        try:
            clip, speech = open_clip(request.path), None
            if transcriber and not request.has_words:
                speech = transcriber.recognize(
                    lambda a, b: reader.read_speech(clip, a, b, place), clip.seconds, stopped.is_set
                )
            opened = cut_into_cues(clip, request, window, hop, speech)
            left = len(opened.cues)
            for parts in reader.read(opened.clip, opened.cues, settings, quiet, place):
                left -= len(parts)
                yield _Item(opened, parts, last=not left)
        except Exception as error:
            yield _Item(opened or error, error, last=True)

    requests, stopped = iter(requests), threading.Event()
    readings: deque[_Reading] = deque()
    with ThreadPoolExecutor(reader.processes) as threads:

        def start(place: int) -> None:
            if (request := next(requests, None)) is not None:
                items = read(request, place)
                readings.append(_Reading(place, items, threads.submit(next, items)))

        def take(reading: _Reading) -> _Item:
            item = reading.upcoming.result()
            if item.last:
                reading.ended = True
                start(reading.place)
            else:
                reading.upcoming = threads.submit(next, reading.items)
            return item

        def parts(reading: _Reading, item: _Item) -> Iterator[ClipPart]:
            while not isinstance(item.parts, Exception):
                yield from item.parts
                if item.last:
                    return
                item = take(reading)
            raise item.parts

        def clips() -> Iterator[tuple[OpenedClip | Exception, Iterator[ClipPart]]]:
            while readings:
                first = take(readings[0])
                yield first.opened, parts(readings[0], first)
                # The last one may have failed before its end.
                ended = readings.popleft()
                if not ended.ended:
                    ended.upcoming.result()
                    start(ended.place)

        for place in range(reader.processes):
            start(place)
        try:
            yield clips()
        finally:
            # The executor waits for its threads, and recognition takes long.
            stopped.set()
