"""Plans batches and their shapes from lengths and seeds alone.

A batch is the same set of utterances on any number of devices; only its groups differ.

Axis legend: `n` utterances of a split, `g` device groups, `b` utterances per group.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TEXT_RUNGS = (16, 32, 48, 64)
SAMPLED_BATCHES = 4000  # enough batches to fit a ladder of shapes to; more do not change it


class Lengths(NamedTuple):
    """Lengths of a split's utterances, in stored order; for feature records, rows of text, video and audio."""

    tokens: np.ndarray  # int [n], [CLS] and [SEP] included, not truncated
    frames: np.ndarray  # int [n]
    chunks: np.ndarray  # int [n]


class Shape(NamedTuple):
    """Sizes that a device group is padded to."""

    tokens: int  # per utterance
    frames: int  # per group in a packed layout, else per utterance
    chunks: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """The arrangement of a batch in its arrays."""

    packed: bool  # frames and chunks end to end; else padded per utterance
    cost: tuple[float, float, float]  # relative multiply-adds of a token, a frame and a chunk

    def weights(self, rows: int) -> np.ndarray:
        """Marginal costs of a shape's three sizes in a group of `rows` utterances, float `[3]`."""
        repeats = 1 if self.packed else rows
        return np.array(self.cost) * np.array([rows, repeats, repeats])


# Costs: ALBERT base, and the paper-size dense tower on a face crop and a mel chunk.
MEDIA = Layout(packed=True, cost=(1.0, 5.6, 10.0))
FEATURES = Layout(packed=False, cost=(1.0, 0.014, 0.23))  # costs: the squares of 300, 35 and 144 features


class PlannedBatch(NamedTuple):
    """The utterances and shape of one step."""

    examples: np.ndarray  # int32 [g, b], index in the split, -1 for a padding row
    shape: Shape


def text_rungs(text_max_len: int) -> tuple[int, ...]:
    """Text lengths that batches are padded to."""
    return (*(r for r in TEXT_RUNGS if r < text_max_len), text_max_len)


def _rung(tokens: np.ndarray, rungs: Sequence[int]) -> np.ndarray:
    return np.searchsorted(rungs, np.minimum(tokens, rungs[-1]))


def steps_per_epoch(utterances: int, batch_size: int) -> int:
    """Number of batches in an epoch; the last may be smaller than the others."""
    return -(-utterances // batch_size)


def training_batches(lengths: Lengths, batch_size: int, text_max_len: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Batches of one epoch: every utterance once, shuffled by `seed` and `epoch`, int32 `[<=batch_size]` each.

    Most batches hold one text rung; those that would be incomplete are filled up from the next one.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths.tokens)).astype(np.int32)
    rung = _rung(lengths.tokens[order], text_rungs(text_max_len))
    full, rest = [], []
    for r in range(rung.max(initial=-1) + 1):
        members = order[rung == r]
        whole = len(members) // batch_size * batch_size
        full += np.split(members[:whole], whole // batch_size) if whole else []
        rest.append(members[whole:])
    left = np.concatenate(rest) if rest else order
    batches = full + [left[i : i + batch_size] for i in range(0, len(left), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def evaluation_batches(lengths: Lengths, batch_size: int, layout: Layout) -> list[np.ndarray]:
    """Batches of a split: every utterance once, sorted by tokens, then by cost, int32 `[<=batch_size]` each."""
    size = np.stack(lengths, 1) @ np.array(layout.cost)
    order = np.lexsort((size, lengths.tokens)).astype(np.int32)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def group(batch: np.ndarray, lengths: Lengths, groups: int, batch_size: int, layout: Layout) -> np.ndarray:
    """Assigns a batch's utterances to device groups, the longest first to the group with the least work.

    `batch` are at most `batch_size` indices, a multiple of `groups`; the result is int32 `[g, b]`, -1 in padding rows.
    """
    rows = batch_size // groups
    cost = lengths.frames[batch] * layout.cost[1] + lengths.chunks[batch] * layout.cost[2]
    load, members = np.zeros(groups), [[] for _ in range(groups)]
    # Ties go by index, so that the plan does not depend on the order within the batch.
    for i in np.lexsort((batch, -cost)):
        free = [j for j in range(groups) if len(members[j]) < rows]
        j = min(free, key=lambda j: (load[j], j))
        members[j].append(batch[i])
        load[j] += cost[i]
    result = np.full((groups, rows), -1, np.int32)
    for j, m in enumerate(members):
        result[j, : len(m)] = sorted(m)
    return result


def required_shape(grouped: np.ndarray, lengths: Lengths, text_max_len: int, layout: Layout) -> Shape:
    """The smallest shape that holds a grouped batch, int `[g, b]`; its text length is a rung."""
    tokens, frames, chunks = (np.where(grouped >= 0, values[grouped], 0) for values in lengths)

    def size(values):
        return max(1, int((values.sum(1) if layout.packed else values).max()))

    rungs = text_rungs(text_max_len)
    return Shape(rungs[_rung(tokens.max(), rungs)], size(frames), size(chunks))


def fit_ladder(required: Sequence[Shape], count: int, rows: int, layout: Layout) -> tuple[Shape, ...]:
    """At most `count` shapes that hold the `required` ones, of all or sampled batches, merged greedily by padding."""
    points = np.array(required, np.int64)
    # Frames and chunks grow together; 24 levels keep the merging small.
    level = np.ceil(24 * np.maximum(points[:, 1] / points[:, 1].max(), points[:, 2] / points[:, 2].max()))
    keys = np.stack([points[:, 0], level.astype(np.int64)], 1)
    _, member = np.unique(keys, axis=0, return_inverse=True)
    member = member.reshape(-1)
    tops = np.stack([points[member == k].max(0) for k in range(member.max() + 1)])
    weight = np.bincount(member).astype(float)
    cost = layout.weights(rows)
    while len(tops) > count:
        joined = np.maximum(tops[:, None], tops[None]) @ cost
        own = weight * (tops @ cost)
        added = (weight[:, None] + weight[None]) * joined - own[:, None] - own[None]
        added[np.tril_indices(len(tops))] = np.inf
        i, j = np.unravel_index(np.argmin(added), added.shape)
        tops[i], weight[i] = np.maximum(tops[i], tops[j]), weight[i] + weight[j]
        tops, weight = np.delete(tops, j, 0), np.delete(weight, j)
    return tuple(sorted(Shape(*map(int, t)) for t in tops))


def largest_shape(lengths: Lengths, rows: int, text_max_len: int, layout: Layout) -> Shape:
    """A shape that holds any `rows` utterances of the split."""

    def top(values):
        return max(1, int(np.sort(values)[-rows if layout.packed else -1 :].sum()))

    return Shape(text_max_len, top(lengths.frames), top(lengths.chunks))


def choose_shape(ladder: Sequence[Shape], required: Shape, rows: int, layout: Layout) -> Shape:
    """The cheapest shape of a ladder that holds the required one (`largest_shape` does); raises ValueError if none."""
    fits = [s for s in ladder if all(np.array(s) >= required)]
    if not fits:
        raise ValueError(f"No shape of {list(ladder)} holds {required}.")
    cost = layout.weights(rows)
    return min(fits, key=lambda s: (float(np.dot(s, cost)), s))
