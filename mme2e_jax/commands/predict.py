"""Predicts the emotions in a clip with a run or an export."""

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.predict.clip_reader import ClipReader, open_clip
from mme2e_jax.predict.cues import WINDOW_SECONDS, check_windows, read_cues
from mme2e_jax.runtime.jax_cache import configure_jax

if TYPE_CHECKING:
    from mme2e_jax.predict.predictor import Predictor

_UNSAFE = re.compile(r"[^\w.\- ]")


class ClipArguments(NamedTuple):
    """A clip, as `Predictor` takes it, and the output directory."""

    path: str
    transcript: str
    transcript_file: str | None
    face_choice: str | None  # None for the choice of the model's data
    output_dir: str | None  # None for predictions/CLIP, in the run if there is one
    window: float  # as for `Predictor`
    hop: float  # the same

    def directory(self, parent: Path) -> Path:
        """The output directory; `parent` is the run directory, or the current one."""
        return Path(self.output_dir) if self.output_dir else output_directory(parent / "predictions", Path(self.path))


def predict_clip(workdir: str, clip: ClipArguments, tokenizer: str | None) -> None:
    """Predicts with a run, prints a table and writes the files; `tokenizer` and errors as `Predictor.from_workdir`."""

    def check() -> None:
        if not Path(workdir).is_dir():
            raise UserError(f"Expected --workdir=RUN, the directory of a training run; {workdir} does not exist.")

    directory = clip.directory(Path(workdir))
    _predict_and_write(clip, directory, check, lambda cls, reader: cls.from_workdir(workdir, tokenizer, reader))


def predict_exported(model: str, clip: ClipArguments) -> None:
    """Predicts with an exported model, without model code; prints a table and writes `predictions.json` and `.csv`."""

    def check() -> None:
        archive.read_archive(Path(model))

    _predict_and_write(clip, clip.directory(Path()), check, lambda cls, reader: cls.from_exported(model, reader))


def output_directory(parent: Path, clip: Path) -> Path:
    """The directory in `parent` for the predictions of a clip: its name, or with a number if that is another clip's."""
    name = _UNSAFE.sub("_", clip.stem).strip(".") or "clip"
    for directory in itertools.chain([parent / name], (parent / f"{name}-{number}" for number in itertools.count(2))):
        try:
            earlier = json.loads((directory / "predictions.json").read_bytes())
        except (OSError, ValueError):
            return directory
        # Predictions of earlier versions do not say where their clip is.
        if earlier.get("path", str(clip.absolute())) == str(clip.absolute()):
            return directory
    raise AssertionError("the numbers do not end")


def _predict_and_write(
    clip: ClipArguments,
    directory: Path,
    check: Callable[[], None],
    load: "Callable[[type[Predictor], ClipReader], Predictor]",
) -> None:
    # All quick checks come before slow imports.
    stem = open_clip(clip.path).path.stem
    check()
    check_windows(clip.window or WINDOW_SECONDS, clip.hop)
    if clip.transcript_file is not None:
        read_cues(Path(clip.transcript_file), stem)
    # The reader's process imports TensorFlow while this one imports JAX.
    with ClipReader() as reader:
        configure_jax()
        from mme2e_jax.predict.predictor import Predictor
        from mme2e_jax.predict.table import notes, predictions_table
        from mme2e_jax.runtime.console import console

        def progress(done: float, whole: float) -> None:
            if console.is_terminal:
                console.print(f"  {done:.0f} of {whole:.0f} s", end="\r")

        predict = load(Predictor, reader)
        prediction = predict(
            clip.path,
            clip.transcript,
            transcript_file=clip.transcript_file,
            face_choice=clip.face_choice,
            window=clip.window,
            hop=clip.hop,
            progress=progress,
        )
    console.print(predictions_table(prediction, console.width))
    if words := prediction.headline():
        console.print(f"{words[0].upper()}{words[1:]}.")
    for note in notes(prediction):
        console.print(f"Note: {note}")
    for written in prediction.write(directory):
        console.print(f"Wrote {written}")
    if not any(utterance.evidence for utterance in prediction.utterances):
        console.print("No page: an exported model does not report its kept sites. Predict with the run for a page.")
