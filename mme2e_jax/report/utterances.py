"""Chooses example utterances at random, not by their looks, and reads them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from mme2e_jax.batch import present_media
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.data.dataset import Split
from mme2e_jax.data.packing import BadRecord, RecordValues
from mme2e_jax.data.reader import RecordReader
from mme2e_jax.evaluation.attention_maps import AttentionMaps
from mme2e_jax.html.evidence import Evidence

RIGHT, PARTLY, WRONG = OUTCOMES = ("right", "partly right", "wrong")
EACH = 3
# Maximum of frames and mel chunks that are shown of an utterance.
_FRAMES, _CHUNKS = 12, 50


class Shown(NamedTuple):
    """One example utterance."""

    identifier: str
    outcome: str  # RIGHT, PARTLY or WRONG
    truth: tuple[str, ...]  # true labels
    decided: tuple[str, ...]  # predicted labels
    scores: Mapping[str, float]
    shares: Mapping[str, float]  # share of each modality in moving the logits, see `contributions.shares`
    transcript: str
    evidence: Evidence | None  # None for a model that reads features
    notes: tuple[str, ...]


class Stored(NamedTuple):
    """The record of an utterance."""

    transcript: str
    evidence: Evidence | None
    notes: tuple[str, ...]


def outcomes(truth: Bool[np.ndarray, "n l"], predicted: Bool[np.ndarray, "n l"]) -> np.ndarray:
    """For each utterance: RIGHT if both sets of labels are equal, PARTLY if they share a label, else WRONG."""
    same, shared = (truth == predicted).all(1), (truth & predicted).any(1)
    return np.select([same, shared], [RIGHT, PARTLY], WRONG)


def choose(outcome: np.ndarray, eligible: Bool[np.ndarray, "n"], seed: int) -> list[int]:
    """Draws EACH right and EACH wrong utterances at random, and partly right ones where there are too few.

    Returns row numbers in `outcome` (see `outcomes`) of utterances that are `eligible`.
    """
    rng = np.random.default_rng(seed)
    drawn = {name: rng.permutation(np.flatnonzero((outcome == name) & eligible)).tolist() for name in OUTCOMES}
    better = [*drawn[RIGHT], *drawn[PARTLY]][:EACH]
    others = [row for row in drawn[PARTLY] if row not in better]
    return [*better, *[*drawn[WRONG], *others][:EACH]]


def has_media(split: Split, examples: np.ndarray) -> Bool[np.ndarray, "n"]:
    """Whether utterances, by index in their split, have frames or sound."""
    lengths = split.lengths
    return (lengths.frames[examples] > 0) | (lengths.chunks[examples] > 0)


def read_stored(
    split: Split,
    example: int,
    maps: AttentionMaps,
    modalities: str,
    untaught: AttentionMaps | None = None,
    *,
    mask_absent: bool = False,
) -> Stored:
    """Reads an utterance again, by its index in the split, with the parts of its record that batches do not contain.

    `maps` are empty for a model without sparse towers, `modalities` for one that reads features, which are not shown.
    `untaught` are the maps of a taught model with untrained scores; `mask_absent` is as for `BatchLoader`.
    """
    records, problems = RecordReader(split.files).read([example])
    if example in problems:
        return Stored("", None, (f"Its record cannot be read: {problems[example]}.",))
    try:
        values = RecordValues((0, 0), split.ids[example], records[example])
        transcript = values.text("transcript")
        if not modalities:
            return Stored(transcript, None, ())
        return Stored(transcript, *_evidence(values, split, example, maps, modalities, untaught or {}, mask_absent))
    except BadRecord as bad:
        return Stored("", None, (f"Its record lacks what is shown here: {bad.reason}.",))


def _evidence(
    values: RecordValues,
    split: Split,
    example: int,
    maps: AttentionMaps,
    modalities: str,
    untaught: AttentionMaps,
    mask_absent: bool,
) -> tuple[Evidence, tuple[str, ...]]:
    frames, chunks = (int(lengths[example]) for lengths in (split.lengths.frames, split.lengths.chunks))
    faces = values.array("faces", np.uint8, [frames, FACE_SIZE, FACE_SIZE, 3])
    found, times = values.array("face_found", bool, [frames]), values.array("frame_ms", np.float32, [frames])
    mel = values.array("mel", np.float32, [chunks, MEL_BANDS, CHUNK_FRAMES])
    notes = []
    if mask_absent:
        missing, sound = int((~found).sum()), chunks
        faces, mel = present_media(faces, found, mel)
        times, found, frames, chunks = times[found], found[found], len(faces), len(mel)
        if missing and "v" in modalities:
            notes.append(f"{missing} of its {missing + frames} frames show no face and were left out.")
        if sound > chunks and "a" in modalities:
            notes.append("Its sound is silent.")
    if "v" not in modalities:
        frames = 0
    elif not split.lengths.frames[example]:
        notes.append("It has no pictures.")
    if "a" not in modalities:
        chunks = 0
    elif not split.lengths.chunks[example]:
        notes.append("It has no sound.")
    if frames > _FRAMES:
        notes.append(f"{_FRAMES} of its {frames} frames are shown, evenly spaced over the utterance.")
    if chunks > _CHUNKS:
        notes.append(f"The first {_CHUNKS} of its {chunks} mel chunks are shown.")
    selected: Any = {
        "v": np.linspace(0, frames - 1, min(frames, _FRAMES)).round().astype(int),
        "a": np.arange(min(chunks, _CHUNKS)),
    }
    return Evidence(
        faces=faces[selected["v"]],
        face_found=found[selected["v"]],
        frame_ms=times[selected["v"]],
        mel=mel[selected["a"]],
        kept={m: [stage[selected[m]] for stage in stages] for m, stages in maps.items()},
        untaught={m: stages[0][selected[m]] for m, stages in untaught.items()},
    ), tuple(notes)


def present_labels(decided: Bool[np.ndarray, "l"], label_names: Sequence[str]) -> tuple[str, ...]:
    """Names of the labels that are present."""
    return tuple(name for name, present in zip(label_names, decided, strict=True) if present)
