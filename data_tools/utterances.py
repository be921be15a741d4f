"""What a raw release says about an utterance, before any media file is opened."""

import re
from dataclasses import dataclass, field
from pathlib import Path

# Identifiers become parts of paths and of record keys: no separators, no leading dot, ASCII.
_IDENTIFIER = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,127}")


class ReleaseError(ValueError):
    """A raw release that cannot be used at all; the message says what is expected and found."""


@dataclass(frozen=True)
class Utterance:
    """One labelled stretch of a video.

    Attributes:
      video: identifier of the video, also of the dialogue and (MOSEI names none) the speaker.
      clip: number of the utterance in its video.
      start: seconds from the start of the video.
      end: seconds, above `start`; may lie past the end of the video.
      transcript: what is said.
      label: one 0 or 1 for each of `records.LABEL_NAMES`.
    """

    video: str
    clip: int
    start: float
    end: float
    transcript: str
    label: tuple[int, ...]

    @property
    def id(self) -> str:
        return f"{self.video}_{self.clip}"


@dataclass(frozen=True)
class Finding:
    """Something to tell about one utterance (or line of a file): see `report.REASONS`."""

    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Media:
    """Where the media of one video lie; None where the release has no such file."""

    video: Path | None
    wav: Path | None


@dataclass
class Release:
    """The readable part of a raw release.

    Attributes:
      utterances: usable as far as the texts tell, ordered by video and clip.
      media: for each video of `utterances`.
      findings: what was left out or repaired.
    """

    utterances: list[Utterance] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def is_identifier(text: str) -> bool:
    """Whether `text` is safe as an identifier, that is, cannot name another directory."""
    return _IDENTIFIER.fullmatch(text) is not None
