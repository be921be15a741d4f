"""Parses transcript lines of CMU-MOSEI: ID___clip___start___end___text."""

import math
import re
from dataclasses import dataclass

from mme2e_jax.media.utterance import Finding, is_identifier

_CLIP_NUMBER = re.compile(r"[0-9]{1,9}(\.0*)?")


@dataclass(frozen=True)
class TranscriptLine:
    """One line of a transcript; `start` and `end` are seconds, and `start` may be negative."""

    video: str
    clip: int
    start: float
    end: float
    text: str


def parse_transcript(text: str, stem: str) -> tuple[list[TranscriptLine], list[Finding]]:
    """Parses the content of the transcript file `stem`.txt; blank lines are skipped. Never raises.

    `stem`, the video's identifier, resolves those ending with underscores. Bad lines give findings `stem:line number`.
    """
    lines: list[TranscriptLine] = []
    findings: list[Finding] = []
    # Only line feeds end a line: str.splitlines also splits at characters that transcripts contain.
    for number, raw_line in enumerate(text.split("\n"), start=1):
        line = raw_line.strip("\r")
        if not line.strip():
            continue
        parsed = _parse_line(line, stem)
        if isinstance(parsed, TranscriptLine):
            lines.append(parsed)
        else:
            findings.append(Finding(f"{stem}:{number}", *parsed))
    return lines, findings


def _parse_line(line: str, stem: str) -> TranscriptLine | tuple[str, str]:
    prefix = f"{stem}___"
    fields = [stem, *line[len(prefix) :].split("___", 3)] if line.startswith(prefix) else line.split("___", 4)
    if len(fields) != 5:
        return "bad_transcript_line", f"expected 5 fields between '___', found {len(fields)}"
    video, clip, start, end, text = fields
    if not is_identifier(video):
        return "bad_id", repr(video[:80])
    number, times = read_clip_number(clip), (read_number(start), read_number(end))
    if number is None or not all(math.isfinite(time) for time in times):
        return "bad_transcript_line", f"expected clip, start and end as numbers: {line[:80]!r}"
    return TranscriptLine(video, number, *times, " ".join(text.split()))


def read_clip_number(text: str) -> int | None:
    """The whole number that `text` holds, or None."""
    text = text.strip()
    return int(float(text)) if _CLIP_NUMBER.fullmatch(text) else None


def read_number(text: str) -> float:
    """The number that `text` holds, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan
