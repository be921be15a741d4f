"""Predicts on a clip with an exported model; imports no model code."""

from pathlib import Path

from mme2e_jax.commands.predict import ClipArguments, predict_and_write
from mme2e_jax.export import archive


def predict_exported(model: str, clip: ClipArguments) -> None:
    """Predicts on a clip, prints a table and writes `predictions.json` and `.csv`; raises `UserError` for bad input."""
    predict_and_write(
        clip,
        clip.directory(Path()),
        check=lambda: archive.read_archive(Path(model)),
        load=lambda cls, reader: cls.from_exported(model, reader),
    )
