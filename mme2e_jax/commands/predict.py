"""Prediction as a command: what it refuses at once, and what it prints and writes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.predict.clip_reader import ClipReader, open_clip
from mme2e_jax.predict.cues import read_cues

if TYPE_CHECKING:
    from mme2e_jax.predict.predictor import Predictor

DIRECTORY = "predictions"


def predict_clip(
    workdir: str,
    path: str,
    *,
    transcript: str,
    transcript_file: str | None,
    tokenizer: str | None,
    output_dir: str | None,
    prepare_jax: Callable[[], None],
) -> None:
    """Predicts the emotions of a clip, prints a table and writes the files.

    Args:
      workdir: of the run.
      path, transcript, transcript_file, tokenizer: as of `Predictor`.
      output_dir: for the files; None for `predictions/CLIP` in the run.
      prepare_jax: called before JAX is used.

    Raises:
      UserError: if anything that was given cannot be used.
    """

    def check() -> None:
        if not Path(workdir).is_dir():
            raise UserError(f"Expected --workdir=RUN, the directory of a training run; {workdir} does not exist.")

    def load(reader: ClipReader) -> "Predictor":
        from mme2e_jax.predict.predictor import Predictor

        return Predictor.from_workdir(workdir, tokenizer, reader)

    directory = output_dir or str(Path(workdir) / DIRECTORY / Path(path).stem)
    _predict(path, transcript, transcript_file, directory, check=check, load=load, prepare_jax=prepare_jax)


def predict_exported(
    model: str,
    path: str,
    *,
    transcript: str,
    transcript_file: str | None,
    output_dir: str | None,
    prepare_jax: Callable[[], None],
) -> None:
    """The same with an exported model.

    Args:
      model: the file.
      path, transcript, transcript_file, prepare_jax: as of `predict_clip`.
      output_dir: for the files; None for `predictions/CLIP`.

    Raises:
      UserError: if anything that was given cannot be used.
    """

    def check() -> None:
        archive.read_archive(Path(model))

    def load(reader: ClipReader) -> "Predictor":
        from mme2e_jax.predict.predictor import Predictor

        return Predictor.from_exported(model, reader)

    directory = output_dir or str(Path(DIRECTORY) / Path(path).stem)
    _predict(path, transcript, transcript_file, directory, check=check, load=load, prepare_jax=prepare_jax)


def _predict(
    path: str,
    transcript: str,
    transcript_file: str | None,
    output_dir: str,
    *,
    check: Callable[[], None],
    load: "Callable[[ClipReader], Predictor]",
    prepare_jax: Callable[[], None],
) -> None:
    # What is wrong is said at once.
    clip = open_clip(path)
    check()
    if transcript_file is not None:
        read_cues(Path(transcript_file), clip.path.stem)
    # Its process imports TensorFlow while this one imports JAX.
    with ClipReader() as reader:
        prepare_jax()
        from mme2e_jax.predict.table import notes, predictions_table
        from mme2e_jax.runtime.console import console

        def progress(done: float, whole: float) -> None:
            if console.is_terminal:
                console.print(f"  {done:.0f} of {whole:.0f} s", end="\r")

        prediction = load(reader)(path, transcript, transcript_file=transcript_file, progress=progress)
    console.print(predictions_table(prediction))
    for note in notes(prediction):
        console.print(f"Note: {note}", markup=False)
    for written in prediction.write(Path(output_dir)):
        console.print(f"Wrote {written}", markup=False)
    if not any(utterance.evidence for utterance in prediction.utterances):
        console.print("No page: an exported model does not tell what it looked at. Predict with the run for one.")
