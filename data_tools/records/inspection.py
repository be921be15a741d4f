"""Looks through prepared records for what a person would want to know before training on them.

Axes: `s` mel chunks.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_tools.releases.release_files import listing
from mme2e_jax.data.description import read_description
from mme2e_jax.errors import UserError

# Power of a mel band; silence with the noise of 16 bits has about 1e-6.
_SILENT = 1e-5


class InspectError(ValueError):
    """A directory that holds no prepared records, or such as must not be trusted."""


@dataclass(frozen=True)
class Sample:
    """One utterance to look at.

    Attributes:
      id, labels: its own and its labels' names.
      face: a crop, uint8 `[48, 48, 3]`.
      face_found: whether the crop is of a face, or of the middle of the frame.
      mel: float32 `[s, 128, 32]`.
    """

    id: str
    labels: tuple[str, ...]
    face: np.ndarray
    face_found: bool
    mel: np.ndarray


@dataclass
class Inspection:
    """What was found.

    Attributes:
      dataset, kind: of the records.
      label_names: in the order of the labels.
      splits: by split, utterances, dialogues, speakers, and positives by label.
      lengths: by split and by count (frames, chunks, tokens), that of each utterance.
      problems: utterances, dialogues or speakers by what is odd about them.
      samples: utterances with frames, chosen at random.
    """

    dataset: str
    kind: str
    label_names: tuple[str, ...]
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    lengths: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All but the samples and the single lengths, as plain values."""
        return {
            "dataset": self.dataset,
            "kind": self.kind,
            "splits": self.splits,
            "lengths": {
                split: {name: _summary(values) for name, values in counts.items()}
                for split, counts in self.lengths.items()
            },
            "problems": self.problems,
        }


# What is looked for, and what it means.
PROBLEMS = {
    "shared_dialogue": "dialogues (videos) with utterances in more than one split: scores will be too good",
    "shared_speaker": "speakers with utterances in more than one split: scores are not speaker-independent",
    "no_sound": "utterances without sound",
    "silent": "utterances whose sound is silence",
    "no_frames": "utterances without frames",
    "no_face": "utterances in whose frames no face was found",
    "no_words": "utterances with an empty transcript",
}


def inspect_records(directory: Path, samples: int = 48, seed: int = 0) -> Inspection:
    """Reads all records once, one example at a time.

    Args:
      directory: of the records.
      samples: of utterances with frames to keep.
      seed: of their choice.

    Raises:
      InspectError: `directory` holds no prepared records, or those of another format version.
    """
    if not (directory / "dataset_info.json").is_file():
        found = f"which holds {listing(directory)}" if directory.is_dir() else "which is no directory"
        raise InspectError(
            f"Expected prepared records, found {directory}, {found}. Make them with python -m data_tools.prepare."
        )
    try:
        # First of all: tensorflow-datasets would import whatever the directory names.
        metadata = read_description(directory).metadata
    except UserError as error:
        raise InspectError(str(error)) from error
    builder: Any = tfds.builder_from_directory(directory)
    result = Inspection(metadata.dataset, metadata.kind, tuple(metadata.label_names))
    sides: dict[str, dict[str, set[str]]] = {"dialogue": defaultdict(set), "speaker": defaultdict(set)}
    problems: dict[str, list[str]] = {name: [] for name in PROBLEMS}
    rng = np.random.default_rng(seed)
    # Of published features no column says whether there is a face.
    faces_known = "origin" not in (metadata.features or {})
    seen = 0
    for split, counts in metadata.splits.items():
        ids: dict[str, set[str]] = {"dialogue": set(), "speaker": set()}
        for example in _examples(builder, split):
            for what, found in ids.items():
                name = example[f"{what}_id" if what == "dialogue" else what].decode()
                found.add(name)
                sides[what][name].add(split)
            for problem in _problems_of(example, result.kind, faces_known):
                problems[problem].append(example["utterance_id"].decode())
            if result.kind == "media" and len(example["faces"]):
                seen += 1
                _keep(result, example, samples, seen, rng)
        result.splits[split] = {
            "utterances": len(counts.utterance_ids),
            "dialogues": len(ids["dialogue"]),
            "speakers": len(ids["speaker"]),
            "positives": dict(zip(result.label_names, counts.positives, strict=True)),
        }
        result.lengths[split] = {"frames": counts.frames, "chunks": counts.chunks, "tokens": counts.tokens}
    for what, found in sides.items():
        problems[f"shared_{what}"] = sorted(name for name, where in found.items() if len(where) > 1)
    result.problems = {name: sorted(found) for name, found in problems.items() if found}
    return result


def _examples(builder: Any, split: str) -> Iterator[Mapping[str, Any]]:
    # A split without examples has no file.
    if split in builder.info.splits:
        yield from builder.as_data_source(split=split)


def _problems_of(example: Mapping[str, Any], kind: str, faces_known: bool) -> Iterator[str]:
    if not example["transcript"].decode().strip():
        yield "no_words"
    sound, pictures = (example["mel"], example["faces"]) if kind == "media" else (example["audio"], example["video"])
    if not len(sound):
        yield "no_sound"
    elif kind == "media" and sound.max() < _SILENT:
        yield "silent"
    if not len(pictures):
        yield "no_frames"
    elif faces_known and not (example["face_found"] if kind == "media" else pictures[:, -1]).any():
        yield "no_face"


def _keep(result: Inspection, example: Mapping[str, Any], samples: int, seen: int, rng: np.random.Generator) -> None:
    """Keeps each of the utterances seen so far with the same chance (reservoir sampling)."""
    place = len(result.samples) if len(result.samples) < samples else int(rng.integers(seen))
    if place >= samples:
        return
    labels = tuple(name for name, value in zip(result.label_names, example["label"], strict=True) if value)
    i = int(rng.integers(len(example["faces"])))
    face, found = np.array(example["faces"][i]), bool(example["face_found"][i])
    sample = Sample(example["utterance_id"].decode(), labels, face, found, np.array(example["mel"]))
    result.samples[place : place + 1] = [sample]


def _summary(values: list[int]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"smallest": min(values), "5%": low, "median": middle, "95%": high, "largest": max(values)}
