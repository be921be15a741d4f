"""Reports what preparation would use, without decoding media."""

import math
import os
from pathlib import Path

from data_tools.preparation.settings import Settings
from data_tools.preparation.splitting import split_utterances
from data_tools.records.report import Report
from data_tools.releases import splits
from data_tools.releases.published_features import require_features
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Finding, Utterance
from mme2e_jax.runtime.console import PlainConsole


def dry_run(raw: str | os.PathLike[str], settings: Settings, *, console: PlainConsole) -> Report:
    """Prints and returns what `prepare` would use, judged by the texts and the names of the media files.

    Decodes no media and writes nothing. `kept` are the utterances with a video or a sound. Raises as `prepare`.
    """
    named = splits.read_split_files(settings.splits) if settings.splits else None
    release = settings.read_release(Path(raw))
    report = Report(settings=settings.to_json(), findings=list(release.findings))
    if settings.uses_published_features:
        # Listing the utterances with features would take minutes.
        require_features(Path(raw), settings.source.dataset)
        usable = release.utterances
    else:
        usable = _with_media(release, settings, report)
    parts = split_utterances(usable, release, settings, named, report) if usable else {}
    report.kept = sorted(u.id for part in parts.values() for u in part)
    console.print("Dry run: no media are decoded, nothing is written. Preparation would use:")
    for split, part in parts.items():
        lengths = [u.end - u.start for u in part if math.isfinite(u.end)]
        whole_files = len(part) - len(lengths)
        rest = f" and {whole_files} whole files" if whole_files else ""
        console.print(f"  {split}: {len(part)} utterances, {sum(lengths):.0f} s{rest}")
    report.print(console)
    return report


def _with_media(release: Release, settings: Settings, report: Report) -> list[Utterance]:
    usable = []
    for utterance in release.utterances:
        media = release.media[utterance.media_key]
        if media.video is None and media.wav is None:
            report.findings.append(Finding(utterance.id, "no_media"))
            continue
        usable.append(utterance)
        if media.video is None:
            report.findings.append(Finding(utterance.id, "no_video"))
        in_video = settings.source.sound_in_video and media.video is not None
        if media.wav is None and not in_video:
            from_video = settings.audio_from_video and media.video is not None
            report.findings.append(Finding(utterance.id, "audio_from_video" if from_video else "no_wav"))
    return usable
