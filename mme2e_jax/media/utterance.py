"""Utterances, their media files, and findings about them."""

import re
from dataclasses import dataclass
from pathlib import Path

# Identifiers become parts of paths and of record keys: no separators, no leading dot, ASCII.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,127}")


@dataclass(frozen=True)
class Utterance:
    """One labelled stretch of a video.

    Attributes:
      id: unique in the release.
      video: identifier of the video, which is also the dialogue.
      start: seconds from the start of the video.
      end: seconds, above `start`; may lie past the end of the video. Infinite for all that there is.
      transcript: what is said.
      label: one 0 or 1 for each of the release's labels.
      speaker: who speaks; where a release names nobody, the video.
      view: where in the picture the speaker is, one of `framing.VIEWS`.
      channel: of the sound on which the speaker is, from 0.
      own_files: whether its media are its own and start with it, rather than its video's.
    """

    id: str
    video: str
    start: float
    end: float
    transcript: str
    label: tuple[int, ...]
    speaker: str
    view: str = "centre"
    channel: int = 0
    own_files: bool = False

    @property
    def files(self) -> str:
        """The key of its media in `Release.media`."""
        return self.id if self.own_files else self.video


@dataclass(frozen=True)
class Finding:
    """Something to tell about one utterance (or line of a file): see `report.REASONS`."""

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Pictures:
    """A video that is kept as pictures.

    Attributes:
      folder: of the pictures.
      prefix: of their names; a number from 0 and `.jpg` follow.
      fps: pictures per second.
    """

    folder: Path
    prefix: str
    fps: float


@dataclass(frozen=True)
class Media:
    """Where the media of one video lie; None where the release has no such file."""

    video: Path | Pictures | None
    wav: Path | None


def is_identifier(text: str) -> bool:
    """Whether `text` is safe as an identifier, that is, cannot name another directory."""
    return _IDENTIFIER.fullmatch(text) is not None
