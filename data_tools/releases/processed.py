"""Reads the folders that the paper's authors publish: utterances cut out already, as pictures and sounds.

    MOSEI_RAW_PROCESSED/meta.pkl         {ID_clip: {"text": .., "label": [0 or 1, six times]}}
    MOSEI_RAW_PROCESSED/ID_clip/         image_0.jpg .., audio.wav
    IEMOCAP_RAW_PROCESSED/meta.pkl       {turn: {"text": .., "label": "neu", "fps": .., ..}}
    IEMOCAP_RAW_PROCESSED/../turn/       image_L_0.jpg .., image_R_0.jpg .., audio_L.wav, audio_R.wav
    MOSEI_SPLIT/, IEMOCAP_SPLIT/         {train,valid,test}_split.txt, an utterance a line

The folders of turns lie beside `meta.pkl` or one level below it. The pictures of IEMOCAP are the 224 x 224
in which the speaker's face is searched; those of MOSEI are whole frames. Nothing in the pickle is run.
"""

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from data_tools.releases.iemocap import OTHER_EMOTIONS, parse_turn
from data_tools.releases.pickles import reading
from data_tools.releases.release import Release, ReleaseError
from data_tools.releases.release_files import first_file, listing, require_directory
from data_tools.releases.splits import read_split_files
from mme2e_jax.constants import LABEL_NAMES
from mme2e_jax.media.image_sequence import image_numbers
from mme2e_jax.media.utterance import Finding, ImageSequence, Media, Utterance, is_identifier
from mme2e_jax.pickles import numpy_pickle, plain_pickle

META = "meta.pkl"
_MOST_META_BYTES = 1 << 28
_SAMPLED = 200  # utterances from whose lengths pictures per second are worked out
_NEAR = 0.04  # relative; a rate this near a whole number is meant to be it

Meta = Mapping[str, Any]


def read_mosei(raw: Path, fps: float | None = None, *, with_media: bool = True) -> Release:
    """Reads `MOSEI_RAW_PROCESSED` in, or at, `raw`.

    Args:
      raw: the directory.
      fps: pictures per second; None to work it out from the sounds' lengths.
      with_media: whether to look for pictures and sounds; else no utterance has any.

    Raises:
      ReleaseError: there is no such folder, its `meta.pkl` cannot be read, or the rate cannot be worked out.
    """
    return _read(raw, "mosei", fps, _mosei_entry, with_media)


def read_iemocap(raw: Path, fps: float | None = None, *, with_media: bool = True) -> Release:
    """Reads `IEMOCAP_RAW_PROCESSED` in, or at, `raw`; else as `read_mosei`."""
    return _read(raw, "iemocap", fps, _iemocap_entry, with_media)


class _Entry(NamedTuple):
    """What is known of one utterance, before its folder is looked at."""

    utterance: Utterance
    prefix: str  # of its pictures' names
    wav: str


def find_root(raw: Path, dataset: str) -> Path:
    """The folder with `meta.pkl`: `raw`, or the dataset's own in it.

    Raises:
      ReleaseError: there is none.
    """
    name = f"{dataset.upper()}_RAW_PROCESSED"
    expected = f"{name}/{META} and a folder for each utterance"
    require_directory(raw, expected)
    root = next((path for path in (raw / name, raw) if (path / META).is_file()), None)
    if root is None:
        raise ReleaseError(f"Expected {expected} in {raw}; found there: {listing(raw)}.")
    return root


def _read(
    raw: Path, dataset: str, fps: float | None, parse: Callable[[str, Meta], _Entry | Finding], with_media: bool
) -> Release:
    name = dataset.upper()
    root = find_root(raw, dataset)
    meta = read_meta(root / META)
    findings: list[Finding] = []
    entries: list[_Entry] = []
    for key, known in sorted(meta.items(), key=lambda item: _short(item[0])):
        if not (isinstance(key, str) and is_identifier(key) and isinstance(known, dict)):
            findings.append(Finding(_short(key), "bad_meta", "expected an identifier and what is known of it"))
            continue
        parsed = parse(key, known)
        if isinstance(parsed, Finding):
            findings.append(parsed)
            continue
        entries.append(parsed)
        if not parsed.utterance.transcript:
            findings.append(Finding(key, "empty_transcript"))
    folders = _folders(root, meta) if with_media else {}
    media = _media(entries, folders, {key: fps or _rate_of(known) for key, known in meta.items()})
    sides = read_split_files(splits) if (splits := root.parent / f"{name}_SPLIT").is_dir() else None
    if sides is not None:
        findings += [Finding(key, "not_in_meta") for key in sorted(sides.keys() - meta.keys())]
    return Release(LABEL_NAMES[dataset], [entry.utterance for entry in entries], media, findings, sides)


