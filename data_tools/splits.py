"""Which utterances train, validate and test: no video is ever on two sides."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_tools.utterances import Finding, ReleaseError, Utterance

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


def split_by_files(
    utterances: Sequence[Utterance], directory: Path
) -> tuple[dict[str, list[Utterance]], list[Finding], list[str]]:
    """Splits as `{train,valid,test}_split.txt` say: one utterance or video identifier a line.

    Returns:
      the utterances of each split in the given order, a finding for each utterance in no file, and
      warnings: identifiers of which there is no usable utterance, and videos on two sides.

    Raises:
      ReleaseError: a file is missing, or an utterance or video is named in two of them.
    """
    sides: dict[str, str] = {}
    for split in SPLITS:
        path = directory / f"{split}_split.txt"
        if not path.is_file():
            files = ", ".join(f"{name}_split.txt" for name in SPLITS)
            raise ReleaseError(f"Expected the split files {files} in {directory}; {path.name} is missing.")
        for line in path.read_text(encoding="utf-8-sig").split("\n"):
            name = line.strip()
            if name and sides.setdefault(name, split) != split:
                raise ReleaseError(f"{name} is named in two split files: {sides[name]} and {split}.")

    result: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    findings: list[Finding] = []
    used: set[str] = set()
    for utterance in utterances:
        # The utterance's own line wins over that of its video.
        key = next((key for key in (utterance.id, utterance.video) if key in sides), None)
        if key is None:
            findings.append(Finding(utterance.id, "not_in_splits"))
        else:
            used.add(key)
            result[sides[key]].append(utterance)

    warnings = []
    if unused := sorted(sides.keys() - used):
        warnings.append(f"{len(unused)} lines of the split files name no usable utterance: {_some(unused)}.")
    if shared := shared_videos(result):
        warnings.append(
            f"{len(shared)} videos have utterances in more than one split, so the splits are not "
            f"independent: {_some(shared)}."
        )
    return result, findings, warnings


def shared_videos(splits: Mapping[str, Sequence[Utterance]]) -> list[str]:
    """Videos with utterances in more than one split, sorted."""
    sides: dict[str, set[str]] = {}
    for split, utterances in splits.items():
        for utterance in utterances:
            sides.setdefault(utterance.video, set()).add(split)
    return sorted(video for video, found in sides.items() if len(found) > 1)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
