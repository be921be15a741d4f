"""Reads the hand-crafted features that the paper's authors publish beside their processed folders.

    MOSEI_HCF_FEATURES/mosei_senti_hcf_{train,valid,test}.pkl
        {"id": ["ID_clip", ..], "text": [n, l, 300], "audio": [n, s, d], "vision": [n, t, 35]}
    IEMOCAP_HCF_FEATURES/{train,valid,test}_{text,audio,video}_features.pt
        text     {turn: [l, 300]}
        audio    {turn: {"L": [d, s], "R": [d, s]}}, of either channel; rows here are the columns there
        video    {turn: {"image_L_0": [d], "image_R_0": [d], ..}}, of the pictures of either half

All of them are bare pickles, `.pt` too. This is assumed from how the paper's code reads them (`get_dataset_mosei` and
`get_dataset_iemocap` of its src/datasets.py), not from the files themselves. It says neither all the widths nor whether
rows are lists, arrays of numpy or tensors: any of these is read, and widths are those of most utterances. As there, the
last 35 numbers of a picture of IEMOCAP count (its action units), all pictures of the speaker's half do, in the order of
their numbers, and rows of zeros that pad MOSEI's utterances are kept. Labels and transcripts are those of `meta.pkl`.

Axes: `n` utterances, `l` words, `s` rows of audio, `t` frames, `d` features.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.releases.iemocap import parse_turn
from data_tools.releases.pickles import reading
from data_tools.releases.processed import find_root
from data_tools.releases.release import ReleaseError
from data_tools.releases.release_files import listing
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.utterance import Finding
from mme2e_jax.pickles import tensor_pickle

NAMES = ("text", "audio", "video")
DESCRIPTION = "hand-crafted features of the paper's authors, as in their *_HCF_FEATURES"
_ACTION_UNITS = 35
# Of one utterance's features of a kind. Lists may share what they hold, so that a short file could claim any number.
_MOST_NUMBERS = 1 << 24

Arrays = dict[str, np.ndarray]


def require_features(raw: Path, dataset: str) -> Path:
    """The folder of the published features beside the processed folder in, or at, `raw`.

    Raises:
      ReleaseError: there is no such folder, or a file is missing.
    """
    folder = find_root(raw, dataset).parent / f"{dataset.upper()}_HCF_FEATURES"
    expected = [name for split in SPLITS for name in _FILES[dataset](split)]
    if not folder.is_dir():
        raise ReleaseError(
            f"Expected the folder {folder} with {', '.join(expected)}; found none. Compute features from pictures and "
            "sounds instead, with --features=computed."
        )
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise ReleaseError(f"Expected {', '.join(missing)} in {folder}; found there: {listing(folder)}.")
    return folder


def read_split(folder: Path, dataset: str, split: str) -> tuple[dict[str, Arrays], list[Finding]]:
    """Reads the features of one split.

    Args:
      folder: of the features.
      dataset: mosei or iemocap.
      split: train, valid or test.

    Returns:
      By utterance, float32 `text` `[l, d]`, `audio` `[s, d]` and `video` `[t, d]`, `[0, 0]` of what is missing or
      empty; and a finding for each that cannot be read.

    Raises:
      ReleaseError: a file is damaged, asks for what features do not need, or holds something else as a whole.
    """
    return _READERS[dataset](folder, split)


def _read_mosei(folder: Path, split: str) -> tuple[dict[str, Arrays], list[Finding]]:
    (file,) = _mosei_files(split)
    held = _load(folder / file)
    stored = {"id": "id", "text": "text", "audio": "audio", "video": "vision"}
    expected = "a dictionary with id, text, audio and vision, each with an entry for every utterance"
    if not isinstance(held, dict) or not all(_is_sequence(held.get(key)) for key in stored.values()):
        raise _unexpected(folder / file, expected, held)
    lengths = {key: len(held[key]) for key in stored.values()}
    names = [name.decode("latin1") if isinstance(name, bytes) else name for name in _listed(held["id"])]
    if len(set(lengths.values())) > 1 or not all(isinstance(name, str) for name in names):
        raise _unexpected(folder / file, f"{expected}, and texts as id", held)
    # As in the paper's code, the first of several with one name counts.
    places = {name: i for i, name in reversed(list(enumerate(names)))}
    return _convert({name: {k: held[stored[k]][places[name]] for k in NAMES} for name in dict.fromkeys(names)}, {})


def _read_iemocap(folder: Path, split: str) -> tuple[dict[str, Arrays], list[Finding]]:
    held = {}
    for name, file in zip(NAMES, _iemocap_files(split), strict=True):
        held[name] = _load(folder / file)
        if not isinstance(held[name], dict) or not all(isinstance(key, str) for key in held[name]):
            raise _unexpected(folder / file, "a dictionary by utterance", held[name])
    turns: dict[str, dict[str, Any]] = {}
    problems = {}
    for turn in sorted(set().union(*held.values())):
        try:
            _, _, on_left = parse_turn(turn)
            turns[turn] = {
                "text": held["text"].get(turn),
                "audio": _channel(held["audio"].get(turn), "L" if on_left else "R"),
                "video": _pictures(held["video"].get(turn), "L" if on_left else "R"),
            }
        except ValueError as error:
            problems[turn] = str(error)
    return _convert(turns, problems)


def _channel(by_side: Any, side: str) -> Any:
    """Rows of the speaker's channel, of which each is a column of the file."""
    if by_side is None:
        return None
    if not isinstance(by_side, dict) or side not in by_side:
        raise ValueError(f"audio: expected a dictionary with the channel {side}, found {describe(by_side)}")
    return as_matrix(by_side[side], "audio").T


