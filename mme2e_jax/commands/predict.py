"""Predicts the emotions in clips with a run or an export."""

import collections
import contextlib
import dataclasses
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.predict.clip_reader import ClipReader, open_clip
from mme2e_jax.predict.clip_stream import ClipRequest
from mme2e_jax.predict.cues import WINDOW_SECONDS, check_windows, read_cues
from mme2e_jax.predict.inputs import ClipFile, find_clips, find_transcript, read_words
from mme2e_jax.predict.transcribe import Transcriber, check_flags
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.files import valid_unicode
from mme2e_jax.runtime.jax_cache import configure_jax

if TYPE_CHECKING:
    from mme2e_jax.predict.predictor import Predictor
    from mme2e_jax.predict.results import Prediction


_VERSION = 2  # increase it when the same clip and settings give other predictions than before
_READERS = 8  # most processes that read clips; each takes about 1 GB
_NO_WORDS = "To give words: --transcript, --transcript_file, or --transcribe, which recognises speech."
_CLIPS_PER_READER = 8  # with fewer short ones, a process takes longer to start than it saves


class ClipArguments(NamedTuple):
    """Clips, as `Predictor` and `find_clips` take them, and the output directory."""

    input: str
    transcript: str
    transcript_file: str | None
    face_choice: str | None  # None for the choice of the model's data
    output_dir: str | None  # None for predictions/, in the run if there is one; in it CLIP for a single clip
    window: float  # as for `Predictor`
    hop: float  # the same
    transcribe: str | None = None  # directory of a speech recognition model, for clips without words
    language: str | None = None  # as for `Transcriber`


def predict_clips(workdir: str, clips: ClipArguments, tokenizer: str | None) -> None:
    """Predicts with a run and writes the files; for a single clip, prints a table.

    `tokenizer` and errors as for `Predictor.from_workdir`; `UserError` also if no file can be predicted.
    """

    def check() -> None:
        if not Path(workdir).is_dir():
            raise UserError(f"Expected --workdir=RUN, the directory of a training run; {workdir} does not exist.")

    _predict(clips, Path(workdir), check, lambda cls, reader: cls.from_workdir(workdir, tokenizer, reader))


def predict_exported(model: str, clips: ClipArguments) -> None:
    """Predicts as `predict_clips` with an exported model, without model code; no pages are written."""

    def check() -> None:
        archive.read_archive(Path(model))

    _predict(clips, Path(), check, lambda cls, reader: cls.from_exported(model, reader))


