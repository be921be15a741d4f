"""Divides what is usable into training, validation and test, and says so in the report."""

from collections.abc import Sequence

import numpy as np

from data_tools.preparation.settings import Settings
from data_tools.records.report import Report
from data_tools.releases import splits
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Finding, Utterance


def divide(
    usable: Sequence[Utterance],
    release: Release,
    settings: Settings,
    named: dict[str, str] | None,
    report: Report,
) -> dict[str, list[Utterance]]:
    """Splits utterances as the settings or the release say, and reports the splits.

    Args:
      usable: of the release.
      release: may itself split.
      settings: may say how.
      named: the split by utterance or video, if the user's files say it.
      report: gets the splits' counts, findings, warnings, and how it was split.

    Returns:
      the utterances of each split, in the given order.

    Raises:
      ReleaseError: the release does not have the session to leave out.
    """
    findings: list[Finding] = []
    session_of = settings.source.session_of
    if named is not None:
        how = "files"
        parts, findings, warnings = splits.split_by_files(usable, named)
        report.warnings += warnings
    elif release.splits is not None and settings.fold is None:
        how = "as given"
        parts, findings = splits.split_by_mapping(usable, release.splits)
    elif session_of is not None:
        fold = settings.fold or 1
        how = f"session {fold} left out"
        parts = splits.leave_one_out(usable, session_of, fold)
    else:
        how = "videos and seed"
        parts = splits.split_by_video(usable, settings.seed)
    report.settings["splits"] = how
    report.findings += findings
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
