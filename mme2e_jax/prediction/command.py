"""Prediction as a command: what it refuses at once, and what it prints and writes."""

from collections.abc import Callable
from pathlib import Path

from mme2e_jax.errors import UserError
from mme2e_jax.prediction.clip import ClipReader, open_clip
from mme2e_jax.prediction.cues import read_cues

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
    # What is wrong is said at once.
    clip = open_clip(path)
    if not Path(workdir).is_dir():
        raise UserError(f"Expected --workdir=RUN, the directory of a training run; {workdir} does not exist.")
    if transcript_file is not None:
        read_cues(Path(transcript_file), clip.path.stem)
    # Its process imports TensorFlow while this one imports JAX.
    with ClipReader() as reader:
        prepare_jax()
        from mme2e_jax.console import console
        from mme2e_jax.prediction.predictor import Predictor
        from mme2e_jax.prediction.table import notes, predictions_table

        def progress(done: float, whole: float) -> None:
            if console.is_terminal:
                console.print(f"  {done:.0f} of {whole:.0f} s", end="\r")

        predictor = Predictor.from_workdir(workdir, tokenizer, reader)
        prediction = predictor(path, transcript, transcript_file=transcript_file, progress=progress)
    console.print(predictions_table(prediction))
    for note in notes(prediction):
        console.print(f"Note: {note}", markup=False)
    out = Path(output_dir or Path(workdir) / DIRECTORY / clip.path.stem)
    for written in prediction.write(out):
        console.print(f"Wrote {written}", markup=False)
