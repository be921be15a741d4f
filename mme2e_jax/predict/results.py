"""Results of prediction, and the files that store them."""

import base64
import csv
import io
import mimetypes
import os
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import Evidence
from mme2e_jax.predict.timeline import HOP_SECONDS, Moment, compute_moments, dominant, headline
from mme2e_jax.runtime.files import write_json, write_text

# A larger clip is linked to, not held by the page.
EMBEDDED_BYTES = 20_000_000
_BARS, _TABLE_ROWS = 1200, 500  # most of each on a page


@dataclass(frozen=True)
class Utterance:
    """The prediction for one cue or window."""

    start: float  # seconds from the start of the clip
    end: float  # the same
    transcript: str  # given or recognised text
    logits: Mapping[str, float]  # logit by label
    # Probability by label (a distribution over labels if the model chooses one; values if it was trained on values).
    scores: Mapping[str, float]
    decided: tuple[str, ...]  # predicted labels
    # By modality, its addition to the logit of each label; they sum to `logits`.
    contributions: Mapping[str, Mapping[str, float]]
    # By modality, its part in moving the logits away from 0, mean over the labels; they sum to 1.
    shares: Mapping[str, float]
    frames: int  # sizes of the model's input, as are the next three
    faces_found: int
    chunks: int
    tokens: int
    notes: tuple[str, ...]  # sentences about what is missing or replaced
    # The model's input and kept sites; None for most utterances of a long clip, and for exported models.
    evidence: Evidence | None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without the evidence."""
        values = {name: value for name, value in self.__dict__.items() if name != "evidence"}
        return values | {
            "contributions": {MODALITY_NAMES[m]: added for m, added in self.contributions.items()},
            "shares": {MODALITY_NAMES[m]: share for m, share in self.shares.items()},
        }


class SeenFrame(NamedTuple):
    """A frame of the video in which a face was looked for."""

    time: float  # seconds from the start of the clip
    # The chosen face: left, top, right, bottom as shares of the picture; None if there is none.
    box: tuple[float, ...] | None


class _Player(NamedTuple):
    tag: str  # "video" or "audio"
    source: str  # address


@dataclass(frozen=True)
class Prediction:
    """The prediction for one clip."""

    clip: str  # file name
    path: str  # absolute path of the file
    seconds: float  # stated length
    run: str  # run directory or exported file of the model
    step: int  # step of its checkpoint
    model: str  # name of its architecture
    label_names: tuple[str, ...]  # labels in the order of the model's outputs
    thresholds: Mapping[str, float]  # score threshold by label; empty if the highest score decides
    task: Task  # meaning of the scores
    modalities: str  # modalities that the model reads, of "tva"
    sparse_threshold: float | None  # share of the attention, or of the sites, that is kept; None for the dense model
    notes: tuple[str, ...]  # sentences about the clip as a whole
    utterances: tuple[Utterance, ...]  # utterances in the order of time; windows may overlap
    hop: float = HOP_SECONDS  # seconds from moment to moment of the timeline
    frames: tuple[SeenFrame, ...] = ()  # in the order of time; empty if the model does not read faces

    def timeline(self, hop: float | None = None) -> list[Moment]:
        """Computes scores over time: means over the utterances at each moment, `hop` seconds long or as predicted."""
        return compute_moments(self.utterances, self.label_names, self.thresholds, self.task, hop or self.hop)

    def headline(self) -> str:
        """Puts the emotions over time into words; empty for values, which decide nothing."""
        return "" if self.task is Task.REGRESSION else headline(self.timeline())

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, without the evidence."""
        return self.__dict__ | {
            "task": self.task.value,
            "modalities": [MODALITY_NAMES[m] for m in self.modalities],
            "utterances": [utterance.to_json() for utterance in self.utterances],
            "frames": [frame._asdict() for frame in self.frames],
            "headline": self.headline(),
            "dominant": dominant(self.timeline()),
        }

    def to_csv(self) -> str:
        """Returns one row per utterance: times, a score and 0 or 1 for each label, shares, transcript, notes."""
        text = io.StringIO()
        rows = csv.writer(text)
        shares = [f"share_{MODALITY_NAMES[m]}" for m in self.modalities]
        rows.writerow([*self._score_columns(), *shares, "transcript", "notes"])
        for u in self.utterances:
            times = [f"{u.start:.3f}", f"{u.end:.3f}"]
            scores = [f"{u.scores[name]:.6g}" for name in self.label_names]
            decisions = [int(name in u.decided) for name in self.label_names]
            shares = [f"{u.shares[m]:.4f}" for m in self.modalities]
            rows.writerow([*times, *scores, *decisions, *shares, inert(u.transcript), inert(" ".join(u.notes))])
        return text.getvalue()

    def timeline_csv(self) -> str:
        """Returns one row per moment: times, and a score and 0 or 1 for each label, empty where no utterance is."""
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(self._score_columns())
        for m in self.timeline():
            scores = [f"{m.scores[name]:.6g}" if m.scores else "" for name in self.label_names]
            decisions = [int(name in m.decided) if m.scores else "" for name in self.label_names]
            rows.writerow([f"{m.start:.3f}", f"{m.end:.3f}", *scores, *decisions])
        return text.getvalue()

    def _score_columns(self) -> list[str]:
        decisions = [f"{name}_decided" for name in self.label_names]
        return ["start", "end", *map(inert, (*self.label_names, *decisions))]

    def to_html(self, directory: Path | None = None) -> str:
        """Returns a page that needs no network, for a file in `directory`.

        It plays the clip, which it holds if that is smaller than 20 MB, and links to otherwise; without a directory, or
        if the clip is gone, it has no player.
        """
        # Imports jinja2, which most users of this module do not need.
        from mme2e_jax.html.page import render

        low, high, score_name = 0.0, 1.0, "probability"
        if self.task is Task.REGRESSION:
            values = [score for utterance in self.utterances for score in utterance.scores.values()]
            low, high, score_name = min(0.0, *values), max(1.0, *values), "value"
        # A long clip has thousands of moments, more than a screen has columns.
        hop = max(self.hop, max(utterance.end for utterance in self.utterances) / _BARS)
        return render(
            "prediction",
            p=self,
            moments=self.timeline(hop),
            hop=hop,
            most_rows=_TABLE_ROWS,
            headline=self.headline(),
            absent=[m for m in self.modalities if m != "t" and not any(u.shares[m] for u in self.utterances)],
            low=low,
            high=high,
            score_name=score_name,
            media=self._player(directory) if directory else None,
            crops=list(self._crops()),
        )

    def _crops(self) -> Iterator[tuple[float, str, bool]]:
        """Yields the time of each shown frame in the clip, the name of its picture in the page, and if it is a face."""
        shown = [utterance for utterance in self.utterances if utterance.evidence]
        for number, utterance in enumerate(shown):
            assert utterance.evidence is not None
            times = utterance.start + utterance.evidence.frame_ms / 1000
            for i, (time, found) in enumerate(zip(times.tolist(), utterance.evidence.face_found.tolist(), strict=True)):
                yield round(time, 3), f"u{number}-{i}", found

    def _player(self, directory: Path) -> "_Player | None":
        path = Path(self.path)
        tag = "video" if self.frames or any(utterance.frames for utterance in self.utterances) else "audio"
        try:
            if path.stat().st_size >= EMBEDDED_BYTES:
                return _Player(tag, urllib.parse.quote(os.path.relpath(path, directory)))
            content = base64.b64encode(path.read_bytes()).decode()
        except (OSError, ValueError):
            return None
        return _Player(tag, f"data:{mimetypes.guess_type(path.name)[0] or f'{tag}/mp4'};base64,{content}")

    def write(self, directory: str | Path, request: Mapping[str, Any] | None = None) -> list[Path]:
        """Writes `predictions.json`, `predictions.csv`, `timeline.csv` and, with any evidence, `predictions.html`.

        The directory may exist. `request`, the plain values that were asked for, is stored with the predictions.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        paths = [
            directory / name for name in ("predictions.json", "predictions.csv", "timeline.csv", "predictions.html")
        ]
        # First gone and last written: where it is, the other files are complete.
        paths[0].unlink(missing_ok=True)
        write_text(paths[1], self.to_csv())
        write_text(paths[2], self.timeline_csv())
        if all(utterance.evidence is None for utterance in self.utterances):
            paths.pop().unlink(missing_ok=True)
        else:
            write_text(paths[3], self.to_html(directory))
        content = self.to_json() | ({"request": dict(request)} if request else {})
        write_json(paths[0], content, indent=1, ensure_ascii=False)
        return paths


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
