"""Keeps, finds and loads the tokenizer of a run."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.config.schema import EndToEndModelConfig
from mme2e_jax.errors import UserError

# Slow to import: transformers, and TensorFlow with Flax.
if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder
    from mme2e_jax.runs.load import Run

DIRECTORY = "tokenizer"
_FILE = "tokenizer.json"


def keep_tokenizer(records: Path, workdir: Path) -> None:
    """Copies the tokenizer of the records to the run, so that prediction needs no records."""
    if (records / DIRECTORY / _FILE).is_file() and not (workdir / DIRECTORY / _FILE).is_file():
        shutil.copytree(records / DIRECTORY, workdir / DIRECTORY, dirs_exist_ok=True)


def find_tokenizer(run: "Run", workdir: Path, given: str | Path | None) -> Path | None:
    """Finds the tokenizer directory of a run; None for a model that reads no text or stored text features.

    It is `given`, or else searched in the run, its records and its ALBERT checkpoint. Raises `UserError` if there is
    none, or its digest is not the one that the run stores.
    """
    model = run.config.model
    if not isinstance(model, EndToEndModelConfig) or "t" not in model.modalities:
        return None
    known = run.record.tokenizer.get("sha256")
    if given is not None:
        if not (Path(given) / _FILE).is_file():
            raise UserError(f"--tokenizer: expected a directory with {_FILE}, found none in {given}.")
        if known not in (None, _digest(Path(given))):
            raise UserError(
                f"--tokenizer: {given} is not the tokenizer that the run's data were prepared with: expected "
                f"{run.record.tokenizer}, found SHA-256 {_digest(Path(given))}."
            )
        return Path(given)
    folders = [workdir / DIRECTORY, Path(run.config.data.dir) / DIRECTORY]
    if model.text.dir:
        folders.append(Path(model.text.dir))
    for directory in folders:
        if (directory / _FILE).is_file() and known in (None, _digest(directory)):
            return directory
    name = run.record.tokenizer.get("name", "of unknown name")
    raise UserError(
        f"Expected the tokenizer that the data of {workdir} were prepared with ({name}) in one of "
        f"{', '.join(map(str, folders))}, found none. "
        "Give its directory with --tokenizer=DIR: prepared records hold it as RECORDS/tokenizer."
    )


def _digest(directory: Path) -> str:
    return hashlib.sha256((directory / _FILE).read_bytes()).hexdigest()


def load_encoder(directory: Path, vocabulary: int) -> "TextEncoder":
    """Loads a tokenizer; raises `UserError` if it cannot be loaded, or has more than `vocabulary` tokens."""
    from mme2e_jax.media.tokens import TokenizerError, load_tokenizer

    try:
        encoder = load_tokenizer(str(directory.absolute()))
    except TokenizerError as error:
        raise UserError(f"--tokenizer: {error}") from error
    if len(encoder.tokenizer) > vocabulary:
        raise UserError(
            f"--tokenizer: {directory} has {len(encoder.tokenizer)} tokens, expected at most the model's {vocabulary}. "
            "Give the tokenizer that its data were prepared with."
        )
    return encoder
