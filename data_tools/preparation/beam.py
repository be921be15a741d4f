"""Extracts the videos of a release on an Apache Beam runner: on this machine, or on a cluster.

Needs `requirements-beam.txt`. A video is an element, and goes through the same worker process as without Beam
(`workers`), so that the records are the same, byte for byte. They are written by the process that starts the pipeline.

Workers of a cluster that see the release and the records' directory under the same paths need nothing else. Others
read and write through Beam's file systems (`gs://`, `s3://`, `hdfs://`): each gets the files of one video at a time
from a copy of the release, and leaves what it extracted in a staging directory.
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
    """How `prepare` runs its jobs on Beam.

    Args:
      raw: the release, as the caller sees it.
      options: of the pipeline, as tensorflow-datasets takes them: `runner=FlinkRunner,parallelism=8`.
      release: URL of a copy of the release; None where workers see it under the caller's paths.
      staging: URL of a directory for what workers extract; None where they see the caller's directory of records.
        What lies there of the same jobs is used, so that a pipeline that was stopped goes on.

    Returns:
      a function from jobs to their results, in the jobs' order, once all are finished.
    """
    flags = [f"--{option}" for option in options.split(",") if option]

    def run(jobs: Sequence[Job]) -> Iterator[JobResult]:
        tasks = [_task(job, raw, release, staging) for job in jobs]
        pipeline_options = PipelineOptions(flags)
        FileSystems.set_options(pipeline_options)
        if staging is not None:
            _collect(jobs, staging)
        waiting = [task for task in tasks if not result_path(task.job).exists()]
        if waiting:
            with beam.Pipeline(options=pipeline_options) as pipeline:
                created = pipeline | "Videos" >> beam.Create(waiting)
                # Without it a runner may leave all elements of a pipeline to one worker.
                _ = created | beam.Reshuffle() | "Extract" >> beam.ParDo(_Extract())
        if staging is not None:
            _collect(jobs, staging)
        for job in jobs:
            yield Spool(job.spool.parent).load(job) or dead_worker_result(job)

    return run


@dataclass(frozen=True)
class _Task:
    """A job, and where its worker finds the media and leaves the arrays, if not under the job's paths."""

    job: Job
    video: str | None  # of pictures, what all their URLs start with
    wav: str | None
    staging: str | None


class _Extract(beam.DoFn):
    """Runs tasks; what they find is not its output, but in the files that it leaves."""

    def setup(self) -> None:
        self._extractor = Extractor()

    def process(self, element: _Task) -> None:
        with tempfile.TemporaryDirectory(prefix="mme2e-video-") as scratch:
            job = _fetch(element, Path(scratch))
            if element.staging is not None:
                job = replace(job, spool=Path(scratch) / job.spool.name)
            result = self._extractor.run(job)
            Spool(job.spool.parent).store(result)
            # The answer last: with it the result is complete. There is none where the worker died.
            if element.staging is not None and result_path(job).exists():
                for path in (job.spool, result_path(job)):
                    _copy_there(path, FileSystems.join(element.staging, path.name))

    def teardown(self) -> None:
        self._extractor.close()


def _task(job: Job, raw: Path, release: str | None, staging: str | None) -> _Task:
    # Workers have working directories of their own.
    job = replace(job, media=_absolute(job.media), spool=job.spool.absolute())
    if release is None:
        return _Task(job, None, None, staging)
    root = (raw if raw.is_dir() else raw.parent).absolute()

    def url(path: Path) -> str:
        if not path.is_relative_to(root):
            raise PrepareError(
                f"Expected all media inside of {root}, a copy of which is at {release}; found {path}. Move it there, "
                "or run where workers see it under that path."
            )
        return FileSystems.join(release, *path.relative_to(root).parts)

    video, wav = job.media.video, job.media.wav
    source = video.folder / video.prefix if isinstance(video, ImageSequence) else video
    return _Task(job, source and url(source), wav and url(wav), staging)


def _absolute(media: Media) -> Media:
    video = media.video
    if isinstance(video, ImageSequence):
        video = replace(video, folder=video.folder.absolute())
    return Media(video.absolute() if isinstance(video, Path) else video, media.wav and media.wav.absolute())


def _fetch(task: _Task, scratch: Path) -> Job:
    """The job with its media in `scratch`, if they are somewhere else than it says."""
    video, wav = task.job.media.video, task.job.media.wav
    if task.video is not None:
        folder = scratch / "video"
        folder.mkdir()
        if isinstance(video, ImageSequence):
            (matched,) = FileSystems.match([f"{task.video}*.jpg"])
            for metadata in matched.metadata_list:
                _copy_here(metadata.path, folder)
            video = replace(video, folder=folder)
        else:
            video = _copy_here(task.video, folder)
    if task.wav is not None:
        wav = _copy_here(task.wav, scratch)
    return replace(task.job, media=Media(video, wav))


def _collect(jobs: Sequence[Job], staging: str) -> None:
    """Copies the results of these jobs that lie in the staging directory to where the jobs say."""
    (matched,) = FileSystems.match([FileSystems.join(staging, "*.json")])
    there = {PurePosixPath(metadata.path).name for metadata in matched.metadata_list}
    for job in jobs:
        answer = result_path(job)
        if answer.name in there and not answer.exists():
            for name in (job.spool.name, answer.name):
                _copy_here(FileSystems.join(staging, name), job.spool.parent)


def _copy_here(url: str, directory: Path) -> Path:
    path = directory / PurePosixPath(url).name
    with FileSystems.open(url, compression_type=CompressionTypes.UNCOMPRESSED) as source, atomic_file(path) as file:
        shutil.copyfileobj(source, file)
    return path


def _copy_there(path: Path, url: str) -> None:
    with FileSystems.create(url, compression_type=CompressionTypes.UNCOMPRESSED) as target, path.open("rb") as file:
        shutil.copyfileobj(file, target)
