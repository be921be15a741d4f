"""Extracts the videos of a release on an Apache Beam runner.

Needs `requirements-beam.txt`. An element is a video and is extracted by the same worker process as without Beam
(`workers`), so that the records are the same, byte for byte. The process that starts the pipeline writes the records.

Workers of a cluster that access the release and the records' directory under the same paths need no more options.
Others read and write through Beam's file systems (`gs://`, `s3://`, `hdfs://`): each copies the files of one video at a
time from a copy of the release, and copies its results to a staging directory.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import apache_beam as beam
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from data_tools.preparation.settings import PrepareError
from data_tools.preparation.spool import Spool, result_path
from mme2e_jax.media.utterance import ImageSequence, Media
from mme2e_jax.media.workers import Extractor, Job, JobResult, dead_worker_result
from mme2e_jax.runtime.files import atomic_file


def run_on_beam(
    raw: Path, options: str, *, release: str | None = None, staging: str | None = None
) -> Callable[[Sequence[Job]], Iterator[JobResult]]:
    """Returns a function that runs jobs on Beam and yields their results in the jobs' order, once all are finished.

    `options` are pipeline options in the form of tensorflow-datasets: `runner=FlinkRunner,parallelism=8`. Workers that
    do not access the release `raw` and the directory of the records under their paths need URLs: `release` of a copy of
    the release, `staging` of a directory for their results. An interrupted pipeline continues from its results.
    """
    flags = [f"--{option}" for option in options.split(",") if option]

    def run(jobs: Sequence[Job]) -> Iterator[JobResult]:
        tasks = [_task(job, raw, release, staging) for job in jobs]
        pipeline_options = PipelineOptions(flags)
        FileSystems.set_options(pipeline_options)
        if staging is not None:
            _collect(jobs, staging)
        open_tasks = [task for task in tasks if not result_path(task.job).exists()]
        if open_tasks:
            with beam.Pipeline(options=pipeline_options) as pipeline:
                created = pipeline | "Videos" >> beam.Create(open_tasks)
                # Without it, a runner may give all elements to one worker.
                _ = created | beam.Reshuffle() | "Extract" >> beam.ParDo(_Extract())
        if staging is not None:
            _collect(jobs, staging)
        for job in jobs:
            yield Spool(job.spool.parent).load(job) or dead_worker_result(job)

    return run


@dataclass(frozen=True)
class _Task:
    """A job, with the URLs of its media (for images, their common start) and of the staging directory, if in use."""

    job: Job
    video: str | None
    wav: str | None
    staging: str | None


class _Extract(beam.DoFn):
    def setup(self) -> None:
        self._extractor = Extractor()

    def process(self, element: _Task) -> None:
        with tempfile.TemporaryDirectory(prefix="mme2e-video-") as scratch:
            job = _fetch(element, Path(scratch))
            if element.staging is not None:
                job = replace(job, spool=Path(scratch) / job.spool.name)
            result = self._extractor.run(job)
            Spool(job.spool.parent).store(result)
            # The result file last: it marks a complete result. It does not exist if the worker died.
            if element.staging is not None and result_path(job).exists():
                for path in (job.spool, result_path(job)):
                    url = FileSystems.join(element.staging, path.name)
                    with (
                        path.open("rb") as file,
                        FileSystems.create(url, compression_type=CompressionTypes.UNCOMPRESSED) as target,
                    ):
                        shutil.copyfileobj(file, target)

    def teardown(self) -> None:
        self._extractor.close()


def _task(job: Job, raw: Path, release: str | None, staging: str | None) -> _Task:
    # Workers have other working directories.
    video, wav = job.media.video, job.media.wav and job.media.wav.absolute()
    if isinstance(video, ImageSequence):
        video = replace(video, folder=video.folder.absolute())
    elif video is not None:
        video = video.absolute()
    job = replace(job, media=Media(video, wav), spool=job.spool.absolute())
    if release is None:
        return _Task(job, None, None, staging)
    root = (raw if raw.is_dir() else raw.parent).absolute()

    def url(path: Path) -> str:
        if not path.is_relative_to(root):
            raise PrepareError(
                f"Expected all media below {root}, which is copied to {release}; found {path}. Move it there, or use "
                "workers that access it under that path."
            )
        return FileSystems.join(release, *path.relative_to(root).parts)

    source = video.folder / video.prefix if isinstance(video, ImageSequence) else video
    return _Task(job, source and url(source), wav and url(wav), staging)


def _fetch(task: _Task, scratch: Path) -> Job:
    """The job with its media copied to `scratch`, if the task has URLs."""
    video, wav = task.job.media.video, task.job.media.wav
    if task.video is not None:
        folder = scratch / "video"
        folder.mkdir()
        if isinstance(video, ImageSequence):
            (matched,) = FileSystems.match([f"{task.video}*.jpg"])
            for metadata in matched.metadata_list:
                _download(metadata.path, folder)
            video = replace(video, folder=folder)
        else:
            video = _download(task.video, folder)
    if task.wav is not None:
        wav = _download(task.wav, scratch)
    return replace(task.job, media=Media(video, wav))


def _collect(jobs: Sequence[Job], staging: str) -> None:
    """Copies the results of these jobs from the staging directory to the jobs' paths."""
    (matched,) = FileSystems.match([FileSystems.join(staging, "*.json")])
    staged = {PurePosixPath(metadata.path).name for metadata in matched.metadata_list}
    for job in jobs:
        result = result_path(job)
        if result.name in staged and not result.exists():
            for name in (job.spool.name, result.name):
                _download(FileSystems.join(staging, name), job.spool.parent)


def _download(url: str, directory: Path) -> Path:
    path = directory / PurePosixPath(url).name
    with FileSystems.open(url, compression_type=CompressionTypes.UNCOMPRESSED) as source, atomic_file(path) as file:
        shutil.copyfileobj(source, file)
    return path