def read_meta(path: Path) -> dict[Any, Any]:
    """Reads `meta.pkl`: plain containers, texts, numbers and arrays of numpy. Nothing in it is run.

    Raises:
      ReleaseError: it is damaged, asks for anything else, or is no dictionary.
    """
    if path.stat().st_size > _MOST_META_BYTES:
        raise ReleaseError(f"Expected {path} to be at most {_MOST_META_BYTES >> 20} MB, found more: it is no meta.pkl.")
    with reading(path, "meta.pkl", "dictionaries, texts and numbers"):
        meta = plain_pickle.load(path.read_bytes(), numpy_pickle.GLOBALS)
    if not isinstance(meta, dict) or not meta:
        raise ReleaseError(f"Expected {path} to hold a dictionary by utterance, found {type(meta).__name__}.")
    return meta


def _mosei_entry(key: str, known: Meta) -> _Entry | Finding:
    text, label = known.get("text"), known.get("label")
    label = label.tolist() if isinstance(label, np.ndarray) else label
    video, _, _ = key.rpartition("_")
    if not isinstance(text, str) or not video:
        return Finding(key, "bad_meta", f"expected ID_clip with a text, found {_short(text)}")
    if not (isinstance(label, list | tuple) and len(label) == 6 and all(_is_bit(value) for value in label)):
        return Finding(key, "bad_meta", f"expected six labels 0 or 1, found {_short(label)}")
    bits = tuple(int(value) for value in label)
    return _Entry(_utterance(key, video, text, bits, speaker=video, view="centre"), "image_", "audio.wav")


def _iemocap_entry(key: str, known: Meta) -> _Entry | Finding:
    names = LABEL_NAMES["iemocap"]
    label, text = known.get("label"), known.get("text")
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
    # The pictures are the half's middle already.
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
    here = [entry for entry in entries if entry.utterance.id in folders]
    default = None
    if any(rates[entry.utterance.id] is None for entry in here):
        default = _work_out_rate(
            [(ImageSequence(folders[e.utterance.id], e.prefix, 1.0), wavs[e.utterance.id]) for e in here]
        )
    media = {}
    for utterance, prefix, _ in entries:
        rate, folder = rates[utterance.id] or default, folders.get(utterance.id)
        pictures = ImageSequence(folder, prefix, rate) if folder and rate else None
        media[utterance.id] = Media(pictures, wavs[utterance.id])
    return media


def _work_out_rate(candidates: Sequence[tuple[ImageSequence, Path | None]]) -> float:
    """ImageSequence per second of the whole folder: as many pictures as there are seconds of sound."""
    count, seconds = 0, 0.0
    step = max(1, len(candidates) // _SAMPLED)
    for pictures, wav in candidates[::step]:
        if wav is None:
            continue
        try:
            length = soundfile.info(wav).duration
        except soundfile.SoundFileError:
            continue
        found = len(image_numbers(pictures))
        if found:
            count, seconds = count + found, seconds + length
    if not seconds:
        raise ReleaseError(
            "Expected sounds beside the pictures, from whose lengths the pictures per second follow; found none that "
            "can be read. Say it with --source_fps=2 (or what the folder was made with)."
        )
    rate = count / seconds
    return float(round(rate)) if round(rate) and abs(rate / round(rate) - 1) <= _NEAR else rate


def _rate_of(known: Any) -> float | None:
    """ImageSequence per second, where `meta.pkl` says it."""
    rate = known.get("fps") if isinstance(known, dict) else None
    return float(rate) if isinstance(rate, int | float) and 0 < rate <= 1000 else None


def _folders(root: Path, meta: Meta) -> dict[str, Path]:
    """The folders of utterances, beside `meta.pkl` or one level below, by name."""
    below = {path.name: path for path in root.iterdir() if path.is_dir()}
    # Looking into those of utterances would mean millions of pictures.
    groups = [path for name, path in below.items() if name not in meta]
    deeper = {path.name: path for group in groups for path in group.iterdir() if path.is_dir()}
    return {name: path for name, path in (deeper | below).items() if name in meta}


def _short(value: Any) -> str:
    """A value in a few words: contents that are shared many times over would be endless when written out."""
    return value[:80] if isinstance(value, str) else reprlib.repr(value)[:80]


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float) and value in (0, 1)
