"""Inspects prepared records for problems, before training."""

import hashlib
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_tools.releases.release import listing
from mme2e_jax.data.description import read_description
from mme2e_jax.errors import UserError
from mme2e_jax.html.evidence import Evidence

CHUNK_SECONDS = 0.4
_SILENT = 1e-5  # power of a mel band; silence with 16-bit noise has about 1e-6
_LEAKED_WORDS = 4  # shorter transcripts, such as "Thank you.", occur in several videos by themselves
_SHOWN_FRAMES, _SHOWN_CHUNKS = 8, 50  # most of a sample
_NAME_LETTERS = 80  # of a transcript in a list of problems


@dataclass(frozen=True)
class Sample:
    """An example utterance."""

    id: str
    split: str
    transcript: str
    labels: tuple[str, ...]  # names of the labels
    face: np.ndarray  # crop of one frame, uint8 `[48, 48, 3]`
    face_found: bool  # whether the crop shows a face, not the centre of the frame
    evidence: Evidence  # at most 8 frames, evenly spaced, and 50 mel chunks


@dataclass
class Inspection:
    """The contents and problems of records."""

    dataset: str  # name of the dataset
    kind: str  # record kind
    label_names: tuple[str, ...]  # names of the labels, in order
    # By split, numbers of utterances (also those without a label, and with several), dialogues, speakers, frames,
    # frames with a face, mel chunks, silent chunks, and positives by label.
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    # By split and name, a value of each utterance: frames, chunks, tokens; for media also seconds, and, for utterances
    # with frames or sound, `face_share` (of the frames that show a face), `decibels` (mean mel power) and
    # `silent_share` (of the chunks).
    values: dict[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    # Affected utterances, dialogues, speakers or transcripts by problem, one of `PROBLEMS`.
    problems: dict[str, list[str]] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)  # random utterances with frames

    def to_json(self) -> dict[str, Any]:
        """Everything except samples and single values, as plain values."""
        return {
            "dataset": self.dataset,
            "kind": self.kind,
            "splits": self.splits,
            "values": {
                split: {name: summary(numbers) for name, numbers in values.items()}
                for split, values in self.values.items()
            },
            "problems": self.problems,
        }


# By problem: what is affected, and what it means.
PROBLEMS = {
    "shared_dialogue": ("dialogue", "with utterances in more than one split: scores will be too good"),
    "shared_media": ("recording", "with equal sound and frames in more than one split: scores will be too good"),
    "shared_transcript": ("transcript", "in more than one split: a model that reads text may know the answer"),
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
    # By kind and key, an utterance of each split that has the key.
    owners: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    problems: dict[str, list[str]] = {name: [] for name in PROBLEMS}
    rng = np.random.default_rng(seed)
    # Published features have no column for faces.
    faces_known = "origin" not in (metadata.features or {})
    seen = 0
    for split, stored in metadata.splits.items():
        counts: Counter[str] = Counter()
        values: dict[str, list[float]] = defaultdict(list)
        # A split without examples has no file.
        for example in builder.as_data_source(split=split) if split in builder.info.splits else ():
            identity = example["utterance_id"].decode()
            for group, key in _keys(example, result.kind):
                owners[group][key].setdefault(split, identity)
            for problem in _problems_of(example, result.kind, faces_known):
                problems[problem].append(identity)
            labels = int(np.count_nonzero(example["label"]))
            counts["no_label"] += not labels
            counts["several_labels"] += labels > 1
            if result.kind == "media":
                _measure(example, counts, values)
                if len(example["faces"]):
                    seen += 1
                    _update_samples(result, example, split, samples, seen, rng)
        result.splits[split] = {
            "utterances": len(stored.utterance_ids),
            **{f"{group}s": sum(split in splits for splits in owners[group].values()) for group in _GROUPS},
            **{name: counts[name] for name in _COUNTS[: None if result.kind == "media" else 2]},
            "positives": dict(zip(result.label_names, stored.positives, strict=True)),
        }
        result.values[split] = {"frames": stored.frames, "chunks": stored.chunks, "tokens": stored.tokens, **values}
    for group, by_key in owners.items():
        shared = {key: splits for key, splits in by_key.items() if len(splits) > 1}
        names = (" = ".join(ids.values()) if group == "media" else key for key, ids in shared.items())
        short = [textwrap.shorten(name, _NAME_LETTERS, placeholder=" ...") for name in names]
        problems[f"shared_{group}"] = [f'"{name}"' for name in short] if group == "transcript" else short
    result.problems = {problem: sorted(names) for problem, names in problems.items() if names}
    return result


def summary(values: Sequence[float]) -> dict[str, float]:
    """Quantiles by name; empty without values."""
    if not values:
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"smallest": min(values), "5%": low, "median": middle, "95%": high, "largest": max(values)}


