"""Reads the transcripts and labels of a CMU-MOSEI raw release.

    Audio/WAV_16000/ID.wav              or  Audio/Full/WAV_16000/ID.wav
    Videos/Full/Combined/ID.mp4
    Transcript/Combined/ID.txt          or  Transcript/Segmented/Combined/ID.txt
    Labels/*.csv                        several batches, about three rows (annotators) a clip

A transcript line is `ID___clip___start___end___text` with times in seconds. An emotion is present if its sum over the
annotators' rows is above 0; a missing value counts as 0.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from data_tools.releases.release import (
    Release,
    ReleaseError,
    files_in,
    first_file,
    numbered_rows,
    read_text,
    require_directory,
    require_parts,
)
from mme2e_jax.constants import LABEL_NAMES
from mme2e_jax.media.transcripts import TranscriptLine, parse_transcript, read_clip_number, read_number
from mme2e_jax.media.utterance import Finding, Media, Utterance, is_identifier

_EMOTIONS = LABEL_NAMES["mosei"]
_TRANSCRIPTS = ("Transcript/Combined", "Transcript/Segmented/Combined")
_WAVS = ("Audio/WAV_16000", "Audio/Full/WAV_16000")
_VIDEOS = ("Videos/Full/Combined",)
_NOUNS = {"happy": "happiness", "sad": "sadness"}
_ANSWERS = {name: "Answer." + (_NOUNS.get(name) or name) for name in _EMOTIONS}
_COLUMNS = ("Input.VIDEO_ID", "Input.CLIP", *_ANSWERS.values())
# Mechanical Turk names these columns last, for the requester to fill in; the rows that it writes end before them.
_REVIEW = ["Approve", "Reject"]


def read_release(raw: Path) -> Release:
    """Reads the release at `raw`; raises `ReleaseError` if it has another layout, or a label file cannot be read."""
    _require_layout(raw)
    findings: list[Finding] = []
    lines: dict[tuple[str, int], TranscriptLine] = {}
    for path in _transcripts(raw):
        read, rejected = parse_transcript(read_text(path), path.stem)
        findings += rejected
        for line in read:
            key = (line.video, line.clip)
            if key in lines:
                findings.append(Finding(f"{line.video}_{line.clip}", "duplicate", path.name))
                continue
            lines[key] = line
            if "\ufffd" in line.text:
                findings.append(Finding(f"{line.video}_{line.clip}", "undecodable_text", path.name))

    labels: dict[tuple[str, int], list[float]] = {}
    for path in _label_files(raw):
        findings += _add_labels(labels, path)

    utterances, mismatches = join_labels(lines, labels)
    findings += mismatches
    media = {
        video: Media(
            video=first_file(raw / folder / f"{video}.mp4" for folder in _VIDEOS),
            wav=first_file(raw / folder / f"{video}.wav" for folder in _WAVS),
        )
        for video in sorted({utterance.video for utterance in utterances})
    }
    return Release(_EMOTIONS, utterances, media, findings)


def parse_labels(
    rows: Iterable[tuple[int, list[str]]], columns: Sequence[str], source: str
) -> tuple[list[tuple[str, int, list[float]]], list[Finding]]:
    """Parses rows of the label file named `source`: the number of a row's first line, and its cells. Never raises.

    Returns the video, the clip and the answers (in the order of the labels, NaN for an empty or missing one) of each
    readable row, and a finding named `source:line` for each other row.
    """
    parsed: list[tuple[str, int, list[float]]] = []
    findings: list[Finding] = []
    answered = len(columns) - (len(_REVIEW) if list(columns[-len(_REVIEW) :]) == _REVIEW else 0)
    for number, cells in rows:
        name, row = f"{source}:{number}", dict(zip(columns, cells, strict=False))
        # A cell more or less, which an unquoted comma makes, shifts the answers.
        if len(cells) != answered and (len(cells) < len(columns) or any(cells[len(columns) :])):
            findings.append(Finding(name, "bad_label_row", f"expected {answered} cells, found {len(cells)}"))
            continue
        video = (row.get("Input.VIDEO_ID") or "").strip().rsplit("/", 1)[-1]
        clip = read_clip_number(row.get("Input.CLIP") or "")
        answers = [_answer(row.get(column)) for column in _ANSWERS.values()]
        if not is_identifier(video):
            findings.append(Finding(name, "bad_id", repr(row.get("Input.VIDEO_ID"))[:80]))
        elif clip is None or None in answers:
            found = {column: row.get(column) for column in _COLUMNS[1:]}
            findings.append(Finding(name, "bad_label_row", f"expected numbers: {found}"[:200]))
        else:
            parsed.append((video, clip, [a for a in answers if a is not None]))
    return parsed, findings


def join_labels(
    lines: dict[tuple[str, int], TranscriptLine], labels: dict[tuple[str, int], list[float]]
) -> tuple[list[Utterance], list[Finding]]:
    """Joins transcript lines and summed answers (NaN without any answer) by (video, clip)."""
    utterances: list[Utterance] = []
    findings: list[Finding] = []
    for key in sorted(lines.keys() | labels.keys()):
        name = f"{key[0]}_{key[1]}"
        if key not in lines or key not in labels:
            reason = "label_without_transcript" if key in labels else "transcript_without_label"
            findings.append(Finding(name, reason))
            continue
        line, sums = lines[key], labels[key]
        if all(math.isnan(value) for value in sums):
            findings.append(Finding(name, "no_answers"))
            continue
        start = max(line.start, 0.0)
        if line.end <= start:
            findings.append(Finding(name, "bad_times", f"{line.start:g} s to {line.end:g} s"))
            continue
        if line.start < 0:
            findings.append(Finding(name, "negative_start", f"{line.start:g} s"))
        if not line.text:
            findings.append(Finding(name, "empty_transcript"))
        label = tuple(int(value > 0) for value in sums)
        utterances.append(Utterance(name, line.video, start, line.end, line.text, label, speaker=line.video))
    return utterances, findings


def _add_labels(labels: dict[tuple[str, int], list[float]], path: Path) -> list[Finding]:
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = numbered_rows(file, path)
        _, columns = next(rows, (1, []))
        if missing := [column for column in _COLUMNS if column not in columns]:
            raise ReleaseError(
                f"Label file {path}: expected the columns {', '.join(_COLUMNS)}; missing {', '.join(missing)}."
            )
        parsed, findings = parse_labels(rows, columns, path.name)
    for video, clip, answers in parsed:
        sums = labels.get((video, clip), [math.nan] * len(answers))
        # NaN stands for no answer.
        labels[video, clip] = [
            a if math.isnan(s) else s if math.isnan(a) else s + a for s, a in zip(sums, answers, strict=True)
        ]
    return findings


def _transcripts(raw: Path) -> list[Path]:
    """The transcript files, sorted by name; the first folder takes precedence."""
    by_name = {path.name: path for folder in reversed(_TRANSCRIPTS) for path in files_in(raw / folder, "*.txt")}
    return [path for _, path in sorted(by_name.items())]


def _require_layout(raw: Path) -> None:
    expected = (
        f"{_VIDEOS[0]}/ID.mp4, {_WAVS[0]}/ID.wav (or {_WAVS[1]}), {_TRANSCRIPTS[0]}/ID.txt "
        f"(or {_TRANSCRIPTS[1]}), Labels/*.csv"
    )
    require_directory(raw, expected)
    parts = {
        "transcripts": bool(_transcripts(raw)),
        "labels": bool(_label_files(raw)),
        "videos or sound": any(any((raw / name).glob("*")) for name in (*_VIDEOS, *_WAVS)),
    }
    require_parts(raw, "a CMU-MOSEI raw release", expected, parts, "these folders")


def _label_files(raw: Path) -> list[Path]:
    return files_in(raw / "Labels", "*.csv")


def _answer(text: str | None) -> float | None:
    """The number in a cell; NaN for an empty cell, None for invalid text."""
    stripped = (text or "").strip()
    if not stripped or stripped.lower() == "nan":
        return math.nan
    value = read_number(stripped)
    return value if math.isfinite(value) else None