def _predict(
    arguments: ClipArguments,
    parent: Path,
    check: Callable[[], None],
    load: "Callable[[type[Predictor], ClipReader], Predictor]",
) -> None:
    # All quick checks come before slow imports.
    files, many = find_clips(arguments.input)
    if many and (arguments.transcript or arguments.transcript_file is not None):
        raise UserError(
            f"--transcript and --transcript_file are for one clip, but {arguments.input} names {len(files)}. Put the "
            "transcript of each clip next to it: clip.srt, clip.vtt or clip.txt for clip.mp4."
        )
    if not many:
        clip = open_clip(files[0].path)
    check()
    check_windows(arguments.window or WINDOW_SECONDS, arguments.hop)
    if arguments.transcript_file is not None:
        read_cues(Path(arguments.transcript_file), clip.path.stem)
    check_flags(arguments.transcribe, arguments.language)
    # The reader's process imports TensorFlow while this one imports JAX.
    with ClipReader(max(1, min(os.cpu_count() or 1, _READERS, len(files) // _CLIPS_PER_READER))) as reader:
        configure_jax()
        from mme2e_jax.predict.predictor import Predictor

        transcriber = Transcriber(arguments.transcribe, arguments.language) if arguments.transcribe else None
        _Task(arguments, parent / "predictions", files, many, transcriber).run(load(Predictor, reader))


class _Planned(NamedTuple):
    """A file that is about to be predicted."""

    file: ClipFile
    request: ClipRequest
    stored: dict[str, Any]  # what the predictions depend on
    notes: tuple[str, ...]


class _Task:
    """The prediction on the files of one input."""

    def __init__(
        self,
        arguments: ClipArguments,
        parent: Path,
        files: list[ClipFile],
        many: bool,
        transcriber: Transcriber | None,
    ):
        from mme2e_jax.predict.progress import FileProgress

        self._arguments, self._parent, self._files, self._many = arguments, parent, files, many
        self._transcriber = transcriber
        self._out = Path(arguments.output_dir or parent)
        self._failed: dict[str, str] = {}
        self._planned: collections.deque[_Planned] = collections.deque()
        self._earlier = 0
        self._progress = FileProgress([_size(file) for file in files])

    def run(self, predictor: "Predictor") -> None:
        """Predicts and writes file by file, then the common table and page of many files."""
        options = self._arguments
        with self._progress:
            outcomes = predictor.predict_each(
                self._requests(predictor.model.digest),
                window=options.window,
                hop=options.hop,
                face_choice=options.face_choice,
                transcriber=self._transcriber,
                progress=lambda done, whole: self._progress.advance(_size(self._planned[0].file), 0.999 * done / whole),
            )
            for outcome in outcomes:
                planned = self._planned[0]
                if isinstance(outcome, Exception):
                    self._fail(planned.file, outcome)
                else:
                    self._finish(planned, outcome)
                self._planned.popleft()
                self._progress.advance(_size(planned.file), 1.0)
        if self._many:
            self._summarize()

    def _requests(self, digest: str) -> Iterator[ClipRequest]:
        """Yields the files that are not predicted yet."""
        from mme2e_jax.predict.outputs import is_finished

        for file in self._files:
            try:
                planned = self._plan(file, digest)
                if self._many and is_finished(self._directory(file), planned.stored):
                    self._earlier += 1
                    self._progress.skip(_size(file))
                    continue
            except Exception as error:
                self._fail(file, error)
                self._progress.skip(_size(file))
                continue
            self._planned.append(planned)
            yield planned.request

    def _plan(self, file: ClipFile, digest: str) -> _Planned:
        if file.problem:
            raise UserError(file.problem)
        options = self._arguments
        transcript, transcript_file, notes = options.transcript, options.transcript_file, ()
        if not transcript and transcript_file is None and (found := find_transcript(file)):
            words = read_words(found)
            transcript, transcript_file = (words, None) if words is not None else ("", str(found))
            source = f"{valid_unicode(found.name)}, next to the clip"
            notes = (
                f"The transcript file {source}, is empty." if words == "" else f"The transcript is that of {source}.",
            )
        request = ClipRequest(file.path, transcript, transcript_file)
        stored = {
            "version": _VERSION,
            "file": _state(file.path),
            "transcript": valid_unicode(transcript),
            "transcript_file": transcript_file and [valid_unicode(transcript_file), *_state(Path(transcript_file))],
            "face_choice": options.face_choice,
            "window": options.window,
            "hop": options.hop,
            "model": digest,
        }
        if self._transcriber and not request.has_words:
            # Another model does not change predictions with given words.
            stored["transcribe"] = self._transcriber.identity
        return _Planned(file, request, stored, notes)

    def _directory(self, file: ClipFile) -> Path:
        from mme2e_jax.predict.outputs import output_directory, safe_name, safe_path

        if not self._many and self._arguments.output_dir:
            return self._out
        return output_directory(self._out / (safe_path(file.name) if self._many else safe_name(file.path)), file.path)

    def _finish(self, planned: _Planned, prediction: "Prediction") -> None:
        from mme2e_jax.predict.table import notes, predictions_table

        without_words = self._transcriber is None and not planned.request.has_words and "t" in prediction.modalities
        hints = (_NO_WORDS,) if without_words else ()
        prediction = dataclasses.replace(prediction, notes=(*planned.notes, *prediction.notes, *hints))
        written = prediction.write(self._directory(planned.file), planned.stored)
        words = prediction.headline()
        if self._many:
            console.print(f"{planned.file.name}: {words or f'{len(prediction.utterances)} utterances'}")
            return
        console.print(predictions_table(prediction, console.width))
        if words:
            console.print(f"{words[0].upper()}{words[1:]}.")
        for note in notes(prediction):
            console.print(f"Note: {note}")
        for path in written:
            console.print(f"Wrote {path}")
        if not any(utterance.evidence for utterance in prediction.utterances):
            console.print("No page: an exported model does not report its kept sites. Predict with the run for a page.")

    def _fail(self, file: ClipFile, error: Exception) -> None:
        if not self._many:
            raise error
        if not isinstance(error, UserError | OSError):
            # It may be a mistake of ours.
            traceback.print_exception(error)
        self._failed[file.name] = str(error) or type(error).__name__
        console.print(f"{file.name}: not predicted. {self._failed[file.name]}")

    def _summarize(self) -> None:
        predicted = len(self._files) - len(self._failed)
        if not predicted:
            raise UserError(f"None of {len(self._files)} files in {self._arguments.input} was predicted; see above.")
        from mme2e_jax.predict.outputs import write_overview

        for path in write_overview(self._out, self._arguments.input, self._files, self._failed):
            console.print(f"Wrote {path}")
        earlier = f", {self._earlier} of them before" if self._earlier else ""
        failed = f" {len(self._failed)} failed: see index.html." if self._failed else ""
        console.print(f"Predicted {predicted} of {len(self._files)} files{earlier}.{failed}")


def _size(file: ClipFile) -> int:
    with contextlib.suppress(OSError, ValueError):
        return file.path.stat().st_size
    return 0


def _state(path: Path) -> list[int]:
    """Size and time of change, which differ after an edit."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]
