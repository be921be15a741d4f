"""Reads a table of clips for a user's own data.

    path,transcript,start,end,split,happy,sad          (clips.csv; the last two are labels)
    a/monday.mp4,"Good morning.",0.5,2.25,train,1,0
    a/monday.mp4,"I lost it.",2.25,4,train,0,1
    b.wav,"No picture.",,,test,0,0

`path` is relative to the table: a video or a sound file. The sound of a video is the wav file of the same name next to
it, or the video's own track. `start` and `end` are seconds; without them the clip is the whole file. `split` is train,
valid or test; without the column videos are divided at random. `id` and `speaker` are optional. Every other column is a
label, 0 or 1 in each row.
"""

import csv
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_tools.releases.release import Release, ReleaseError, first_file, listing
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.transcripts import read_number
from mme2e_jax.media.utterance import SOUND_SUFFIXES, Finding, Media, Utterance, is_identifier

TABLE = "clips.csv"
_REQUIRED = ("path", "transcript")
_OPTIONAL = ("start", "end", "split", "id", "speaker")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]")


@dataclass(frozen=True)
class Clip:
    """One readable row; `path` lies below the table's directory."""

    utterance: Utterance
    path: PurePosixPath
    split: str


def read_release(raw: Path) -> Release:
    """Reads the table `raw`, or `clips.csv` in the directory `raw`.

    Raises `ReleaseError` if there is no such table, it lacks columns, or no column is a label.
    """
    table = raw / TABLE if raw.is_dir() else raw
    if not table.is_file():
        found = f"in {raw}: {listing(raw)}" if raw.is_dir() else "nothing"
        raise ReleaseError(
            f"Expected the table {table} with the columns {', '.join(_REQUIRED)} and one for each label; found {found}."
        )
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = csv.DictReader(file)
            labels = _label_columns(list(rows.fieldnames or ()), table)
            clips, findings = parse_rows(list(rows), labels, table.name)
    except csv.Error as error:
        raise ReleaseError(f"Table {table}: expected comma-separated values, found: {error}.") from error
    media = {clip.utterance.video: _media(table.parent / clip.path) for clip in clips}
    splits = {clip.utterance.id: clip.split for clip in clips if clip.split}
    return Release(labels, [clip.utterance for clip in clips], media, findings, splits or None)


def parse_rows(
    rows: list[dict[str, str | None]], labels: tuple[str, ...], source: str
) -> tuple[list[Clip], list[Finding]]:
    """Parses the rows of the table named `source`, values by column name. Never raises.

    Each unreadable row gives a finding named `source:row number`; the header is row 1.
    """
    clips: list[Clip] = []
    findings: list[Finding] = []
    clip_counts: Counter[str] = Counter()
    files: dict[str, PurePosixPath] = {}
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        values = {column: (value or "").strip() for column, value in row.items() if isinstance(value, str | None)}
        path = PurePosixPath(values.get("path", "").replace("\\", "/"))
        video = _UNSAFE.sub("_", "-".join(path.with_suffix("").parts)).lstrip(".") if path.name else ""
        name = values.get("id") or f"{video}_{clip_counts[video]}"
        clip_counts[video] += 1
        problem = _problem(values, labels, path, video, name)
        if problem is None and files.setdefault(video, path) != path:
            problem = ("bad_id", f"{path} and {files[video]} would both be named {video}; rename one of the files")
        if problem is None and name in seen:
            problem = ("duplicate", name)
        if problem is not None:
            findings.append(Finding(f"{source}:{number}", *problem))
            continue
        seen.add(name)
        start, end = _times(values)
        if start < 0:
            findings.append(Finding(name, "negative_start", f"{start:g} s"))
        text = " ".join(values.get("transcript", "").split())
        if not text:
            findings.append(Finding(name, "empty_transcript"))
        elif "\ufffd" in text:
            findings.append(Finding(name, "undecodable_text", source))
        label = tuple(int(float(values[column])) for column in labels)
        speaker = values.get("speaker") or video
        utterance = Utterance(name, video, max(start, 0.0), end, text, label, speaker)
        clips.append(Clip(utterance, path, values.get("split", "")))
    return clips, findings


def _problem(
    values: dict[str, str], labels: tuple[str, ...], path: PurePosixPath, video: str, name: str
) -> tuple[str, str] | None:
    """The reason and the detail that make a row unusable; None for a usable row."""
    if path.is_absolute() or ".." in path.parts or ":" in str(path):
        return "bad_id", f"expected a path below the table's directory: {str(path)[:80]!r}"
    for what, text in (("path", video), ("id", name)):
        if not is_identifier(text):
            return "bad_id", f"expected letters, digits and . _ - in the {what}: {text[:80]!r}"
    start, end = _times(values)
    if math.isnan(start) or math.isnan(end) or math.isinf(start):
        return "bad_row", f"expected seconds, found start {values.get('start')!r} and end {values.get('end')!r}"
    if end <= max(start, 0.0):
        return "bad_times", f"{start:g} s to {end:g} s"
    wrong = {column: values.get(column) for column in labels if read_number(values.get(column, "")) not in (0, 1)}
    if wrong:
        return "bad_row", f"expected 0 or 1, found {wrong}"[:200]
    if values.get("split", "") not in ("", *SPLITS):
        return "bad_row", f"expected a split of {', '.join(SPLITS)}, found {values['split'][:20]!r}"
    return None


def _label_columns(columns: list[str], table: Path) -> tuple[str, ...]:
    missing = [column for column in _REQUIRED if column not in columns]
    labels = tuple(column for column in columns if column not in (*_REQUIRED, *_OPTIONAL))
    if missing or not labels or len(set(columns)) < len(columns) or not all(labels):
        raise ReleaseError(
            f"Table {table}: expected the columns {', '.join(_REQUIRED)}, optionally {', '.join(_OPTIONAL)}, and at "
            f"least one label, each named once; found {', '.join(columns) or 'none'}."
        )
    return labels


def _media(path: Path) -> Media:
    if path.suffix.lower() in SOUND_SUFFIXES:
        return Media(video=None, wav=first_file([path]))
    return Media(video=first_file([path]), wav=first_file([path.with_suffix(".wav")]))


def _times(values: dict[str, str]) -> tuple[float, float]:
    """Start and end in seconds; NaN for invalid text."""
    start, end = (values.get(column, "") for column in ("start", "end"))
    return read_number(start or "0"), read_number(end or "inf")
