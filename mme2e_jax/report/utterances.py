"""Chooses utterances for a report and shows the model's input and attention.

They are drawn at random, so that none is chosen for its looks.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data.dataset import Split
from mme2e_jax.data.packing import BadRecord, RecordValues
from mme2e_jax.data.reader import RecordReader
from mme2e_jax.evaluation.attention_maps import AttentionMaps
from mme2e_jax.html.evidence import Evidence

RIGHT, PARTLY, WRONG = "right", "partly right", "wrong"
EACH = 3
# Frames and mel chunks of an utterance that are shown at most.
_FRAMES, _CHUNKS = 12, 50


class Shown(NamedTuple):
    """One utterance."""

    identity: str
    kind: str  # RIGHT, PARTLY or WRONG
    truth: tuple[str, ...]  # the labels that it has
    decided: tuple[str, ...]  # those that it is said to have
    scores: Mapping[str, float]
    shares: Mapping[str, float]  # of each modality in moving the logits, see `prediction.one.shares`
    transcript: str
    evidence: Evidence | None  # None for a model that reads features
    notes: tuple[str, ...]


class Stored(NamedTuple):
    """What the records hold of an utterance."""

    transcript: str
    evidence: Evidence | None
    notes: tuple[str, ...]


def kinds(truth: Bool[np.ndarray, "n l"], predicted: Bool[np.ndarray, "n l"]) -> np.ndarray:
    """Of each utterance RIGHT where both sets of labels are the same, PARTLY where they share one, else WRONG."""
    same, shared = (truth == predicted).all(1), (truth & predicted).any(1)
    return np.select([same, shared], [RIGHT, PARTLY], WRONG)


def choose(kind: np.ndarray, visible: Bool[np.ndarray, "n"], seed: int) -> list[int]:
    """Places of EACH right and of EACH wrong utterances, drawn at random; partly right ones where there are too few.

    Args:
      kind: of each utterance, see `kinds`.
      visible: whether there is anything to see of it; others are not drawn.
      seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    drawn = {
        name: rng.permutation(np.flatnonzero((kind == name) & visible)).tolist() for name in (RIGHT, PARTLY, WRONG)
    }
    better = [*drawn[RIGHT], *drawn[PARTLY]][:EACH]
    others = [place for place in drawn[PARTLY] if place not in better]
    return [*better, *[*drawn[WRONG], *others][:EACH]]


def visible(split: Split, examples: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Whether utterances, by index in their split, have frames or sound."""
    lengths = split.lengths
    return (lengths.frames[examples] > 0) | (lengths.chunks[examples] > 0)


def stored(split: Split, example: int, maps: AttentionMaps, modalities: str) -> Stored:
    """Reads an utterance again, with all that batches do not hold of it.

    Args:
      split: that holds it.
      example: its index there.
      maps: its attention maps; empty for a model without sparse towers.
      modalities: that the model reads; "" if it reads features, and there is nothing to show.
    """
    records, problems = RecordReader(split.files).read([example])
    if example in problems:
        return Stored("", None, (f"Its record cannot be read: {problems[example]}.",))
    try:
        values = RecordValues((0, 0), split.ids[example], records[example])
        transcript = values.text("transcript")
        if not modalities:
            return Stored(transcript, None, ())
        return Stored(transcript, *_evidence(values, split, example, maps, modalities))
    except BadRecord as bad:
        return Stored("", None, (f"Its record lacks what is shown here: {bad.reason}.",))


def _evidence(
    values: RecordValues, split: Split, example: int, maps: AttentionMaps, modalities: str
) -> tuple[Evidence, tuple[str, ...]]:
    frames, chunks = (int(lengths[example]) for lengths in (split.lengths.frames, split.lengths.chunks))
    faces = values.array("faces", np.uint8, [frames, FACE_SIZE, FACE_SIZE, 3])
    found, times = values.array("face_found", bool, [frames]), values.array("frame_ms", np.float32, [frames])
    mel = values.array("mel", np.float32, [chunks, MEL_BANDS, CHUNK_FRAMES])
    notes = []
    if "v" not in modalities:
        frames = 0
    elif not frames:
        notes.append("There are no pictures of it.")
    if "a" not in modalities:
        chunks = 0
    elif not chunks:
        notes.append("There is no sound of it.")
    if frames > _FRAMES:
        notes.append(f"{_FRAMES} of its {frames} frames are shown, evenly over the utterance.")
    if chunks > _CHUNKS:
        notes.append(f"The first {_CHUNKS} of its {chunks} mel chunks are shown.")
    which: Any = {
        "v": np.linspace(0, frames - 1, min(frames, _FRAMES)).round().astype(int),
        "a": np.arange(min(chunks, _CHUNKS)),
    }
    return Evidence(
        faces=faces[which["v"]],
        face_found=found[which["v"]],
        frame_ms=times[which["v"]],
        mel=mel[which["a"]],
        kept={m: [stage[which[m]] for stage in stages] for m, stages in maps.items()},
    ), tuple(notes)


def names_of(decided: Bool[np.ndarray, "l"], label_names: Sequence[str]) -> tuple[str, ...]:
    """The labels that are there."""
    return tuple(name for name, yes in zip(label_names, decided, strict=True) if yes)
