"""Divides a clip into utterances: cues of a transcript, or equal windows."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mme2e_jax.errors import UserError

WINDOW_SECONDS = 10.0
# A file of ten seconds states slightly more: sound comes in packets, and the last picture has a duration.
LONGEST_WINDOW_SECONDS = WINDOW_SECONDS + 0.1
# No utterance of CMU-MOSEI is longer; the memory that a model needs grows with the length.
LONGEST_CUE_SECONDS = 120.0
SHORTEST_WINDOW_SECONDS = 0.1
SUFFIXES = (".srt", ".vtt", ".txt")
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_TAG = re.compile(r"<[^>]*>")
_ESCAPES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&nbsp;": " ", "&lrm;": "", "&rlm;": ""}


@dataclass(frozen=True)
class Cue:
    """A text and its time."""

    start: float  # seconds from the start of the clip
    end: float  # the same; infinite for the end of the clip
    text: str  # spoken words; may be empty


def windows(duration: float, text: str) -> list[Cue]:
    """Returns equal windows of at most `LONGEST_WINDOW_SECONDS`, each with the whole text; the last has no end."""
    return _divided(Cue(0.0, math.inf, text), duration, LONGEST_WINDOW_SECONDS)


def sliding_windows(duration: float, text: str, window: float, hop: float) -> list[Cue]:
    """Windows of `window` seconds, one every `hop` seconds, each with the whole text; the last ends with the clip."""
    count = max(math.ceil((duration - window) / hop - 1e-6), 0)
    return [*(Cue(k * hop, k * hop + window, text) for k in range(count)), Cue(count * hop, math.inf, text)]


def check_windows(window: float, hop: float) -> None:
    """Raises `UserError` if windows of these lengths in seconds cannot be used."""
    if not (SHORTEST_WINDOW_SECONDS <= window <= LONGEST_CUE_SECONDS and SHORTEST_WINDOW_SECONDS <= hop <= window):
        raise UserError(
            f"Expected a window of {SHORTEST_WINDOW_SECONDS:g} to {LONGEST_CUE_SECONDS:g} seconds and "
            f"a hop of {SHORTEST_WINDOW_SECONDS:g} seconds up to the window, found {window:g} and {hop:g}."
        )


def read_cues(path: Path, clip: str) -> list[Cue]:
    """Reads a transcript with times: `.srt`, `.vtt`, or `.txt` with lines `ID___clip___start___end___text`.

    Of lines that name several videos, those of `clip`, the name of the clip without its suffix, are used. Returns at
    least one cue, in the order of time; raises `UserError`, which names the line, if the transcript is invalid.
    """
    text = read_text(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"Expected a transcript file {', '.join(SUFFIXES)} (.txt with lines "
            f"ID___clip___start___end___text), found {path.name!r}. Give text without times as the transcript itself."
        )
    cues = _mosei_cues(text, path, clip) if suffix == ".txt" else _subtitle_cues(text, path)
    if not cues:
        raise UserError(f"Expected cues in {path}, found none.")
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def read_text(path: Path) -> str:
    """Reads a text file in UTF-8; raises `UserError` if it cannot be read or has another encoding."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"Expected a transcript file, found {str(path)!r}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"Expected text in UTF-8, found an invalid byte {error.start} in {path}. Save it as UTF-8."
        ) from error


def split_long_cues(cues: Sequence[Cue], seconds: float) -> list[Cue]:
    """Divides cues longer than `LONGEST_CUE_SECONDS` within a clip of `seconds` into equal parts with the same text."""
    parts = [part for cue in cues for part in _divided(cue, min(cue.end, seconds), LONGEST_CUE_SECONDS)]
    return sorted(parts, key=lambda cue: (cue.start, cue.end))


def _divided(cue: Cue, end: float, longest: float) -> list[Cue]:
    count = max(math.ceil((end - cue.start) / longest - 1e-6), 1)
    step = (end - cue.start) / count
    starts = [cue.start + i * step for i in range(count)]
    return [Cue(a, b, cue.text) for a, b in zip(starts, [*starts[1:], cue.end], strict=True)]


