"""The tokenizer of a run: kept by training beside the checkpoints, or where the user says."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.config.schema import EndToEndModelConfig
from mme2e_jax.errors import UserError

# The first brings TensorFlow and Flax, the second transformers, which takes a second to import.
if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder
    from mme2e_jax.runs.load import Run

DIRECTORY = "tokenizer"
_FILE = "tokenizer.json"


def keep_tokenizer(records: Path, workdir: Path) -> None:
    """Copies the tokenizer that lies with records to a run, so that prediction needs no records."""
    if (records / DIRECTORY / _FILE).is_file() and not (workdir / DIRECTORY / _FILE).is_file():
        shutil.copytree(records / DIRECTORY, workdir / DIRECTORY, dirs_exist_ok=True)


def find_tokenizer(run: "Run", workdir: Path, given: str | Path | None) -> Path | None:
    """The directory of the tokenizer of a run's data; None for a model that reads no words.

    Args:
      run: the model.
      workdir: of the run.
      given: directory that holds it; None to look in the run, in its records and with its ALBERT.

    Raises:
      UserError: if it is not there, or not the one of the run's data.
    """
    if "t" not in run.config.model.modalities:
        return None
    known = run.record.tokenizer.get("sha256")
    places = [workdir / DIRECTORY, Path(run.config.data.dir) / DIRECTORY]
    model = run.config.model
    if isinstance(model, EndToEndModelConfig) and model.text.dir:
        places.append(Path(model.text.dir))
    if given is not None:
        if not (Path(given) / _FILE).is_file():
            raise UserError(f"--tokenizer: expected a directory with {_FILE}, found none in {given}.")
        if not _fits(Path(given), known):
            raise UserError(
                f"--tokenizer: {given} is not the tokenizer that the run's data were prepared with: expected "
                f"{run.record.tokenizer}, found SHA-256 {_digest(Path(given))}."
            )
        return Path(given)
    for place in places:
        if (place / _FILE).is_file() and _fits(place, known):
            return place
    raise UserError(
        f"Expected the tokenizer that the data of {workdir} were prepared with "
        f"({run.record.tokenizer.get('name', 'of unknown name')}) in one of {', '.join(map(str, places))}; found none. "
        "Give its directory with --tokenizer=DIR: prepared records hold it as RECORDS/tokenizer."
    )


def _fits(directory: Path, known: str | None) -> bool:
    return known is None or _digest(directory) == known


def _digest(directory: Path) -> str:
    return hashlib.sha256((directory / _FILE).read_bytes()).hexdigest()


def load_encoder(directory: Path, vocabulary: int) -> "TextEncoder":
    """Loads a tokenizer.

    Args:
      directory: that holds it.
      vocabulary: tokens that the model knows.

    Raises:
      UserError: if it cannot be loaded, or makes more.
    """
    from mme2e_jax.media.tokens import TokenizerError, load_tokenizer

    try:
        encoder = load_tokenizer(str(directory.absolute()))
    except TokenizerError as error:
        raise UserError(f"--tokenizer: {error}") from error
    if len(encoder.tokenizer) > vocabulary:
        raise UserError(
            f"--tokenizer: {directory} has {len(encoder.tokenizer)} tokens; the model knows {vocabulary}. Give the "
            "tokenizer that its data were prepared with."
        )
    return encoder
