"""Splits usable utterances and reports the splits."""

from collections.abc import Sequence

import numpy as np

from data_tools.preparation.settings import Settings
from data_tools.records.report import Report
from data_tools.releases import splits
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Utterance


def split_utterances(
    usable: Sequence[Utterance], release: Release, settings: Settings, named: dict[str, str] | None, report: Report
) -> splits.SplitUtterances:
    """Splits `usable` utterances by the user's split files, the settings, the release's own splits, or by video.

    `named` is the content of the user's files (`splits.read_split_files`), None without files. The report gets the
    splits' counts, findings, warnings and origin. Raises `ReleaseError` if the session to leave out is missing.
    """
    session_of = settings.source.session_of
    if named is not None:
        way = "files"
        parts, findings, warnings = splits.split_by_files(usable, named)
        report.findings += findings
        report.warnings += warnings
    elif release.splits is not None and settings.fold is None:
        way = "as given"
        parts, findings = splits.split_by_mapping(usable, release.splits)
        report.findings += findings
    elif session_of is not None:
        fold = settings.fold or 1
        way = f"session {fold} left out"
        parts = splits.leave_one_out(usable, session_of, fold)
    else:
        way = "videos and seed"
        parts = splits.split_by_video(usable, settings.seed)
    report.settings["splits"] = way
    report.warnings += splits.leak_warnings(parts)
    for split, part in parts.items():
        labels = np.array([u.label for u in part], int).reshape(-1, len(release.label_names))
        report.splits[split] = {
            "utterances": len(part),
            "videos": len({u.video for u in part}),
            "speakers": len({u.speaker for u in part}),
            "positives": dict(zip(release.label_names, map(int, labels.sum(0)), strict=True)),
        }
        if not part:
            videos = len({u.video for u in usable})
            report.warnings.append(
                f"The split {split} is empty ({len(usable)} usable utterances in {videos} videos; "
                "a split by video needs at least three)."
            )
    return parts