def _subtitle_cues(text: str, path: Path) -> list[Cue]:
    """Parses SubRip and WebVTT: blocks between blank lines, each with a line of times, then the text.

    In WebVTT, a line of spaces is text; YouTube's captions hold such lines.
    """
    vtt = path.suffix.lower() == ".vtt"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if vtt and not re.match(r"WEBVTT(\s|$)", lines[0]):
        raise UserError(f"{path}: expected WEBVTT in the first line of a .vtt file, found {lines[0][:60]!r}.")
    if not vtt:
        lines = [line.strip() and line for line in lines]
    # The header of WebVTT ends at a blank line.
    first = next((i for i, line in enumerate(lines) if not line or "-->" in line), len(lines)) if vtt else 0
    cues, number, skipping = [], first, False
    while number < len(lines):
        line = lines[number]
        number += 1
        if vtt and re.match(r"(NOTE|STYLE|REGION)(\s|$)", line):
            skipping = True
        elif not line:
            skipping = False
        if skipping or not line.strip() or _is_name(lines, number, vtt):
            continue
        start, end = _times(line, path, number)
        words = []
        # The next cue may follow without a blank line, its number first.
        while number < len(lines) and lines[number] and not _TIMES.fullmatch(lines[number]):
            words.append(lines[number])
            number += 1
        if words and words[-1].strip().isdigit() and number < len(lines) and lines[number]:
            words.pop()
        cues.append(Cue(start, end, _plain(" ".join(words))))
    return cues


def _is_name(lines: Sequence[str], number: int, vtt: bool) -> bool:
    """Whether the line before `number` is the number of a cue, or its name in WebVTT; the line of times follows."""
    line = lines[number - 1]
    if "-->" in line:
        return False
    following = lines[number : number + 3]
    if line.strip().isdigit():
        # Some programs write blank lines after the number. If no times follow, times that are wrong are named.
        return any(following[:1]) or "-->" in "".join(following)
    # In SubRip it is text after a blank line, which would be lost.
    return vtt and "-->" in "".join(following[:1])


def _times(line: str, path: Path, number: int) -> tuple[float, float]:
    found = _TIMES.fullmatch(line)
    if found is None:
        raise UserError(
            f"{path}, line {number}: expected the times of a cue, like 00:01:02.500 --> 00:01:04.000, found "
            f"{line.strip()[:80]!r}."
        )
    start, end = (
        int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(part.ljust(3, "0")) / 1000
        for hours, minutes, seconds, part in (found.groups()[:4], found.groups()[4:])
    )
    if end <= start:
        raise UserError(
            f"{path}, line {number}: expected a cue that ends after it starts, found {line.strip()[:80]!r}."
        )
    return start, end


def _plain(text: str) -> str:
    text = _TAG.sub("", text)
    for escape, character in _ESCAPES.items():
        text = text.replace(escape, character)
    return " ".join(text.split())


def _mosei_cues(text: str, path: Path, clip: str) -> list[Cue]:
    from mme2e_jax.media.transcripts import parse_transcript

    lines, findings = parse_transcript(text, clip)
    if findings:
        first = findings[0]
        raise UserError(
            f"{path}, line {first.id.rpartition(':')[2]}: expected ID___clip___start___end___text with times in "
            f"seconds; {first.detail}."
        )
    videos = {line.video for line in lines}
    if len(videos) > 1:
        lines = [line for line in lines if line.video == clip]
        if not lines:
            raise UserError(f"{path}: expected lines of {clip!r}, found those of {', '.join(sorted(videos)[:5])}.")
    for line in lines:
        if line.end <= max(line.start, 0.0):
            raise UserError(
                f"{path}: clip {line.clip} does not end after it starts: {line.start:g} s to {line.end:g} s."
            )
    return [Cue(max(line.start, 0.0), line.end, line.text) for line in lines]
