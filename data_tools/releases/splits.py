"""Divides utterances into training, validation and test splits."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_tools.releases.release import ReleaseError, read_text
from mme2e_jax.media.utterance import Finding, Utterance

SPLITS = ("train", "valid", "test")
_SHARES = (0.70, 0.15, 0.15)
_CANDIDATES = 500

SplitUtterances = dict[str, list[Utterance]]  # the utterances of each split, in the given order


def split_by_video(utterances: Sequence[Utterance], seed: int) -> SplitUtterances:
    """Splits about 70 / 15 / 15 % of the utterances, by video.

    Of 500 random orders of the videos, drawn from `seed`, it takes the one whose splits are closest to these shares and
    the whole's label proportions, and lack the fewest labels. Below three videos `valid`, then `test`, stay empty.
    """
    if not utterances:
        return {split: [] for split in SPLITS}
    videos = sorted({utterance.video for utterance in utterances})
    index = {video: i for i, video in enumerate(videos)}
    sizes = np.zeros(len(videos))
    labels = np.zeros((len(videos), len(utterances[0].label)))
    for utterance in utterances:
        sizes[index[utterance.video]] += 1
        labels[index[utterance.video]] += utterance.label

    rng = np.random.default_rng(seed)
    candidates = (_assign(rng.permutation(len(videos)), sizes) for _ in range(_CANDIDATES))
    best = min(candidates, key=lambda numbers: _imbalance(numbers, sizes, labels))
    return {split: [u for u in utterances if best[index[u.video]] == i] for i, split in enumerate(SPLITS)}


def _assign(order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The split number of each video if videos fill the splits in `order`."""
    # A video belongs to the split that contains its middle utterance.
    ends = np.cumsum(sizes[order])
    middles = (ends - sizes[order] / 2) / max(sizes.sum(), 1)
    numbers = np.searchsorted(np.cumsum(_SHARES[:-1]), middles, side="right")
    if len(order) >= len(SPLITS):
        numbers[0], numbers[-2], numbers[-1] = 0, min(numbers[-2], 1), 2
        if not (numbers == 1).any():
            numbers[-2] = 1
    else:
        numbers = np.array([0, 2])[: len(order)]
    result = np.empty(len(order), int)
    result[order] = numbers
    return result


def _imbalance(numbers: np.ndarray, sizes: np.ndarray, labels: np.ndarray) -> float:
    whole = labels.sum(0) / sizes.sum()
    cost = 0.0
    for i, share in enumerate(_SHARES):
        count = sizes[numbers == i].sum()
        positives = labels[numbers == i].sum(0)
        cost += 10 * abs(count / sizes.sum() - share)
        cost += np.abs(positives / max(count, 1) - whole).sum()
        cost += 10 * ((positives == 0) & (whole > 0)).sum()
    return float(cost)


def leave_one_out(
    utterances: Sequence[Utterance], session_of: Callable[[Utterance], int], fold: int
) -> SplitUtterances:
    """Tests on session `fold`, validates on the next; raises `ReleaseError` without that session and two others."""
    sessions = sorted({session_of(utterance) for utterance in utterances})
    if fold not in sessions or len(sessions) < len(SPLITS):
        found = ", ".join(map(str, sessions)) or "none"
        raise ReleaseError(
            f"Expected utterances of session {fold} and of at least two more (one validates, the others train); found "
            f"the sessions {found}. Choose --fold among them, or split by your own files with --splits=DIR."
        )
    following = sessions[(sessions.index(fold) + 1) % len(sessions)]
    special = {fold: "test", following: "valid"}
    return _group(utterances, {u.id: special.get(session_of(u), "train") for u in utterances})


def split_by_mapping(
    utterances: Sequence[Utterance], split_of: Mapping[str, str]
) -> tuple[SplitUtterances, list[Finding]]:
    """Splits by `split_of`, the split of each utterance identifier; reports utterances that it does not name."""
    findings = [Finding(u.id, "not_in_splits") for u in utterances if u.id not in split_of]
    return _group(utterances, split_of), findings


def _group(utterances: Sequence[Utterance], split_of: Mapping[str, str]) -> SplitUtterances:
    return {split: [u for u in utterances if split_of.get(u.id) == split] for split in SPLITS}


def read_split_files(directory: Path) -> dict[str, str]:
    """Reads `{train,valid,test}_split.txt`, one utterance or video identifier a line: the split by identifier.

    Raises `ReleaseError` if a file is missing, or an identifier is in two of them.
    """
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = directory / f"{split}_split.txt"
        if not path.is_file():
            files = ", ".join(f"{name}_split.txt" for name in SPLITS)
            raise ReleaseError(f"Expected the split files {files} in {directory}; {path.name} is missing.")
        for line in read_text(path).split("\n"):
            name = line.strip()
            if name and split_of.setdefault(name, split) != split:
                raise ReleaseError(f"{name} is named in two split files: {split_of[name]} and {split}.")
    return split_of


def split_by_files(
    utterances: Sequence[Utterance], named: Mapping[str, str]
) -> tuple[SplitUtterances, list[Finding], list[str]]:
    """Splits by the content `named` of split files (`read_split_files`); reports utterances that they do not name.

    An utterance's own line takes precedence over its video's. Also returns a warning if the files name identifiers
    without a usable utterance.
    """
    keys = {u.id: next((key for key in (u.id, u.video) if key in named), None) for u in utterances}
    parts, findings = split_by_mapping(utterances, {name: named[key] for name, key in keys.items() if key is not None})
    unused = sorted(named.keys() - set(keys.values()))
    warnings = [f"{len(unused)} lines of the split files name no usable utterance: {_some(unused)}."] if unused else []
    return parts, findings, warnings


def leak_warnings(splits: Mapping[str, Sequence[Utterance]]) -> list[str]:
    """A warning if videos (dialogues) have utterances in more than one split."""
    splits_of: dict[str, set[str]] = {}
    for split, utterances in splits.items():
        for utterance in utterances:
            splits_of.setdefault(utterance.video, set()).add(split)
    shared = sorted(video for video, names in splits_of.items() if len(names) > 1)
    if not shared:
        return []
    return [
        f"{len(shared)} videos have utterances in more than one split, so the splits are not independent: "
        f"{_some(shared)}."
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
