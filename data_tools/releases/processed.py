"""Reads the processed folders of the paper's authors: images and sounds.

    MOSEI_RAW_PROCESSED/meta.pkl         {ID_clip: {"text": .., "label": [0 or 1, six times]}}
    MOSEI_RAW_PROCESSED/ID_clip/         image_0.jpg .., audio.wav
    IEMOCAP_RAW_PROCESSED/meta.pkl       {turn: {"text": .., "label": "neu", "fps": .., ..}}
    IEMOCAP_RAW_PROCESSED/../turn/       image_L_0.jpg .., image_R_0.jpg .., audio_L.wav, audio_R.wav
    MOSEI_SPLIT/, IEMOCAP_SPLIT/         {train,valid,test}_split.txt, an utterance a line

The folders of turns lie next to `meta.pkl` or one level below it. The images of IEMOCAP are the 224 x 224 pixels in
which the speaker's face is detected; those of MOSEI are whole frames. Nothing in the pickle is run.
"""

import math
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from data_tools.releases.iemocap import OTHER_EMOTIONS, parse_turn
from data_tools.releases.release import Release, ReleaseError, first_file, listing, pickle_errors, require_directory
from data_tools.releases.splits import read_split_files
from mme2e_jax.constants import LABEL_NAMES
from mme2e_jax.media.image_sequence import image_numbers
from mme2e_jax.media.sound import soundfile_name
from mme2e_jax.media.utterance import Finding, ImageSequence, Media, Utterance, is_identifier
from mme2e_jax.pickles import numpy_pickle, plain_pickle

META = "meta.pkl"
_MAX_META_BYTES = 1 << 28
_SAMPLED = 200  # utterances from which the frame rate is estimated
_ROUNDING = 0.04  # relative distance up to which a frame rate is rounded to a whole number

Meta = Mapping[str, Any]


class _Entry(NamedTuple):
    """An utterance of `meta.pkl`, the prefix of its image names, and the name of its wav file."""

    utterance: Utterance
    prefix: str
    wav: str


def find_root(raw: Path, dataset: str) -> Path:
    """The folder with `meta.pkl`: `raw`, or the dataset's folder in it; raises `ReleaseError` if there is none."""
    name = f"{dataset.upper()}_RAW_PROCESSED"
    expected = f"{name}/{META} and a folder for each utterance"
    require_directory(raw, expected)
    root = next((path for path in (raw / name, raw) if (path / META).is_file()), None)
    if root is None:
        raise ReleaseError(f"Expected {expected} in {raw}; found there: {listing(raw)}.")
    return root


def read_release(raw: Path, dataset: str, fps: float | None = None, *, with_media: bool = True) -> Release:
    """Reads the processed folder of mosei or iemocap, which is `raw` or lies in it.

    `fps` is the number of images per second, estimated from the lengths of the sounds if None. Without `with_media`,
    images and sounds are not looked for. Raises `ReleaseError` if there is no such folder, its `meta.pkl` cannot be
    read, or the frame rate cannot be estimated.
    """
    root = find_root(raw, dataset)
    meta = read_meta(root / META)
    parse = _mosei_entry if dataset == "mosei" else _iemocap_entry
    findings: list[Finding] = []
    entries: list[_Entry] = []
    for key, fields in sorted(meta.items(), key=lambda item: _short(item[0])):
        if not (isinstance(key, str) and is_identifier(key) and isinstance(fields, dict)):
            findings.append(Finding(_short(key), "bad_meta", "expected an identifier and a dictionary"))
            continue
        parsed = parse(key, fields)
        if isinstance(parsed, Finding):
            findings.append(parsed)
            continue
        entries.append(parsed)
        if not parsed.utterance.transcript:
            findings.append(Finding(key, "empty_transcript"))
    folders = _folders(root, meta) if with_media else {}
    media = _media(entries, folders, {key: fps or _stored_rate(fields) for key, fields in meta.items()})
    split_files = root.parent / f"{dataset.upper()}_SPLIT"
    splits = read_split_files(split_files) if split_files.is_dir() else None
    if splits is not None:
        findings += [Finding(key, "not_in_meta") for key in sorted(splits.keys() - meta.keys())]
    return Release(LABEL_NAMES[dataset], [entry.utterance for entry in entries], media, findings, splits)


def read_meta(path: Path) -> dict[Any, Any]:
    """Reads a dictionary of plain values and numpy arrays, running nothing; raises `ReleaseError` for anything else."""
    if path.stat().st_size > _MAX_META_BYTES:
        raise ReleaseError(f"Expected {path} to be at most {_MAX_META_BYTES >> 20} MB, found more: it is no meta.pkl.")
    with pickle_errors(path, "meta.pkl", "dictionaries, texts and numbers"):
        meta = plain_pickle.load(path.read_bytes(), numpy_pickle.GLOBALS)
    if not isinstance(meta, dict) or not meta:
        raise ReleaseError(f"Expected {path} to hold a dictionary by utterance, found {type(meta).__name__}.")
    return meta


