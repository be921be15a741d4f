"""Reads the hand-crafted features that the paper's authors publish.

    MOSEI_HCF_FEATURES/mosei_senti_hcf_{train,valid,test}.pkl
        {"id": ["ID_clip", ..], "text": [n, l, 300], "audio": [n, s, d], "vision": [n, t, 35]}
    IEMOCAP_HCF_FEATURES/{train,valid,test}_{text,audio,video}_features.pt
        text     {turn: [l, 300]}
        audio    {turn: {"L": [d, s], "R": [d, s]}}, one matrix for each channel, transposed here
        video    {turn: {"image_L_0": [d], "image_R_0": [d], ..}}, one vector for each image of each half

The folders lie next to the processed folders. All files are bare pickles, `.pt` too. The format is inferred from the
paper's code (`get_dataset_mosei` and `get_dataset_iemocap` of its src/datasets.py), not from the files themselves. The
code does not state all widths, nor whether rows are lists, numpy arrays or tensors: all of these are read, and the most
frequent width is the valid one. As in that code, the last 35 values of an IEMOCAP image count (its action units), all
images of the speaker's half are used in the order of their numbers, and zero padding of MOSEI's utterances is kept.
Labels and transcripts come from `meta.pkl`.

Axes: `n` utterances, `l` words, `s` rows of audio, `t` frames, `d` features.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.releases.iemocap import parse_turn
from data_tools.releases.processed import find_root
from data_tools.releases.release import ReleaseError, listing, pickle_errors
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.utterance import Finding
from mme2e_jax.pickles import tensor_pickle

MODALITIES = ("text", "audio", "video")
DESCRIPTION = "hand-crafted features of the paper's authors, as in their *_HCF_FEATURES"
_ACTION_UNITS = 35
# Of one modality of one utterance. Lists may share their contents, so that a short file could claim any size.
_MAX_VALUES = 1 << 24

_FILES = {
    "mosei": ("mosei_senti_hcf_{split}.pkl",),
    "iemocap": tuple(f"{{split}}_{name}_features.pt" for name in MODALITIES),
}

Arrays = dict[str, np.ndarray]


def require_features(raw: Path, dataset: str) -> Path:
    """The folder of features next to the processed one in or at `raw`; raises `ReleaseError` if a part is missing."""
    folder = find_root(raw, dataset).parent / f"{dataset.upper()}_HCF_FEATURES"
    expected = [name.format(split=split) for split in SPLITS for name in _FILES[dataset]]
    if not folder.is_dir():
        raise ReleaseError(
            f"Expected the folder {folder} with {', '.join(expected)}; found none. Or compute features from images and "
            "sounds with --features=computed."
        )
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise ReleaseError(f"Expected {', '.join(missing)} in {folder}; found there: {listing(folder)}.")
    return folder


def read_split(folder: Path, dataset: str, split: str) -> tuple[dict[str, Arrays], list[Finding]]:
    """Reads the features of one split: train, valid or test.

    Returns by utterance float32 `text` `[l, d]`, `audio` `[s, d]` and `video` `[t, d]`, `[0, 0]` if missing or empty,
    and a finding for each unreadable utterance. Raises `ReleaseError` if a file is damaged, asks for something that
    features do not need, or has another structure.
    """
    return (_read_mosei if dataset == "mosei" else _read_iemocap)(folder, split)


def _read_mosei(folder: Path, split: str) -> tuple[dict[str, Arrays], list[Finding]]:
    path = folder / _FILES["mosei"][0].format(split=split)
    content = _load(path)
    stored = {"id": "id", "text": "text", "audio": "audio", "video": "vision"}
    expected = "a dictionary with id, text, audio and vision, each with an entry for every utterance"
    if not isinstance(content, dict) or not all(_is_sequence(content.get(key)) for key in stored.values()):
        raise _unexpected(path, expected, content)
    lengths = {len(content[key]) for key in stored.values()}
    ids = content["id"].tolist() if isinstance(content["id"], np.ndarray) else content["id"]
    names = [name.decode("latin1") if isinstance(name, bytes) else name for name in ids]
    if len(lengths) > 1 or not all(isinstance(name, str) for name in names):
        raise _unexpected(path, f"{expected}, and texts as id", content)
    # As in the paper's code, the first of several entries with one name counts.
    index = {name: i for i, name in reversed(list(enumerate(names)))}
    return _convert(
        {name: {m: content[stored[m]][index[name]] for m in MODALITIES} for name in dict.fromkeys(names)}, {}
    )


def _read_iemocap(folder: Path, split: str) -> tuple[dict[str, Arrays], list[Finding]]:
    content = {}
    for name, file in zip(MODALITIES, _FILES["iemocap"], strict=True):
        path = folder / file.format(split=split)
        content[name] = _load(path)
        if not isinstance(content[name], dict) or not all(isinstance(key, str) for key in content[name]):
            raise _unexpected(path, "a dictionary by utterance", content[name])
    turns: dict[str, dict[str, Any]] = {}
    problems = {}
    for turn in sorted(set().union(*content.values())):
        try:
            _, _, on_left = parse_turn(turn)
            turns[turn] = {
                "text": content["text"].get(turn),
                "audio": _channel(content["audio"].get(turn), "L" if on_left else "R"),
                "video": _images(content["video"].get(turn), "L" if on_left else "R"),
            }
        except ValueError as error:
            problems[turn] = str(error)
    return _convert(turns, problems)


def _channel(channels: Any, side: str) -> Any:
    """The features of the speaker's channel, transposed to one row for each column of the file."""
    if channels is None:
        return None
    if not isinstance(channels, dict) or side not in channels:
        raise ValueError(f"audio: expected a dictionary with the channel {side}, found {describe(channels)}")
    return as_matrix(channels[side], "audio").T