_GROUPS = ("dialogue", "speaker")
_COUNTS = ("no_label", "several_labels", "frames", "frames_with_face", "chunks", "silent_chunks")


def _keys(example: Mapping[str, Any], kind: str) -> Iterator[tuple[str, str]]:
    """Yields what no other split should have, as kind and key."""
    yield "dialogue", example["dialogue_id"].decode()
    yield "speaker", example["speaker"].decode()
    words = example["transcript"].decode().split()
    if len(words) >= _LEAKED_WORDS:
        yield "transcript", " ".join(words).casefold()
    sound, frames = _media(example, kind)
    # All silent sounds of one length are equal.
    if len(frames) or (len(sound) and sound.max() >= _SILENT):
        yield "media", hashlib.sha256(sound.tobytes() + frames.tobytes()).hexdigest()


def _media(example: Mapping[str, Any], kind: str) -> tuple[np.ndarray, np.ndarray]:
    return (example["mel"], example["faces"]) if kind == "media" else (example["audio"], example["video"])


def _problems_of(example: Mapping[str, Any], kind: str, faces_known: bool) -> Iterator[str]:
    if not example["transcript"].decode().strip():
        yield "no_words"
    sound, frames = _media(example, kind)
    if not len(sound):
        yield "no_sound"
    elif kind == "media" and sound.max() < _SILENT:
        yield "silent"
    if not len(frames):
        yield "no_frames"
    elif faces_known and not (example["face_found"] if kind == "media" else frames[:, -1]).any():
        yield "no_face"


def _measure(example: Mapping[str, Any], counts: Counter[str], values: dict[str, list[float]]) -> None:
    """Adds an utterance of media to the counts and values of its split."""
    found, mel = example["face_found"], example["mel"]
    last_frame = float(example["frame_ms"][-1]) / 1000 if len(found) else 0.0
    values["seconds"].append(round(len(mel) * CHUNK_SECONDS, 1) or last_frame)
    counts["frames"] += len(found)
    counts["frames_with_face"] += int(found.sum())
    if len(found):
        values["face_share"].append(float(found.mean()))
    if len(mel):
        silent = mel.max(axis=(1, 2)) < _SILENT
        counts["chunks"] += len(mel)
        counts["silent_chunks"] += int(silent.sum())
        values["silent_share"].append(float(silent.mean()))
        values["decibels"].append(float(10 * np.log10(max(mel.mean(dtype=float), 1e-10))))


def _update_samples(
    result: Inspection, example: Mapping[str, Any], split: str, samples: int, seen: int, rng: np.random.Generator
) -> None:
    """Keeps each of the utterances seen so far with the same probability (reservoir sampling)."""
    position = len(result.samples) if len(result.samples) < samples else int(rng.integers(seen))
    if position >= samples:
        return
    frames = len(example["faces"])
    i = int(rng.integers(frames))
    shown = np.linspace(0, frames - 1, min(frames, _SHOWN_FRAMES)).round().astype(int)
    evidence = Evidence(
        faces=example["faces"][shown],
        face_found=example["face_found"][shown],
        frame_ms=example["frame_ms"][shown],
        mel=np.array(example["mel"][:_SHOWN_CHUNKS]),
        kept={},
    )
    sample = Sample(
        id=example["utterance_id"].decode(),
        split=split,
        transcript=example["transcript"].decode(),
        labels=tuple(name for name, value in zip(result.label_names, example["label"], strict=True) if value),
        face=np.array(example["faces"][i]),
        face_found=bool(example["face_found"][i]),
        evidence=evidence,
    )
    result.samples[position : position + 1] = [sample]
