"""Reads a table of clips for a user's own data.

    path,transcript,start,end,split,happy,sad          (clips.csv; the last two are labels)
    a/monday.mp4,"Good morning.",0.5,2.25,train,1,0
    a/monday.mp4,"I lost it.",2.25,4,train,0,1
    b.wav,"No picture.",,,test,0,0

`path` is relative to the table: a video or a sound file. The sound of a video is the wav file of the same name next to
it, or the video's own track. `start` and `end` are seconds; without them the clip is the whole file. `split` is train,
valid or test; without the column videos are divided at random. `id` and `speaker` are optional. Every other column is a
label, 0 or 1 in each row. Cells with commas, quotation marks or line breaks are quoted.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_tools.releases.release import Release, ReleaseError, first_file, listing, numbered_rows
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
    """Reads the table `raw`, or `clips.csv` in it; raises `ReleaseError` if there is none, or it lacks columns."""
    table = raw / TABLE if raw.is_dir() else raw
    if not table.is_file():
        found = f"in {raw}: {listing(raw)}" if raw.is_dir() else "nothing"
        raise ReleaseError(
            f"Expected the table {table} with the columns {', '.join(_REQUIRED)} and one for each label; found {found}."
        )
    with table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = numbered_rows(file, table)
        _, names = next(rows, (1, []))
        columns, labels = _columns(names, table)
        clips, findings = parse_rows(rows, columns, table.name)
    clips, outside = _below(table.parent, clips)
    media = {clip.utterance.video: _media(table.parent / clip.path) for clip in clips}
    splits = {clip.utterance.id: clip.split for clip in clips if clip.split}
    return Release(labels, [clip.utterance for clip in clips], media, findings + outside, splits or None)


def parse_rows(
    rows: Iterable[tuple[int, list[str]]], columns: Sequence[str], source: str
) -> tuple[list[Clip], list[Finding]]:
    """Parses numbered rows of the table `source`; never raises: unreadable ones give findings named `source:line`."""
    labels = tuple(column for column in columns if column not in (*_REQUIRED, *_OPTIONAL))
    clips: list[Clip] = []
    findings: list[Finding] = []
    clip_counts: Counter[str] = Counter()
    files: dict[str, PurePosixPath] = {}
    seen: set[str] = set()
    for number, row in rows:
        if len(row) != len(columns):
            detail = f"expected {len(columns)} cells, found {len(row)}; a cell with a comma needs quotation marks"
            findings.append(Finding(f"{source}:{number}", "bad_row", detail))
            continue
        values = {column: value.strip() for column, value in zip(columns, row, strict=True)}
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
        utterance = Utterance(name, video, max(start, 0.0), end, text, label, speaker, view="whole")
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


def _columns(names: Sequence[str], table: Path) -> tuple[list[str], tuple[str, ...]]:
    """All columns, and those that are labels; the names of other columns may be in any case."""
    known = {name: name for name in (*_REQUIRED, *_OPTIONAL)}
    columns = [known.get(name.strip().casefold(), name.strip()) for name in names]
    labels = tuple(column for column in columns if column not in known)
    different = {column.casefold() for column in columns}
    if not {*_REQUIRED} <= {*columns} or not labels or len(different) < len(columns) or not all(labels):
        raise ReleaseError(
            f"Table {table}: expected the columns {', '.join(_REQUIRED)}, optionally {', '.join(_OPTIONAL)}, and at "
            "least one label, each named once and not only in another case; found "
            f"{', '.join(map(repr, names)) or 'none'}."
        )
    return columns, labels


def _below(directory: Path, clips: Sequence[Clip]) -> tuple[list[Clip], list[Finding]]:
    """The clips whose files lie below the table's directory, and findings for those that links lead elsewhere."""
    root = directory.resolve()
    kept, findings = [], []
    for clip in clips:
        files = (directory / clip.path, directory / clip.path.with_suffix(".wav"))
        if all(path.resolve().is_relative_to(root) for path in files):
            kept.append(clip)
        else:
            detail = f"a link leads {clip.path} out of the table's directory; move the table above the files"
            findings.append(Finding(clip.utterance.id, "bad_id", detail))
    return kept, findings


def _media(path: Path) -> Media:
    if path.suffix.lower() in SOUND_SUFFIXES:
        return Media(video=None, wav=first_file([path]))
    return Media(video=first_file([path]), wav=first_file([path.with_suffix(".wav")]))


def _times(values: dict[str, str]) -> tuple[float, float]:
    """Start and end in seconds; NaN for invalid text."""
    start, end = (values.get(column, "") for column in ("start", "end"))
    return read_number(start or "0"), read_number(end or "inf")
