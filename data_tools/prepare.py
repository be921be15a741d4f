"""Prepares a raw release for training: media and texts become tensorflow-datasets records.

    python -m data_tools.prepare --dataset=mini --raw=RELEASE --out=RECORDS
    python -m data_tools.prepare --dataset=mosei --raw=RELEASE --out=RECORDS --tokenizer=albert-base-v2
    python -m data_tools.prepare --dataset=mosei --raw=RELEASE --out=RECORDS --kind=features

The directory RECORDS gets the records, `tokenizer/`, and `report.json`, which tells of every
utterance that was left out or degraded. Records of the kind `features`, which the baselines read,
hold hand-crafted features in place of faces, mel chunks and tokens, and need no tokenizer. The
same release and settings give the same bytes, whatever the number of processes.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_tools import mosei, records, splits, tokens
from data_tools.kinds import KINDS, Kind, feature_kind, media_kind
from data_tools.report import Report
from data_tools.unfinished import OutputExistsError, require_free
from data_tools.utterances import Release, ReleaseError, Utterance
from data_tools.workers import Job, JobResult, run_jobs

DATASETS = ("mini", "mosei")
# Minutes of silence make people stop a program that works.
_SECONDS_BETWEEN_LINES = 20.0


class PrepareError(ValueError):
    """Settings that cannot work, or a release of which nothing is usable."""


@dataclass(frozen=True)
class Settings:
    """Choices that the outcome depends on.

    Attributes:
      dataset: one of `DATASETS`. Both are read in the CMU-MOSEI layout; `mini` trains its own
        tokenizer unless one is named.
      kind: of records, one of `kinds.KINDS`.
      seed: of the split by video.
      frame_interval_ms: milliseconds between the frames of an utterance.
      tokenizer: a local Hugging Face directory or a hub id; for media only.
      splits: a directory with `{train,valid,test}_split.txt`; None splits by video.
      audio_from_video: whether a missing wav file is replaced by the video's own sound.
    """

    dataset: str = "mini"
    kind: str = "media"
    seed: int = 0
    frame_interval_ms: int = 500
    tokenizer: str | None = None
    splits: Path | None = None
    audio_from_video: bool = False

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise PrepareError(f"dataset {self.dataset!r}: expected one of {', '.join(DATASETS)}.")
        if self.kind not in KINDS:
            raise PrepareError(f"kind {self.kind!r}: expected one of {', '.join(KINDS)}.")
        if self.kind == "features" and self.tokenizer is not None:
            raise PrepareError(
                f"kind 'features' stores features of words, not tokens, so it takes no tokenizer, found "
                f"{self.tokenizer!r}: leave --tokenizer out, or prepare --kind=media."
            )
        if self.kind == "media" and self.dataset != "mini" and self.tokenizer is None:
            raise PrepareError(
                f"dataset {self.dataset!r} needs a tokenizer: --tokenizer=DIR, a Hugging Face "
                "directory with tokenizer.json, or a hub id such as albert/albert-base-v2."
            )
        if self.frame_interval_ms < 1:
            raise PrepareError(f"frame_interval_ms: expected 1 or more, found {self.frame_interval_ms}.")
        if self.seed < 0:
            raise PrepareError(f"seed: expected 0 or more, found {self.seed}.")


def prepare(
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    processes: int | None = None,
    console: Console | None = None,
) -> Report:
    """Prepares the release at `raw` and writes the records to `out`.

    Args:
      raw: directory of the release.
      out: directory to make; it appears only once it is complete.
      settings: choices that the outcome depends on.
      processes: worker processes, by default one per core.
      console: where progress and the report go, by default standard error.

    Returns:
      the report, as stored in `out/report.json`.

    Raises:
      ReleaseError: `raw` is not a release, or the split files do not fit it.
      PrepareError: the settings cannot work, or no utterance is usable.
      TokenizerError: the tokenizer cannot be loaded.
      OutputExistsError: `out` exists and is not empty.
    """
    raw, out, console = Path(raw), Path(out), console or _default_console()
    processes = processes or os.cpu_count() or 1
    if processes < 1:
        raise PrepareError(f"processes: expected 1 or more, found {processes}.")
    require_free(out)
    encoder = tokens.load_tokenizer(settings.tokenizer) if settings.tokenizer else None
    release = mosei.read_release(raw)
    report = Report(findings=list(release.findings))

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.spool-", dir=out.parent) as spool:
        started = time.perf_counter()
        results = _extract_all(release, Path(spool), settings, processes, console)
        extracted = time.perf_counter()
        for result in results:
            report.findings += result.findings
        usable = _usable(release, results)
        parts = _split(usable, settings, report)
        report.kept = sorted(u.id for part in parts.values() for u in part)
        if not report.kept:
            report.print(console)
            raise PrepareError(
                f"No utterance of {raw} is usable, so nothing was written to {out}. "
                "The table above says what is wrong with each."
            )
        if settings.kind == "features":
            kind = feature_kind(settings.frame_interval_ms)
        else:
            encoder = encoder or tokens.train_mini(u.transcript for u in parts["train"] or usable)
            kind = media_kind(settings.frame_interval_ms, encoder)
        report.settings = _settings_json(settings, kind)
        _write(out, settings, parts, results, kind, report)
        _print_times(console, results, extracted - started, time.perf_counter() - extracted)
    report.print(console)
    return report


def _default_console() -> Console:
    console = Console(stderr=True)
    # Log files have no width; tables are unreadable at rich's guess of 80.
    return console if console.is_terminal else Console(stderr=True, width=120)


def _settings_json(settings: Settings, kind: Kind) -> dict[str, Any]:
    # No paths: a report says the same wherever the release lies.
    splits_from = "files" if settings.splits else "videos and seed"
    return {**asdict(settings), "splits": splits_from, "tokenizer": kind.encoder and kind.encoder.name}


def _extract_all(
    release: Release, spool: Path, settings: Settings, processes: int, console: Console
) -> list[JobResult]:
    """Extracts every video; the results in the order of the videos."""
    by_video: dict[str, list[Utterance]] = {}
    for utterance in release.utterances:
        by_video.setdefault(utterance.video, []).append(utterance)
    extract_settings = {
        "frame_interval_ms": settings.frame_interval_ms,
        "audio_from_video": settings.audio_from_video,
    }
    jobs = [
        Job(utterances, release.media[video], extract_settings, spool / f"{i:06d}.npz", settings.kind)
        for i, (video, utterances) in enumerate(sorted(by_video.items()))
    ]
    results: list[JobResult] = []
    columns = (
        TextColumn("preparing videos"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    last_line = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(jobs))
        for result in run_jobs(jobs, processes):
            results.append(result)
            progress.advance(task)
            if not console.is_terminal and time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                console.print(f"prepared {len(results)} of {len(jobs)} videos")
    return sorted(results, key=lambda result: result.job.spool)


def _usable(release: Release, results: Sequence[JobResult]) -> list[Utterance]:
    kept = {name for result in results for name in result.kept}
    return [utterance for utterance in release.utterances if utterance.id in kept]


def _split(usable: Sequence[Utterance], settings: Settings, report: Report) -> dict[str, list[Utterance]]:
    if settings.splits is None:
        parts = splits.split_by_video(usable, settings.seed)
    else:
        parts, findings, warnings = splits.split_by_files(usable, settings.splits)
        report.findings += findings
        report.warnings += warnings
    for split, part in parts.items():
        positives = np.sum([u.label for u in part], axis=0, dtype=int) if part else [0] * 6
        report.splits[split] = {
            "utterances": len(part),
            "videos": len({u.video for u in part}),
            "positives": dict(zip(records.LABEL_NAMES, map(int, positives), strict=True)),
        }
        if not part:
            videos = len({u.video for u in usable})
            report.warnings.append(
                f"The split {split} is empty ({len(usable)} usable utterances in {videos} videos; "
                "a split by video needs at least three)."
            )
    return parts


def _write(
    out: Path,
    settings: Settings,
    parts: dict[str, list[Utterance]],
    results: Sequence[JobResult],
    kind: Kind,
    report: Report,
) -> None:
    spools = {name: result.job.spool for result in results for name in result.kept}

    def add_files(directory: Path) -> None:
        if kind.encoder is not None:
            kind.encoder.save(directory / "tokenizer")
        text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
        (directory / "report.json").write_text(text + "\n", encoding="utf-8")

    records.write_dataset(
        out,
        name=settings.dataset,
        splits={split: _examples(part, spools, kind) for split, part in parts.items()},
        metadata={"dataset": settings.dataset, "label_names": list(records.LABEL_NAMES), **kind.metadata},
        schema=kind.schema,
        add_files=add_files,
    )


def _examples(part: Sequence[Utterance], spools: dict[str, Path], kind: Kind) -> Iterator[dict[str, Any]]:
    for utterance in part:
        with np.load(spools[utterance.id]) as spool:
            arrays = {name: spool[f"{utterance.id}/{name}"] for name in kind.media}
        yield {
            "utterance_id": utterance.id,
            "dialogue_id": utterance.video,
            "speaker": utterance.video,
            "transcript": utterance.transcript,
            "label": np.array(utterance.label, np.float32),
            **kind.words(utterance.transcript),
            **arrays,
        }


def _print_times(console: Console, results: Sequence[JobResult], extracting: float, writing: float) -> None:
    work = {kind: sum(result.seconds.get(kind, 0.0) for result in results) for kind in ("decode", "faces", "features")}
    spent = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in work.items())
    console.print(f"Media read in {extracting:.1f} s ({spent} over all processes), records written in {writing:.1f} s.")


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    values = flags.FLAGS
    try:
        settings = Settings(
            dataset=values.dataset,
            kind=values.kind,
            seed=values.seed,
            frame_interval_ms=values.frame_interval_ms,
            tokenizer=values.tokenizer,
            splits=Path(values.splits) if values.splits else None,
            audio_from_video=values.audio_from_video,
        )
        report = prepare(values.raw, values.out, settings, processes=values.processes)
    except (PrepareError, ReleaseError, tokens.TokenizerError, OutputExistsError) as error:
        raise SystemExit(f"prepare: {error}") from None
    print(f"{len(report.kept)} utterances written to {values.out}")


if __name__ == "__main__":
    flags.DEFINE_enum("dataset", "mini", DATASETS, "What to prepare.")
    flags.DEFINE_enum("kind", "media", KINDS, "What for: media for end-to-end models, features for the baselines.")
    flags.DEFINE_string("raw", None, "Directory of the raw release.")
    flags.DEFINE_string("out", None, "Directory to write; must not exist, or be empty.")
    flags.DEFINE_integer("processes", None, "Worker processes; by default one per core.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the split by video.")
    flags.DEFINE_integer("frame_interval_ms", 500, "Milliseconds between frames.")
    flags.DEFINE_string("tokenizer", None, "Hugging Face directory or hub id, for media; `mini` trains its own.")
    flags.DEFINE_string("splits", None, "Directory of {train,valid,test}_split.txt; else by video.")
    flags.DEFINE_bool("audio_from_video", False, "Use the video's sound where the wav is missing.")
    flags.mark_flags_as_required(["raw", "out"])
    app.run(main)
