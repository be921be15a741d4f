"""Brings the features that the paper's authors publish to where extracted features are kept."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.preparation.spool import Spool
from data_tools.releases.published_features import NAMES, Arrays, read_split, require_features
from data_tools.releases.release import Release, ReleaseError
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.utterance import Finding, Media
from mme2e_jax.media.workers import JobResult
from mme2e_jax.runtime.files import atomic_file

_PER_FILE = 64  # utterances in one file of the spool


def extract_published(
    raw: Path, dataset: str, release: Release, spool: Spool
) -> tuple[list[JobResult], tuple[int, int, int]]:
    """Reads the published features of a release's utterances, the files of one split at a time.

    Args:
      raw: the directory with the processed folder, or that folder.
      dataset: mosei or iemocap.
      release: whose utterances' features to look for.
      spool: where they go, as float32 `text`, `audio` and `video`, rows of one width each.

    Returns:
      What was kept and found, and the widths of text, audio and video: those that most utterances of the first split
      have that has any.

    Raises:
      ReleaseError: as `published.read_split`, or a kind of features is empty throughout a split.
    """
    folder = require_features(raw, dataset)
    known = {utterance.id: utterance for utterance in release.utterances}
    named = known.keys() | {finding.id for finding in release.findings}
    results: list[JobResult] = []
    findings: list[Finding] = []
    widths: dict[str, int] = {}
    seen: set[str] = set()
    for split in SPLITS:
        found, unreadable = read_split(folder, dataset, split)
        findings += unreadable
        findings += [Finding(name[:80], "features_without_meta") for name in sorted(found.keys() - named)]
        findings += [Finding(name, "duplicate", f"features of {split}") for name in sorted(found.keys() & seen)]
        wanted = sorted((found.keys() & known.keys()) - seen)
        seen |= found.keys() | {finding.id for finding in unreadable}
        for name in NAMES:
            common = Counter(found[key][name].shape[1] for key in wanted if len(found[key][name])).most_common(1)
            if common:
                widths.setdefault(name, common[0][0])
        usable = []
        for key in wanted:
            notes = list(_notes(key, found[key], widths))
            findings += notes
            if not any(note.reason == "bad_features" for note in notes):
                usable.append(key)
        if usable and (empty := [name for name in NAMES if name not in widths]):
            raise ReleaseError(
                f"Expected text, audio and video features in {folder} of utterances that meta.pkl names in {split}; "
                f"found none of {' and '.join(empty)}."
            )
        for start in range(0, len(usable), _PER_FILE):
            keys = usable[start : start + _PER_FILE]
            job = spool.job([known[key] for key in keys], Media(None, None), {"features": "published"}, "features")
            arrays: dict[str, Any] = {f"{k}/{n}": _stored(found[k][n], widths[n]) for k in keys for n in NAMES}
            with atomic_file(job.spool) as file:
                np.savez(file, **arrays)
            results.append(JobResult(job, keys, [], {}))
    findings += [Finding(name, "no_features") for name in sorted(known.keys() - seen)]
    nothing = spool.job([], Media(None, None), {}, "features")
    # Without any utterance there is no width, and no record that has it.
    text, audio, video = (widths.get(name, 1) for name in NAMES)
    return [*results, JobResult(nothing, [], findings, {})], (text, audio, video)


def _notes(key: str, arrays: Arrays, widths: Mapping[str, int]) -> Iterator[Finding]:
    """What is to be said of an utterance's features."""
    for name, array in arrays.items():
        if len(array) and array.shape[1] != widths[name]:
            yield Finding(key, "bad_features", f"{name}: expected {widths[name]} numbers a row, found {array.shape[1]}")
    empty = [name for name, array in arrays.items() if not len(array)]
    if len(empty) == len(NAMES):
        yield Finding(key, "bad_features", "nothing in text, audio and video")
    elif empty:
        yield Finding(key, "features_incomplete", ", ".join(empty))
    if odd := {name: count for name, array in arrays.items() if (count := int((~np.isfinite(array)).sum()))}:
        yield Finding(key, "features_not_finite", ", ".join(f"{name}: {count}" for name, count in odd.items()))


def _stored(array: np.ndarray, width: int) -> np.ndarray:
    return np.nan_to_num(array.reshape(-1, width), nan=0.0, posinf=0.0, neginf=0.0)