def _images(images: Any, side: str) -> Any:
    """The action units of each image of the speaker's half, in the order of the images' numbers."""
    if images is None:
        return None
    if not isinstance(images, dict):
        raise ValueError(f"video: expected a dictionary by image, found {describe(images)}")
    matches = {name: re.fullmatch(rf"image_{side}_([0-9]{{1,7}})", name) for name in images if isinstance(name, str)}
    numbered = sorted((int(match[1]), name) for name, match in matches.items() if match)
    if images and not numbered:
        raise ValueError(f"video: expected images named image_{side}_0 and so on, found {describe(images)}")
    return as_matrix([images[name] for _, name in numbered], "video")[:, -_ACTION_UNITS:]


def _convert(
    values: Mapping[str, Mapping[str, Any]], problems: Mapping[str, str]
) -> tuple[dict[str, Arrays], list[Finding]]:
    converted, findings = {}, [Finding(name[:80], "bad_features", problem) for name, problem in problems.items()]
    for name, modalities in values.items():
        try:
            converted[name] = {modality: as_matrix(value, modality) for modality, value in modalities.items()}
        except ValueError as error:
            findings.append(Finding(name[:80], "bad_features", str(error)))
    return converted, findings


def as_matrix(value: Any, modality: str) -> np.ndarray:
    """Converts an array, or a list of equally long lists or arrays, to float32 `[n, d]`; an empty value to `[0, 0]`.

    Raises ValueError, which names the modality, for other values or more than 2**24 elements.
    """
    if value is None:
        return np.zeros((0, 0), np.float32)
    if isinstance(value, list | tuple):
        # Two levels only, and lengths first: a value from a pickle may contain itself, or one row many times.
        widths = {len(row) if _is_sequence(row) else -1 for row in value}
        fits = len(widths) <= 1 and min(widths, default=0) >= 0 and len(value) * sum(widths) <= _MAX_VALUES
        if not fits or not all(map(_is_vector, value)):
            raise ValueError(f"{modality}: expected equally long rows of numbers, found {describe(value)}")
        value = np.array(value, np.float32).reshape(len(value), sum(widths))
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not _is_numeric(value) or value.size > _MAX_VALUES:
        raise ValueError(f"{modality}: expected rows of numbers, found {describe(value)}")
    return np.zeros((0, 0), np.float32) if not value.size else np.asarray(value, np.float32)


def describe(value: Any) -> str:
    """A short description of a value from a pickle."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {list(value.shape)}"
    if isinstance(value, dict):
        keys = ", ".join(f"{key!r:.40}" for key in list(value)[:6])
        return f"a dictionary of {len(value)} with {keys or 'nothing'}" + (", .." if len(value) > 6 else "")
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}" + (f" such as {type(value[0]).__name__}" if value else "")
    return f"{type(value).__name__} {value!r:.40}" if isinstance(value, str | int | float) else type(value).__name__


def _load(path: Path) -> Any:
    expected = "dictionaries, lists, numbers, arrays and tensors"
    with pickle_errors(path, "file of features", expected), path.open("rb") as file:
        return tensor_pickle.load(file)


def _unexpected(path: Path, expected: str, content: Any) -> ReleaseError:
    parts = content if isinstance(content, dict) else {}
    inside = "".join(f"; {key!r:.20} is {describe(part)}" for key, part in list(parts.items())[:6])
    return ReleaseError(f"Expected {path} to hold {expected}; found {describe(content)}{inside}.")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _is_vector(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and _is_numeric(value)
    return isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value)


def _is_numeric(value: np.ndarray) -> bool:
    return value.dtype.kind in "fiub"
