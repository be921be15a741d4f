"""Which utterances form which batch, and in what shape it is compiled: pure functions of lengths and seeds.

Axis legend: `n` utterances of a split, `g` device groups, `b` utterances per group, `m` batches.

A batch is the same set of utterances whatever the number of devices; only the groups differ. No records are read here.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TEXT_RUNGS = (16, 32, 48, 64)
# Batches that a ladder is fitted to at most; more of them change it no more.
SAMPLED_BATCHES = 4000


class Lengths(NamedTuple):
    """Per utterance of a split, in stored order. Of feature records: rows of text, video and audio."""

    tokens: np.ndarray  # int [n], [CLS] and [SEP] included, not truncated
    frames: np.ndarray  # int [n]
    chunks: np.ndarray  # int [n]


class Shape(NamedTuple):
    """What a device group is padded to; tokens per utterance."""

    tokens: int
    frames: int  # all utterances of the group together where the layout packs them, else per utterance
    chunks: int


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a batch lies in its arrays."""

    packed: bool  # frames and chunks end to end; else each utterance's apart, padded to one length
    cost: tuple[float, float, float]  # multiply-adds of a token, a frame and a chunk, relative

    def weights(self, rows: int) -> np.ndarray:
        """What one more of each size of a shape costs in a group of `rows` utterances."""
        apart = 1 if self.packed else rows
        return np.array(self.cost) * np.array([rows, apart, apart])


# Costs: ALBERT base, and the paper-size dense tower on a face crop and a mel chunk.
MEDIA = Layout(packed=True, cost=(1.0, 5.6, 10.0))
# Costs: the squares of 300, 35 and 144 features.
FEATURES = Layout(packed=False, cost=(1.0, 0.014, 0.23))


class PlannedBatch(NamedTuple):
    """One step's work."""

    examples: np.ndarray  # int32 [g, b], index in the split, -1 for a padding row
    shape: Shape


def text_rungs(text_max_len: int) -> tuple[int, ...]:
    """The text lengths that batches are padded to."""
    return (*(r for r in TEXT_RUNGS if r < text_max_len), text_max_len)


def _rung(tokens: np.ndarray, rungs: Sequence[int]) -> np.ndarray:
    return np.searchsorted(rungs, np.minimum(tokens, rungs[-1]))


def steps_per_epoch(utterances: int, batch_size: int) -> int:
    """Batches that an epoch has; the last may be smaller than the others."""
    return -(-utterances // batch_size)


def training_batches(lengths: Lengths, batch_size: int, text_max_len: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Every utterance of the split exactly once, shuffled, in batches of one text rung each as far as that goes.

    Within a rung the order is random over the whole epoch; what a rung's last batch lacks is filled up from the next
    rung, and the batches are shuffled.

    Args:
      lengths: of the split.
      batch_size: utterances per step over all devices.
      text_max_len: tokens at which a transcript is cut.
      seed, epoch: the order is a function of these.
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
    """Every utterance exactly once, neighbours in size together, so that little is padded."""
    size = np.stack(lengths, 1) @ np.array(layout.cost)
    order = np.lexsort((size, lengths.tokens)).astype(np.int32)
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def group(batch: np.ndarray, lengths: Lengths, groups: int, batch_size: int, layout: Layout) -> np.ndarray:
    """Deals a batch's utterances to device groups, equally many each, longest first to the group that has least to do.

    Args:
      batch: utterances, at most `batch_size`.
      lengths: of the split.
      groups: number of device groups; divides `batch_size`.
      batch_size: rows to fill; what is left over are rows of -1.
      layout: of the batch.

    Returns:
      int32 [g, b].
    """
    rows = batch_size // groups
    cost = lengths.frames[batch] * layout.cost[1] + lengths.chunks[batch] * layout.cost[2]
    load, members = np.zeros(groups), [[] for _ in range(groups)]
    # Utterances of equal cost go by index, so that the plan does not depend on the order within the batch.
    for i in np.lexsort((batch, -cost)):
        free = [j for j in range(groups) if len(members[j]) < rows]
        j = min(free, key=lambda j: (load[j], j))
        members[j].append(batch[i])
        load[j] += cost[i]
    result = np.full((groups, rows), -1, np.int32)
    for j, m in enumerate(members):
        result[j, : len(m)] = sorted(m)
    return result


def need(grouped: np.ndarray, lengths: Lengths, text_max_len: int, layout: Layout) -> Shape:
    """The least shape that holds a grouped batch, its text on a rung of the ladder."""
    tokens, frames, chunks = (np.where(grouped >= 0, values[grouped], 0) for values in lengths)

    def most(values):
        return max(1, int((values.sum(1) if layout.packed else values).max()))

    rungs = text_rungs(text_max_len)
    return Shape(rungs[_rung(tokens.max(), rungs)], most(frames), most(chunks))


def fit_ladder(needs: Sequence[Shape], count: int, rows: int, layout: Layout) -> tuple[Shape, ...]:
    """At most `count` shapes that together hold all `needs` with little padding.

    Needs are merged, cheapest merger first, where a merger costs the padding that it adds.

    Args:
      needs: of the batches to come, or of a sample of them.
      count: shapes to keep.
      rows: utterances per group, to weigh tokens against frames.
      layout: of the batches.
    """
    points = np.array(needs, np.int64)
    # Frames and chunks climb together; 24 levels keep the merging small.
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
    """A shape that holds any `rows` utterances of the split: the ladder's last resort."""

    def top(values):
        return max(1, int(np.sort(values)[-rows if layout.packed else -1 :].sum()))

    return Shape(text_max_len, top(lengths.frames), top(lengths.chunks))


def choose(ladder: Sequence[Shape], wanted: Shape, rows: int, layout: Layout) -> Shape:
    """The cheapest shape of the ladder that holds `wanted`.

    Raises:
      ValueError: if none does; a ladder that ends with `largest_shape` always has one.
    """
    fits = [s for s in ladder if all(have >= want for have, want in zip(s, wanted, strict=True))]
    if not fits:
        raise ValueError(f"No shape of {list(ladder)} holds {wanted}.")
    cost = layout.weights(rows)
    return min(fits, key=lambda s: (float(np.dot(s, cost)), s))
