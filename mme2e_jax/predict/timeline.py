"""Scores over time, from utterances that may overlap.

Axes: `k` moments, `l` labels.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from mme2e_jax.evaluation import metrics
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.formats import format_time

HOP_SECONDS = 0.5
_SHORTEST_SECONDS = 1.0  # shortest part that the headline names
_MOST_PARTS = 5  # most parts that the headline lists one by one


class Scored(Protocol):
    """A time with scores, such as an utterance."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def scores(self) -> Mapping[str, float]: ...


class Moment(NamedTuple):
    """The scores of a short time."""

    start: float  # seconds from the start of the clip
    end: float  # the same
    scores: Mapping[str, float]  # mean over the utterances at the middle of the moment, by label; empty without any
    decided: tuple[str, ...]  # predicted labels


def compute_moments(
    utterances: Sequence[Scored], names: Sequence[str], thresholds: Mapping[str, float], task: Task, hop: float
) -> list[Moment]:
    """Moments of `hop` seconds from 0 to the end of the last utterance, where the last moment ends too.

    Labels and thresholds as for `decide`.
    """
    end = max((u.end for u in utterances), default=0.0)
    count = math.ceil(end / hop - 1e-6)
    starts = hop * np.arange(count)
    ends = np.minimum(starts + hop, end)
    # Middles, with room for rounding.
    middles = (starts + ends) / 2 + 1e-7 * hop
    sums, covered = np.zeros((count, len(names))), np.zeros(count, int)
    for u in utterances:
        # The moments whose middle lies in [start, end).
        at = slice(*np.searchsorted(middles, (u.start, u.end)))
        sums[at] += [u.scores[name] for name in names]
        covered[at] += 1
    score = sums / np.maximum(covered, 1)[:, None]
    decided = metrics.decide(score, names, thresholds, task) & (covered > 0)[:, None]
    return [
        Moment(
            float(starts[k]),
            float(ends[k]),
            dict(zip(names, score[k].tolist(), strict=True)) if covered[k] else {},
            tuple(name for name, yes in zip(names, decided[k], strict=True) if yes),
        )
        for k in range(count)
    ]


def headline(moments: Sequence[Moment]) -> str:
    """The emotions in the order of time, in words: "sad until 0:05, then happy". Parts below a second are left out.

    If there are many parts, the emotions by duration: "mostly sad (8 s); also happy (3 s)".
    """
    parts = _merged(part for part in _merged(_parts(moments)) if part.end - part.start >= _SHORTEST_SECONDS)
    if not parts:
        return ""
    if len(parts) == 1:
        return f"{parts[0].emotion} throughout"
    if len(parts) > _MOST_PARTS:
        seconds: dict[str, float] = {}
        for part in parts:
            seconds[part.emotion] = seconds.get(part.emotion, 0.0) + part.end - part.start
        ranked = sorted(seconds.items(), key=lambda item: -item[1])
        first, *others = (f"{emotion} ({time:.0f} s)" for emotion, time in ranked)
        return f"mostly {first}; also {'; '.join(others)}"
    # Half seconds up, so that parts of at least a second end at different times.
    ends = [f"{part.emotion} until {format_time(math.floor(part.end + 0.5)).removesuffix('.0')}" for part in parts[:-1]]
    return ", then ".join([*ends, parts[-1].emotion])


def dominant(moments: Sequence[Moment]) -> str:
    """The emotion that is predicted for most of the time, the first of equals; empty if none is."""
    counts = Counter(name for moment in moments for name in moment.decided)
    return counts.most_common(1)[0][0] if counts else ""


class _Part(NamedTuple):
    start: float
    end: float
    emotion: str


def _parts(moments: Sequence[Moment]) -> Iterator[_Part]:
    for moment in moments:
        if moment.scores:
            yield _Part(moment.start, moment.end, _listed(moment.decided) or "no emotion")


def _listed(names: Sequence[str]) -> str:
    """Names as in "fear, sad and surprise"."""
    first, last = ", ".join(names[:-1]), "".join(names[-1:])
    return f"{first} and {last}" if first else last


def _merged(parts: Iterator[_Part]) -> list[_Part]:
    """Neighbours with the same emotion as one part."""
    found: list[_Part] = []
    for part in parts:
        if found and found[-1].emotion == part.emotion:
            found[-1] = found[-1]._replace(end=part.end)
        else:
            found.append(part)
    return found