def _pictures(by_picture: Any, side: str) -> Any:
    """The last 35 numbers of each picture of the speaker's half, in the order of the pictures' numbers."""
    if by_picture is None:
        return None
    if not isinstance(by_picture, dict):
        raise ValueError(f"video: expected a dictionary by picture, found {describe(by_picture)}")
    found = {name: re.fullmatch(rf"image_{side}_([0-9]{{1,7}})", name) for name in by_picture if isinstance(name, str)}
    numbered = sorted((int(match[1]), name) for name, match in found.items() if match)
    if by_picture and not numbered:
        raise ValueError(f"video: expected pictures named image_{side}_0 and so on, found {describe(by_picture)}")
    return as_matrix([by_picture[name] for _, name in numbered], "video")[:, -_ACTION_UNITS:]


def _convert(
    values: Mapping[str, Mapping[str, Any]], problems: Mapping[str, str]
) -> tuple[dict[str, Arrays], list[Finding]]:
    found, findings = {}, [Finding(name[:80], "bad_features", problem) for name, problem in problems.items()]
    for name, of_utterance in values.items():
        try:
            found[name] = {kind: as_matrix(value, kind) for kind, value in of_utterance.items()}
        except ValueError as error:
            findings.append(Finding(name[:80], "bad_features", str(error)))
    return found, findings


def as_matrix(value: Any, what: str) -> np.ndarray:
    """A matrix as float32 `[n, d]`: of an array, or a list of equally long lists or arrays; `[0, 0]` of nothing.

    Raises:
      ValueError: it is none, or has more than 2**24 numbers; says what it is of.
    """
    if value is None:
        return np.zeros((0, 0), np.float32)
    if isinstance(value, list | tuple):
        # Only so deep, and lengths first: what comes from a pickle may contain itself, or one row very often.
        widths = {len(row) if _is_sequence(row) else -1 for row in value}
        fits = len(widths) <= 1 and min(widths, default=0) >= 0 and len(value) * sum(widths) <= _MOST_NUMBERS
        if not fits or not all(map(_is_vector, value)):
            raise ValueError(f"{what}: expected equally long rows of numbers, found {describe(value)}")
        value = np.array(value, np.float32).reshape(len(value), sum(widths))
    if not isinstance(value, np.ndarray) or value.ndim != 2 or not _is_numeric(value) or value.size > _MOST_NUMBERS:
        raise ValueError(f"{what}: expected rows of numbers, found {describe(value)}")
    return np.zeros((0, 0), np.float32) if not value.size else np.asarray(value, np.float32)


def describe(value: Any) -> str:
    """What something from a pickle is, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {list(value.shape)}"
    if isinstance(value, dict):
        keys = ", ".join(f"{key!r:.40}" for key in list(value)[:6])
        return f"a dictionary of {len(value)} with {keys or 'nothing'}" + (", .." if len(value) > 6 else "")
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}" + (f" such as {type(value[0]).__name__}" if value else "")
    return f"{type(value).__name__} {value!r:.40}" if isinstance(value, str | int | float) else type(value).__name__


def _load(path: Path) -> Any:
    with reading(path, "file of features", "dictionaries, lists, numbers, arrays and tensors"), path.open("rb") as file:
        return tensor_pickle.load(file)


def _unexpected(path: Path, expected: str, held: Any) -> ReleaseError:
    parts = held if isinstance(held, dict) else {}
    inside = "".join(f"; {key!r:.20} is {describe(part)}" for key, part in list(parts.items())[:6])
    return ReleaseError(f"Expected {path} to hold {expected}; found {describe(held)}{inside}.")


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _listed(value: Any) -> list[Any]:
    return value.tolist() if isinstance(value, np.ndarray) else list(value)


def _is_vector(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and _is_numeric(value)
    return isinstance(value, list | tuple) and all(isinstance(x, int | float) for x in value)


def _is_numeric(value: np.ndarray) -> bool:
    return value.dtype.kind in "fiub"


def _mosei_files(split: str) -> Sequence[str]:
    return (f"mosei_senti_hcf_{split}.pkl",)


def _iemocap_files(split: str) -> Sequence[str]:
    return tuple(f"{split}_{name}_features.pt" for name in NAMES)


_FILES: Mapping[str, Callable[[str], Iterable[str]]] = {"mosei": _mosei_files, "iemocap": _iemocap_files}
_READERS: Mapping[str, Callable[[Path, str], tuple[dict[str, Arrays], list[Finding]]]] = {
    "mosei": _read_mosei,
    "iemocap": _read_iemocap,
}
