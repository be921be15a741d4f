"""Copies the published features of a release to the spool."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.preparation.spool import Spool
from data_tools.releases.published_features import MODALITIES, Arrays, read_split, require_features
from data_tools.releases.release import Release, ReleaseError
from data_tools.releases.splits import SPLITS
from mme2e_jax.media.utterance import Finding, Media
from mme2e_jax.media.workers import JobResult
from mme2e_jax.runtime.files import atomic_file

_PER_FILE = 64  # utterances in one file of the spool


def extract_published(
    raw: Path, dataset: str, release: Release, spool: Spool
) -> tuple[list[JobResult], tuple[int, int, int]]:
    """Copies the published features of a release's utterances to the spool, the files of one split at a time.

    `raw` is the processed folder of `dataset`, mosei or iemocap, or holds it. Returns the results, and the widths of
    text, audio and video: the most frequent widths of the first split that has any. Raises `ReleaseError` as
    `published_features.read_split`, and if a split has no features of one modality.
    """
    folder = require_features(raw, dataset)
    known = {utterance.id: utterance for utterance in release.utterances}
    named = known.keys() | {finding.id for finding in release.findings}
    results: list[JobResult] = []
    findings: list[Finding] = []
    widths: dict[str, int] = {}
    seen: set[str] = set()
    for split in SPLITS:
        features, unreadable = read_split(folder, dataset, split)
        findings += unreadable
        findings += [Finding(key[:80], "features_without_meta") for key in sorted(features.keys() - named)]
        findings += [Finding(key, "duplicate", f"features of {split}") for key in sorted(features.keys() & seen)]
        candidates = sorted((features.keys() & known.keys()) - seen)
        seen |= features.keys() | {finding.id for finding in unreadable}
        for m in MODALITIES:
            common = Counter(features[key][m].shape[1] for key in candidates if len(features[key][m])).most_common(1)
            if common:
                widths.setdefault(m, common[0][0])
        usable = []
        for key in candidates:
            problems = list(_problems(key, features[key], widths))
            findings += problems
            if not any(problem.reason == "bad_features" for problem in problems):
                usable.append(key)
        if usable and (empty := [m for m in MODALITIES if m not in widths]):
            raise ReleaseError(
                f"Expected text, audio and video features in {folder} of utterances that meta.pkl names in {split}; "
                f"found none of {' and '.join(empty)}."
            )
        for start in range(0, len(usable), _PER_FILE):
            keys = usable[start : start + _PER_FILE]
            job = spool.job([known[key] for key in keys], Media(None, None), {"features": "published"}, "features")
            matrices = {f"{k}/{m}": features[k][m].reshape(-1, widths[m]) for k in keys for m in MODALITIES}
            arrays: dict[str, Any] = {k: np.nan_to_num(x, nan=0, posinf=0, neginf=0) for k, x in matrices.items()}
            with atomic_file(job.spool) as file:
                np.savez(file, **arrays)
            results.append(JobResult(job, keys, [], {}))
    findings += [Finding(key, "no_features") for key in sorted(known.keys() - seen)]
    empty_job = spool.job([], Media(None, None), {}, "features")
    # Without any utterance there is no width, and no record that needs it.
    text, audio, video = (widths.get(m, 1) for m in MODALITIES)
    return [*results, JobResult(empty_job, [], findings, {})], (text, audio, video)


def _problems(key: str, arrays: Arrays, widths: Mapping[str, int]) -> Iterator[Finding]:
    for m, array in arrays.items():
        if len(array) and array.shape[1] != widths[m]:
            yield Finding(key, "bad_features", f"{m}: expected {widths[m]} numbers a row, found {array.shape[1]}")
    empty = [m for m, array in arrays.items() if not len(array)]
    if len(empty) == len(MODALITIES):
        yield Finding(key, "bad_features", "nothing in text, audio and video")
    elif empty:
        yield Finding(key, "features_incomplete", ", ".join(empty))
    if counts := {m: count for m, array in arrays.items() if (count := int((~np.isfinite(array)).sum()))}:
        yield Finding(key, "features_not_finite", ", ".join(f"{m}: {count}" for m, count in counts.items()))
