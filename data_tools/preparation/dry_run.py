"""What preparation would use, said in seconds."""

import math
import os
from pathlib import Path

from rich.console import Console

from data_tools.preparation.settings import Settings
from data_tools.preparation.splitting import divide
from data_tools.records.report import Report
from data_tools.releases import splits
from data_tools.releases.published_features import require_features
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Finding, Utterance


def dry_run(raw: str | os.PathLike[str], settings: Settings, *, console: Console) -> Report:
    """Says what `prepare` would use, as far as the texts and the names of media files tell.

    No media are decoded and nothing is written, so it takes seconds.

    Returns:
      the report that it prints. `kept` are the utterances that have a video or a sound.

    Raises:
      ReleaseError: as `prepare`.
    """
    named = splits.read_split_files(settings.splits) if settings.splits else None
    release = settings.read(Path(raw))
    report = Report(settings=settings.to_json(), findings=list(release.findings))
    if settings.published:
        # Whose features there are takes minutes to say.
        require_features(Path(raw), settings.source.records)
        usable = release.utterances
    else:
        usable = _with_media(release, settings, report)
    parts = divide(usable, release, settings, named, report) if usable else {}
    report.kept = sorted(u.id for part in parts.values() for u in part)
    console.print("A dry run: no media are decoded, nothing is written. What would be used:")
    for split, part in parts.items():
        known = [u.end - u.start for u in part if math.isfinite(u.end)]
        console.print(f"  {split}: {len(part)} utterances, {sum(known):.0f} s" + _unknown(len(part) - len(known)))
    report.print(console)
    return report


def _with_media(release: Release, settings: Settings, report: Report) -> list[Utterance]:
    """Those that have a video or a sound; what is missing goes into the report."""
    usable = []
    for utterance in release.utterances:
        media = release.media[utterance.media_key]
        if media.video is None:
            report.findings.append(Finding(utterance.id, "no_video"))
        in_video = settings.source.sound_in_video and media.video is not None
        if media.wav is None and not in_video:
            from_video = settings.audio_from_video and media.video is not None
            report.findings.append(Finding(utterance.id, "audio_from_video" if from_video else "no_wav"))
        if media.video is None and media.wav is None:
            report.findings.append(Finding(utterance.id, "no_media"))
        else:
            usable.append(utterance)
    return usable


def _unknown(count: int) -> str:
    return f" and {count} whole files" if count else ""
