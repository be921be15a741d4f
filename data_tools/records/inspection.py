"""Inspects prepared records for problems, before training."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_tools.releases.release import listing
from mme2e_jax.data.description import read_description
from mme2e_jax.errors import UserError

_SILENT = 1e-5  # power of a mel band; silence with 16-bit noise has about 1e-6


@dataclass(frozen=True)
class Sample:
    """An example utterance."""

    id: str
    labels: tuple[str, ...]  # names of the labels
    face: np.ndarray  # crop of one frame, uint8 `[48, 48, 3]`
    face_found: bool  # whether the crop shows a face, not the centre of the frame
    mel: np.ndarray  # float32 `[chunks, 128, 32]`


@dataclass
class Inspection:
    """The contents and problems of records."""

    dataset: str  # name of the dataset
    kind: str  # record kind
    label_names: tuple[str, ...]  # names of the labels, in order
    # By split, numbers of utterances, dialogues, speakers, and positives by label.
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    # By split and unit (frames, chunks, tokens), the length of each utterance.
    lengths: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    # Affected utterances, dialogues or speakers by problem, one of `PROBLEMS`.
    problems: dict[str, list[str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)  # random utterances with frames

    def to_json(self) -> dict[str, Any]:
        """Everything except samples and single lengths, as plain values."""
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


# What has each problem, and the meaning.
PROBLEMS = {
    "shared_dialogue": ("dialogue", "with utterances in more than one split: scores will be too good"),
    "shared_speaker": ("speaker", "with utterances in more than one split: scores are not speaker-independent"),
    "no_sound": ("utterance", "without sound"),
    "silent": ("utterance", "whose sound is silence"),
    "no_frames": ("utterance", "without frames"),
    "no_face": ("utterance", "in whose frames no face was found"),
    "no_words": ("utterance", "with an empty transcript"),
}


def inspect_records(directory: Path, samples: int = 48, seed: int = 0) -> Inspection:
    """Reads all records once and draws `samples`; raises `UserError` if they are missing or cannot be read safely."""
    if not (directory / "dataset_info.json").is_file():
        found = f"which holds {listing(directory)}" if directory.is_dir() else "which is no directory"
        raise UserError(
            f"Expected prepared records, found {directory}, {found}. Make them with python -m data_tools.prepare."
        )
    # Before opening the records: tensorflow-datasets imports any module that the directory names.
    metadata = read_description(directory).metadata
    builder: Any = tfds.builder_from_directory(directory)
    result = Inspection(metadata.dataset, metadata.kind, tuple(metadata.label_names))
    splits_of: dict[str, dict[str, set[str]]] = {"dialogue": defaultdict(set), "speaker": defaultdict(set)}
    problems: dict[str, list[str]] = {name: [] for name in PROBLEMS}
    rng = np.random.default_rng(seed)
    # Published features have no column for faces.
    faces_known = "origin" not in (metadata.features or {})
    seen = 0
    for split, counts in metadata.splits.items():
        ids: dict[str, set[str]] = {"dialogue": set(), "speaker": set()}
        # A split without examples has no file.
        for example in builder.as_data_source(split=split) if split in builder.info.splits else ():
            for group, names in ids.items():
                name = example["dialogue_id" if group == "dialogue" else group].decode()
                names.add(name)
                splits_of[group][name].add(split)
            for problem in _problems_of(example, result.kind, faces_known):
                problems[problem].append(example["utterance_id"].decode())
            if result.kind == "media" and len(example["faces"]):
                seen += 1
                _update_samples(result, example, samples, seen, rng)
        result.splits[split] = {
            "utterances": len(counts.utterance_ids),
            "dialogues": len(ids["dialogue"]),
            "speakers": len(ids["speaker"]),
            "positives": dict(zip(result.label_names, counts.positives, strict=True)),
        }
        result.lengths[split] = {"frames": counts.frames, "chunks": counts.chunks, "tokens": counts.tokens}
    for group, by_name in splits_of.items():
        problems[f"shared_{group}"] = sorted(name for name, splits in by_name.items() if len(splits) > 1)
    result.problems = {problem: sorted(names) for problem, names in problems.items() if names}
    return result


def _problems_of(example: Mapping[str, Any], kind: str, faces_known: bool) -> Iterator[str]:
    if not example["transcript"].decode().strip():
        yield "no_words"
    sound, frames = (example["mel"], example["faces"]) if kind == "media" else (example["audio"], example["video"])
    if not len(sound):
        yield "no_sound"
    elif kind == "media" and sound.max() < _SILENT:
        yield "silent"
    if not len(frames):
        yield "no_frames"
    elif faces_known and not (example["face_found"] if kind == "media" else frames[:, -1]).any():
        yield "no_face"


def _update_samples(
    result: Inspection, example: Mapping[str, Any], samples: int, seen: int, rng: np.random.Generator
) -> None:
    """Keeps each of the utterances seen so far with the same probability (reservoir sampling)."""
    position = len(result.samples) if len(result.samples) < samples else int(rng.integers(seen))
    if position >= samples:
        return
    labels = tuple(name for name, value in zip(result.label_names, example["label"], strict=True) if value)
    i = int(rng.integers(len(example["faces"])))
    face, found = np.array(example["faces"][i]), bool(example["face_found"][i])
    sample = Sample(example["utterance_id"].decode(), labels, face, found, np.array(example["mel"]))
    result.samples[position : position + 1] = [sample]


def _summary(values: list[int]) -> dict[str, float]:
    if not values:
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"smallest": min(values), "5%": low, "median": middle, "95%": high, "largest": max(values)}
