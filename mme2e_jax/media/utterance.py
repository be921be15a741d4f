"""Utterances, their media files, and findings about them."""

import re
from dataclasses import dataclass
from pathlib import Path

SOUND_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")  # file name suffixes of sound files
# Identifiers become parts of paths and of record keys: no separators, no leading dot, ASCII.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,127}")


@dataclass(frozen=True)
class Utterance:
    """One labelled part of a video."""

    id: str  # identifier, unique in the release
    video: str  # identifier of the video, which is also the dialogue
    start: float  # seconds from the start of the video
    end: float  # seconds, above `start`; may lie past the end of the video. Infinite: up to the end of the media.
    transcript: str  # spoken text
    label: tuple[int, ...]  # one 0 or 1 for each label of the release
    speaker: str  # identifier of the speaker; the video's, where the release names no speaker
    view: str = "centre"  # part of the frame that shows the speaker, one of `framing.VIEWS`
    channel: int = 0  # sound channel of the speaker, from 0
    owns_media: bool = False  # whether the utterance has media files of its own, which start at its start

    @property
    def media_key(self) -> str:
        """The key of its media in `Release.media`."""
        return self.id if self.owns_media else self.video


@dataclass(frozen=True)
class Finding:
    """An observation about one utterance or one line of a file; `reason` is one of `findings.REASONS`."""

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class ImageSequence:
    """A video stored as numbered images `PREFIX0.jpg`, `PREFIX1.jpg`, ... in `folder`; `fps` is images per second."""

    folder: Path
    prefix: str
    fps: float


@dataclass(frozen=True)
class Media:
    """The media files of one video; None where the release has no such file."""

    video: Path | ImageSequence | None
    wav: Path | None


def is_identifier(text: str) -> bool:
    """Whether `text` is a safe identifier, which cannot name another directory."""
    return _IDENTIFIER.fullmatch(text) is not None
