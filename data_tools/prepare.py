"""Prepares a raw release for training: writes tensorflow-datasets records.

    python -m data_tools.prepare --dataset=mini --raw=RELEASE --out=RECORDS
    python -m data_tools.prepare --dataset=mosei --raw=RELEASE --out=RECORDS --tokenizer=albert-base-v2
    python -m data_tools.prepare --dataset=mosei --raw=RELEASE --out=RECORDS --kind=features
    python -m data_tools.prepare --dataset=iemocap --raw=RELEASE --out=RECORDS --tokenizer=albert-base-v2 --fold=5
    python -m data_tools.prepare --dataset=processed_mosei --raw=DIR --out=RECORDS --kind=features --features=published
    python -m data_tools.prepare --dataset=iemocap --raw=RELEASE --dry_run
    python -m data_tools.prepare --raw=RELEASE --out=RECORDS ... --beam_pipeline_options=runner=FlinkRunner,...

The directory RECORDS gets the records, `tokenizer/`, and `report.json`, which lists every utterance left out or
degraded. Records of kind `features`, which baselines read, hold hand-crafted features instead of faces, mel chunks and
tokens, and need no tokenizer. The same release and settings give the same bytes with any number of
processes. An interrupted preparation continues when it is started again.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from absl import app, flags

from data_tools.preparation.dry_run import dry_run
from data_tools.preparation.extraction import RunJobs, extract_all
from data_tools.preparation.output import write_records
from data_tools.preparation.published_extraction import extract_published
from data_tools.preparation.settings import COMPUTED, FEATURES, PUBLISHED, PrepareError, Settings
from data_tools.preparation.splitting import split_utterances
from data_tools.preparation.spool import open_spool
from data_tools.records.record_kinds import KINDS, feature_kind, media_kind, published_kind
from data_tools.records.report import Report
from data_tools.releases import splits
from data_tools.releases.published_features import require_features
from data_tools.releases.release import ReleaseError
from data_tools.releases.sources import SOURCES
from mme2e_jax.errors import UserError
from mme2e_jax.media import tokens
from mme2e_jax.media.face_choice import CHOICES, TRACKED
from mme2e_jax.media.workers import run_jobs
from mme2e_jax.runtime.console import PlainConsole
from mme2e_jax.runtime.files import OutputExistsError, disk_errors, require_free, require_utf8

MAX_DROPPED = 0.2
TIMED_WORK = ("decode", "faces", "features")  # kinds of work that workers measure (`extract.Extracted.seconds`)


def prepare(
    raw: str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: Settings,
    *,
    processes: int | None = None,
    run: RunJobs | None = None,
    console: PlainConsole | None = None,
) -> Report:
    """Prepares the release at `raw`, a directory or a table of clips, and writes the records to `out`, a new directory.

    Extracted videos are kept next to `out` until the records are complete: after an interruption, a call with the same
    arguments continues. By default, videos are extracted in one process per core, and progress and the report go to
    standard error. `run` extracts them elsewhere (`beam.run_on_beam`). Returns the report that `out/report.json` holds.

    Raises `ReleaseError` if `raw` is not a release or the split files do not fit it, `PrepareError` if the settings are
    invalid or no utterance is usable, `TokenizerError` if the tokenizer cannot be loaded, and `OutputExistsError` if
    `out` exists and is not empty, or another process prepares it.
    """
    raw, out, console = Path(raw), Path(out), console or default_console()
    processes = processes or os.cpu_count() or 1
    if processes < 1:
        raise PrepareError(f"processes: expected 1 or more, found {processes}.")
    run = run or (lambda jobs: run_jobs(jobs, processes))
    settings.require_tokenizer()
    require_free(require_utf8(out))
    encoder = tokens.load_tokenizer(settings.named_tokenizer) if settings.named_tokenizer else None
    named = splits.read_split_files(settings.splits) if settings.splits else None
    release = settings.read_release(raw)
    if settings.uses_published_features:
        require_features(raw, settings.source.dataset)
    # Raises an error about the splits before hours of work.
    if release.utterances:
        split_utterances(release.utterances, release, settings, named, Report())
    report = Report(settings.to_json(), list(release.findings))

    with open_spool(out) as spool:
        started = time.perf_counter()
        if settings.uses_published_features:
            results, sizes = extract_published(raw, settings.source.dataset, release, spool)
        else:
            results, sizes = extract_all(release, spool, settings, run, console), None
        extracted = time.perf_counter()
        for result in results:
            report.findings += result.findings
        kept = {name for result in results for name in result.kept}
        usable = [utterance for utterance in release.utterances if utterance.id in kept]
        parts = split_utterances(usable, release, settings, named, report) if usable else {}
        report.kept = sorted(u.id for part in parts.values() for u in part)
        if not report.kept:
            report.print(console)
            spool.discarded = True
            raise PrepareError(
                f"No utterance of {raw} is usable, so nothing was written to {out}. The table above gives the reasons."
            )
        labels = len(release.label_names)
        if sizes is not None:
            kind = published_kind(sizes, labels)
        elif settings.kind == "features":
            kind = feature_kind(settings.frame_interval_ms, settings.face_choice, labels)
        else:
            encoder = encoder or tokens.train_mini(u.transcript for u in parts["train"] or usable)
            kind = media_kind(settings.frame_interval_ms, settings.face_choice, encoder, labels)
        report.settings["tokenizer"] = kind.encoder and kind.encoder.name
        write_records(out, settings, release.label_names, parts, results, kind, report)
        report.seconds = {
            **{work: sum(result.seconds.get(work, 0.0) for result in results) for work in TIMED_WORK},
            "extracting": extracted - started,
            "writing": time.perf_counter() - extracted,
        }
        _print_times(console, report.seconds)
    report.print(console)
    return report


def require_few_dropped(report: Report, max_dropped: float) -> None:
    """Raises `PrepareError` if a larger share than `max_dropped` of the utterances was dropped."""
    share = report.dropped_share()
    if share > max_dropped:
        lost = report.to_json()["utterances"]["dropped"]
        raise PrepareError(
            f"{lost} utterances were dropped, {share:.0%} of all, expected at most {max_dropped:.0%}. The table above "
            "and report.json give the reasons. The records hold all other utterances and can be used; to allow this, "
            f"pass --max_dropped={math.ceil(100 * share) / 100:g}."
        )


def default_console() -> PlainConsole:
    return PlainConsole(stderr=True, width=120)


def _print_times(console: PlainConsole, seconds: Mapping[str, float]) -> None:
    # Workers of a cluster and earlier extractions report no seconds.
    parts = ", ".join(f"{work} {seconds[work]:.1f} s" for work in TIMED_WORK if seconds[work])
    parts = f" ({parts} over all processes)" if parts else ""
    times = f"Media read in {seconds['extracting']:.1f} s{parts}, records written in {seconds['writing']:.1f} s."
    console.print(times, soft_wrap=True)


def _beam_runner(raw: Path) -> RunJobs | None:
    values = flags.FLAGS
    if values.beam_pipeline_options is None:
        for name in ("beam_release", "beam_staging"):
            if values[name].value is not None:
                raise PrepareError(f"--{name}: expected --beam_pipeline_options=runner=... as well, found none.")
        return None
    if values.features == PUBLISHED:
        raise PrepareError(f"--features={PUBLISHED} reads no media: leave out --beam_pipeline_options.")
    if values.processes is not None:
        raise PrepareError(
            f"Expected --processes or --beam_pipeline_options, found both: --processes={values.processes}. Set the "
            "runner's number of workers, as in runner=DirectRunner,direct_num_workers=4."
        )
    try:
        # Beam is an optional dependency.
        from data_tools.preparation.beam import run_on_beam
    except ModuleNotFoundError as error:
        raise PrepareError(
            f"--beam_pipeline_options: expected Apache Beam to be installed, found no module {error.name}: pip install "
            "-r requirements-beam.txt, or omit the option to use this machine's cores."
        ) from None
    return run_on_beam(raw, values.beam_pipeline_options, release=values.beam_release, staging=values.beam_staging)


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    try:
        with disk_errors():
            _run(flags.FLAGS)
    except (PrepareError, ReleaseError, tokens.TokenizerError, OutputExistsError, UserError) as error:
        raise SystemExit(f"prepare: {error}") from None


def _run(values: flags.FlagValues) -> None:
    # Every setting has a flag of its name.
    given: dict[str, Any] = {field.name: values[field.name].value for field in fields(Settings)}
    given["splits"] = Path(values.splits) if values.splits else None
    settings = Settings(**given)
    if values.dry_run:
        dry_run(values.raw, settings, console=default_console())
        return
    if values.out is None:
        raise PrepareError("Expected --out=RECORDS, the directory to write, or --dry_run.")
    run = _beam_runner(Path(values.raw))
    report = prepare(values.raw, values.out, settings, processes=values.processes, run=run)
    print(f"{len(report.kept)} utterances written to {values.out}")
    require_few_dropped(report, values.max_dropped)


if __name__ == "__main__":
    flags.DEFINE_enum("dataset", "mini", list(SOURCES), "Dataset to prepare.")
    flags.DEFINE_enum("kind", "media", KINDS, "Record kind: media for end-to-end models, features for baselines.")
    flags.DEFINE_string("raw", None, "Directory of the raw release, or table of clips.")
    flags.DEFINE_string("out", None, "Directory to create; must be absent or empty.")
    flags.DEFINE_integer("processes", None, "Number of worker processes; default: one per core.", lower_bound=1)
    flags.DEFINE_string("beam_pipeline_options", None, "Extract on Apache Beam: runner=...,OPTION=VALUE,...")
    flags.DEFINE_string("beam_release", None, "URL of a copy of --raw, if Beam's workers cannot access it.")
    flags.DEFINE_string("beam_staging", None, "URL for the workers' results, if they cannot access --out.")
    flags.DEFINE_integer("seed", 0, "Seed of the split by video.")
    flags.DEFINE_integer("frame_interval_ms", 500, "Milliseconds between frames.")
    flags.DEFINE_enum("face_choice", TRACKED, list(CHOICES), "Face to take if a frame shows several.")
    flags.DEFINE_string("tokenizer", None, "For media: Hugging Face directory or hub id; `mini` trains a small one.")
    flags.DEFINE_string("splits", None, "Directory of {train,valid,test}_split.txt; default: by session or video.")
    flags.DEFINE_integer("fold", None, "IEMOCAP: session to test on; the next one validates; default: 1.")
    flags.DEFINE_bool("audio_from_video", False, "Use the video's sound track if the wav file is missing.")
    flags.DEFINE_float("source_fps", None, "Processed releases: images per second; default: estimated from the sounds.")
    flags.DEFINE_enum("features", COMPUTED, FEATURES, "Compute features, or read those of the paper's authors.")
    flags.DEFINE_bool("dry_run", False, "Print what would be used; decode no media, write nothing.")
    flags.DEFINE_float("max_dropped", MAX_DROPPED, "Fail if a larger share of the utterances is dropped.", 0.0, 1.0)
    flags.mark_flag_as_required("raw")
    app.run(main)
