"""Which utterances train, validate and test."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_tools.releases.release import ReleaseError
from data_tools.releases.release_files import read_text
from mme2e_jax.media.utterance import Finding, Utterance

SPLITS = ("train", "valid", "test")
_SHARES = (0.70, 0.15, 0.15)
_CANDIDATES = 500


def split_by_video(utterances: Sequence[Utterance], seed: int) -> dict[str, list[Utterance]]:
    """Splits about 70 / 15 / 15 % of the utterances, by video.

    Of 500 random orders of the videos, all drawn from `seed`, it takes the one whose splits come
    closest to the wanted shares and to the label proportions of the whole, with as few labels as
    possible absent from a split.

    Returns:
      the utterances of each split, in the given order. With fewer than three videos, `valid`, then
      `test`, stay empty.
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
    side = min(candidates, key=lambda side: _imbalance(side, sizes, labels))
    return {split: [u for u in utterances if side[index[u.video]] == i] for i, split in enumerate(SPLITS)}


def _assign(order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The split number of each video when videos fill the splits in `order`."""
    # A video belongs where its middle utterance falls.
    ends = np.cumsum(sizes[order])
    middles = (ends - sizes[order] / 2) / max(sizes.sum(), 1)
    sides = np.searchsorted(np.cumsum(_SHARES[:-1]), middles, side="right")
    if len(order) >= len(SPLITS):
        sides[0], sides[-2], sides[-1] = 0, min(sides[-2], 1), 2
        if not (sides == 1).any():
            sides[-2] = 1
    else:
        sides = np.array([0, 2])[: len(order)]
    result = np.empty(len(order), int)
    result[order] = sides
    return result


def _imbalance(side: np.ndarray, sizes: np.ndarray, labels: np.ndarray) -> float:
    whole = labels.sum(0) / sizes.sum()
    cost = 0.0
    for i, share in enumerate(_SHARES):
        count = sizes[side == i].sum()
        positives = labels[side == i].sum(0)
        cost += 10 * abs(count / sizes.sum() - share)
        cost += np.abs(positives / max(count, 1) - whole).sum()
        cost += 10 * ((positives == 0) & (whole > 0)).sum()
    return float(cost)


def leave_one_out(
    utterances: Sequence[Utterance], group_of: Callable[[Utterance], int], fold: int
) -> dict[str, list[Utterance]]:
    """Tests on one group of speakers, validates on the next, trains on the others.

    Args:
      utterances: of all groups.
      group_of: the group an utterance belongs to; no speaker is in two.
      fold: the group to test on.

    Raises:
      ReleaseError: there is no such group, or fewer than three.
    """
    groups = sorted({group_of(utterance) for utterance in utterances})
    if fold not in groups or len(groups) < len(SPLITS):
        found = ", ".join(map(str, groups)) or "none"
        raise ReleaseError(
            f"Expected utterances of session {fold}, and of at least two more (one validates, the others train); found "
            f"the sessions {found}. Choose --fold among them, or split by your own files with --splits=DIR."
        )
    following = groups[(groups.index(fold) + 1) % len(groups)]
    sides = {fold: "test", following: "valid"}
    return _by_side(utterances, {u.id: sides.get(group_of(u), "train") for u in utterances})


def split_by_mapping(
    utterances: Sequence[Utterance], sides: Mapping[str, str]
) -> tuple[dict[str, list[Utterance]], list[Finding]]:
    """Splits as `sides` say (train, valid or test by utterance).

    Returns:
      the utterances of each split in the given order, and a finding for each that has no side.
    """
    findings = [Finding(u.id, "not_in_splits") for u in utterances if u.id not in sides]
    return _by_side(utterances, sides), findings


def _by_side(utterances: Sequence[Utterance], sides: Mapping[str, str]) -> dict[str, list[Utterance]]:
    return {split: [u for u in utterances if sides.get(u.id) == split] for split in SPLITS}


def read_split_files(directory: Path) -> dict[str, str]:
    """Reads `{train,valid,test}_split.txt`: one utterance or video identifier a line.

    Returns:
      the split by identifier.

    Raises:
      ReleaseError: a file is missing, or an identifier is in two of them.
    """
    sides: dict[str, str] = {}
    for split in SPLITS:
        path = directory / f"{split}_split.txt"
        if not path.is_file():
            files = ", ".join(f"{name}_split.txt" for name in SPLITS)
            raise ReleaseError(f"Expected the split files {files} in {directory}; {path.name} is missing.")
        for line in read_text(path).split("\n"):
            name = line.strip()
            if name and sides.setdefault(name, split) != split:
                raise ReleaseError(f"{name} is named in two split files: {sides[name]} and {split}.")
    return sides


def split_by_files(
    utterances: Sequence[Utterance], named: Mapping[str, str]
) -> tuple[dict[str, list[Utterance]], list[Finding], list[str]]:
    """Splits as files say.

    Args:
      utterances: to split.
      named: the split by utterance or video (`read_split_files`). An utterance's own line wins over
        that of its video.

    Returns:
      the utterances of each split in the given order, a finding for each utterance in no file, and
      a warning of identifiers of which there is no usable utterance.
    """
    keys = {u.id: next((key for key in (u.id, u.video) if key in named), None) for u in utterances}
    sides = {name: named[key] for name, key in keys.items() if key is not None}
    parts, findings = split_by_mapping(utterances, sides)
    unused = sorted(named.keys() - set(keys.values()))
    warnings = [f"{len(unused)} lines of the split files name no usable utterance: {_some(unused)}."] if unused else []
    return parts, findings, warnings


def leak_warnings(splits: Mapping[str, Sequence[Utterance]]) -> list[str]:
    """A warning if videos (dialogues) have utterances in more than one split."""
    shared = shared_videos(splits)
    if not shared:
        return []
    return [
        f"{len(shared)} videos have utterances in more than one split, so the splits are not independent: "
        f"{_some(shared)}."
    ]


def shared_videos(splits: Mapping[str, Sequence[Utterance]]) -> list[str]:
    """Videos with utterances in more than one split, sorted."""
    sides: dict[str, set[str]] = {}
    for split, utterances in splits.items():
        for utterance in utterances:
            sides.setdefault(utterance.video, set()).add(split)
    return sorted(video for video, found in sides.items() if len(found) > 1)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
