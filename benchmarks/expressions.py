"""Checks that three expressions in one clip are found in their order.

    python launch.py --config=configs/mini_sparse.py
    python -m benchmarks.expressions --workdir=runs/mini_sparse --json=FILE

Each clip is a new video of the embedded corpus' face, which shows three emotions one after the other in words, face and
voice, each for one sentence (2 to 3 s) or for two. It is predicted with windows of several lengths without words, and
with a transcript with times. An expression is in its place if its mean score on the timeline is higher in its own part
of the clip than in the others. At random, a third of the expressions are, and all three of a clip in one clip of 27.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.table import Table

from data_tools.mini_corpus.plan import SPEAKERS, ClipPlan, VideoPlan
from data_tools.mini_corpus.sentences import EMOTIONS, write_text
from data_tools.mini_corpus.video import ClipTimes, make_video
from mme2e_jax import Predictor
from mme2e_jax.predict.timeline import Moment
from mme2e_jax.runtime.jax_cache import configure_jax

_SEED = 1000  # of the videos, which training has not seen
_WINDOWS = (3.0, 2.0, 1.5)
_PARTS = 3
_SENTENCES = (1, 2)  # per expression
_COLUMNS = (("in_order", "clips"), ("in_place", "expressions"), ("predicted", "expressions"))


class ThreeExpressions(NamedTuple):
    """A clip with one expression after the other."""

    path: Path
    cues: Path  # transcript with times, a line for each sentence
    emotions: tuple[str, ...]
    times: list[ClipTimes]  # of each emotion


def main(argv: list[str]) -> None:
    """Makes the clips, predicts them and prints the figures."""
    del argv
    values = flags.FLAGS
    configure_jax()
    with (
        tempfile.TemporaryDirectory(prefix="mme2e-expressions-") as scratch,
        Predictor.from_workdir(values.workdir) as predictor,
    ):
        rows = {}
        for sentences in _SENTENCES:
            clips = [make_clip(Path(scratch), number, sentences) for number in range(values.clips)]
            for window in _WINDOWS:
                rows[f"{sentences}, windows of {window:g} s, no words"] = found(predictor, clips, window=window)
            rows[f"{sentences}, cues with words"] = found(predictor, clips)
    table = Table(title=f"{values.clips} clips with {_PARTS} expressions, at the default hop")
    table.add_column("sentences per expression, prediction")
    for heading in ("clips in order", "expressions in place", "predicted in the middle"):
        table.add_column(heading, justify="right")
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key]} of {row[of]}" for key, of in _COLUMNS))
    Console(width=140).print(table)
    if values.json:
        Path(values.json).write_text(json.dumps(rows, indent=2) + "\n")


def make_clip(directory: Path, number: int, sentences: int) -> ThreeExpressions:
    """Writes a clip of three different emotions, drawn by its number, and its transcript with times."""
    rng = np.random.default_rng([_SEED, number])
    emotions = tuple(str(emotion) for emotion in rng.choice(EMOTIONS, _PARTS, replace=False))
    said = [(e,) for e in emotions for _ in range(sentences)]
    plans = tuple(ClipPlan(i, e, e, e, e, write_text(rng, e)) for i, e in enumerate(said))
    path = directory / f"{number}-{sentences}.mp4"
    times = make_video(VideoPlan(_SEED, number, path.stem, number % SPEAKERS, plans), path, path.with_suffix(".wav"))
    lines = [f"{path.stem}___{i}___{t.start}___{t.end}___{plans[i].transcript}\n" for i, t in enumerate(times)]
    path.with_suffix(".txt").write_text("".join(lines), encoding="utf-8")
    own = [ClipTimes(times[i].start, times[i + sentences - 1].end) for i in range(0, len(times), sentences)]
    return ThreeExpressions(path, path.with_suffix(".txt"), emotions, own)


def found(predictor: Predictor, clips: Sequence[ThreeExpressions], window: float | None = None) -> dict[str, int]:
    """Counts what is found in its place, with windows of some seconds without words, or with the transcript."""
    in_place: list[list[bool]] = []
    predicted = 0
    for clip in clips:
        options: dict[str, Any] = {"window": window} if window else {"transcript_file": clip.cues}
        moments = predictor(clip.path, **options).timeline()
        in_place.append(places(moments, clip.emotions, clip.times))
        for emotion, time in zip(clip.emotions, clip.times, strict=True):
            middle = (time.start + time.end) / 2
            predicted += any(emotion in m.decided for m in moments if m.start <= middle < m.end)
    return {
        "clips": len(clips),
        "in_order": sum(map(all, in_place)),
        "expressions": sum(map(len, in_place)),
        "in_place": sum(map(sum, in_place)),
        "predicted": predicted,
    }


def places(moments: Sequence[Moment], emotions: Sequence[str], times: Sequence[ClipTimes]) -> list[bool]:
    """For each emotion, whether its mean score is highest at its own time; a moment belongs to where its middle is."""
    parts = [
        [m.scores for m in moments if m.scores and time.start <= (m.start + m.end) / 2 < time.end] for time in times
    ]

    def mean(emotion: str, part: int) -> float:
        return float(np.mean([scores[emotion] for scores in parts[part]])) if parts[part] else -np.inf

    means = [[mean(emotion, part) for part in range(len(parts))] for emotion in emotions]
    return [row[own] == max(row) for own, row in enumerate(means)]


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Run of the embedded corpus to predict with.", required=True)
    flags.DEFINE_integer("clips", 24, "Number of clips.", lower_bound=1)
    flags.DEFINE_string("json", None, "Also write the figures to this file.")
    app.run(main)