def _mosei_entry(key: str, fields: Meta) -> _Entry | Finding:
    text, label = fields.get("text"), fields.get("label")
    label = label.tolist() if isinstance(label, np.ndarray) else label
    video, _, _ = key.rpartition("_")
    if not isinstance(text, str) or not video:
        return Finding(key, "bad_meta", f"expected ID_clip with a text, found {_short(text)}")
    if not (isinstance(label, list | tuple) and len(label) == 6 and all(_is_bit(value) for value in label)):
        return Finding(key, "bad_meta", f"expected six labels 0 or 1, found {_short(label)}")
    bits = tuple(int(value) for value in label)
    return _Entry(_utterance(key, video, text, bits, speaker=video, view="centre"), "image_", "audio.wav")


def _iemocap_entry(key: str, fields: Meta) -> _Entry | Finding:
    names = LABEL_NAMES["iemocap"]
    label, text = fields.get("label"), fields.get("text")
    if not isinstance(label, str):
        return Finding(key, "bad_meta", f"expected the name of an emotion, found {_short(label)}")
    if label in OTHER_EMOTIONS:
        return Finding(key, "other_emotion", label)
    try:
        dialogue, speaker, on_left = parse_turn(key)
    except ValueError as error:
        return Finding(key, "bad_meta", str(error))
    if label not in names:
        return Finding(key, "bad_meta", f"unknown emotion {_short(label)}")
    if not isinstance(text, str):
        return Finding(key, "label_without_transcript")
    bits = tuple(int(label == name) for name in names)
    side = "L" if on_left else "R"
    # The images are cropped to the view already.
    return _Entry(_utterance(key, dialogue, text, bits, speaker, "whole"), f"image_{side}_", f"audio_{side}.wav")


def _utterance(key: str, video: str, text: str, label: tuple[int, ...], speaker: str, view: str) -> Utterance:
    return Utterance(key, video, 0.0, math.inf, " ".join(text.split()), label, speaker, view, owns_media=True)


def _media(
    entries: Sequence[_Entry], folders: Mapping[str, Path], rates: Mapping[str, float | None]
) -> dict[str, Media]:
    wavs: dict[str, Path | None] = {}
    for utterance, _, wav in entries:
        folder = folders.get(utterance.id)
        wavs[utterance.id] = first_file([folder / wav]) if folder else None
    present = [(u, prefix) for u, prefix, _ in entries if u.id in folders]
    default = None
    if any(rates[u.id] is None for u, _ in present):
        default = _estimate_rate([(ImageSequence(folders[u.id], prefix, 1.0), wavs[u.id]) for u, prefix in present])
    media = {}
    for utterance, prefix, _ in entries:
        rate, folder = rates[utterance.id] or default, folders.get(utterance.id)
        images = ImageSequence(folder, prefix, rate) if folder and rate else None
        media[utterance.id] = Media(images, wavs[utterance.id])
    return media


def _estimate_rate(candidates: Sequence[tuple[ImageSequence, Path | None]]) -> float:
    """Images per second of all utterances, from the lengths of their sounds."""
    count, seconds = 0, 0.0
    step = max(1, len(candidates) // _SAMPLED)
    for images, wav in candidates[::step]:
        if wav is None:
            continue
        try:
            length = soundfile.info(soundfile_name(wav)).duration
        except soundfile.SoundFileError:
            continue
        if image_count := len(image_numbers(images)):
            count, seconds = count + image_count, seconds + length
    if not seconds:
        raise ReleaseError(
            "Expected readable sounds next to the images, from which the images per second follow; found none. State "
            "the frame rate with --source_fps=2 (or the rate of your folder)."
        )
    rate = count / seconds
    return float(round(rate)) if round(rate) and abs(rate / round(rate) - 1) <= _ROUNDING else rate


def _stored_rate(fields: Any) -> float | None:
    rate = fields.get("fps") if isinstance(fields, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate <= 1000 else None


def _folders(root: Path, meta: Meta) -> dict[str, Path]:
    """The folders of utterances by name, next to `meta.pkl` or one level below."""
    below = {path.name: path for path in root.iterdir() if path.is_dir()}
    # The folders of utterances are not listed: they hold millions of images.
    groups = [path for name, path in below.items() if name not in meta]
    deeper = {path.name: path for group in groups for path in group.iterdir() if path.is_dir()}
    return {name: path for name, path in (deeper | below).items() if name in meta}


def _short(value: Any) -> str:
    """A short text for a value; repr itself would not end for contents that are shared many times."""
    return value[:80] if isinstance(value, str) else reprlib.repr(value)[:80]


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)
