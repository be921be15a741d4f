"""Predicts the emotions in a clip with an exported model.

Imports no model code.
"""

from pathlib import Path

from mme2e_jax.commands.predict import DIRECTORY, predict_and_write
from mme2e_jax.export import archive


def predict_exported(
    model: str, path: str, transcript: str, transcript_file: str | None, output_dir: str | None
) -> None:
    """Predicts the emotions in a clip, prints a table and writes the files; arguments as for `Predictor`.

    The files go to `output_dir`, by default `predictions/CLIP`. There is no page: an exported program does not report
    its kept sites. Raises `UserError` if an input cannot be used.
    """

    directory = Path(output_dir or Path(DIRECTORY) / Path(path).stem)
    predict_and_write(
        path,
        transcript,
        transcript_file,
        directory,
        check=lambda: archive.read_archive(Path(model)),
        load=lambda predictor, reader: predictor.from_exported(model, reader),
    )
