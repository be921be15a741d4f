"""Predicts the emotions in a clip with a run or an export."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.errors import UserError
from mme2e_jax.predict.clip_reader import ClipReader, open_clip
from mme2e_jax.predict.cues import read_cues
from mme2e_jax.runtime.jax_cache import configure_jax

if TYPE_CHECKING:
    from mme2e_jax.predict.predictor import Predictor

DIRECTORY = "predictions"


def predict_clip(
    workdir: str,
    path: str,
    transcript: str,
    transcript_file: str | None,
    output_dir: str | None,
    *,
    tokenizer: str | None,
) -> None:
    """Predicts the emotions in a clip with a run, prints a table and writes the files; arguments as for `Predictor`.

    The files go to `output_dir`, by default `predictions/CLIP` in the run. Raises `UserError` if an input cannot be
    used.
    """

    def check() -> None:
        if not Path(workdir).is_dir():
            raise UserError(f"Expected --workdir=RUN, the directory of a training run; {workdir} does not exist.")

    directory = Path(output_dir or Path(workdir) / DIRECTORY / Path(path).stem)
    predict_and_write(
        path,
        transcript,
        transcript_file,
        directory,
        check=check,
        load=lambda predictor, reader: predictor.from_workdir(workdir, tokenizer, reader),
    )


def predict_and_write(
    path: str,
    transcript: str,
    transcript_file: str | None,
    directory: Path,
    *,
    check: Callable[[], object],
    load: "Callable[[type[Predictor], ClipReader], Predictor]",
) -> None:
    """Predicts with a model, prints a table and writes the files to a directory.

    Args:
      path, transcript, transcript_file: see `Predictor`.
      directory: output directory.
      check: quick check of the model, which raises if it is unusable.
      load: function of the class `Predictor` and a reader that loads the model.
    """
    # All quick checks come before slow imports.
    clip = open_clip(path)
    check()
    if transcript_file is not None:
        read_cues(Path(transcript_file), clip.path.stem)
    # The reader's process imports TensorFlow while this one imports JAX.
    with ClipReader() as reader:
        configure_jax()
        from mme2e_jax.predict.predictor import Predictor
        from mme2e_jax.predict.table import notes, predictions_table
        from mme2e_jax.runtime.console import console

        def progress(done: float, whole: float) -> None:
            if console.is_terminal:
                console.print(f"  {done:.0f} of {whole:.0f} s", end="\r")

        prediction = load(Predictor, reader)(path, transcript, transcript_file=transcript_file, progress=progress)
    console.print(predictions_table(prediction, console.width))
    for note in notes(prediction):
        console.print(f"Note: {note}")
    for written in prediction.write(directory):
        console.print(f"Wrote {written}")
    if not any(utterance.evidence for utterance in prediction.utterances):
        console.print("No page: an exported model does not report its kept sites. Predict with the run for a page.")
