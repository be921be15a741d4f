"""The tokenizer of a run: kept by training beside the checkpoints, or where the user says."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mme2e_jax.errors import UserError
from mme2e_jax.run import Run

if TYPE_CHECKING:
    from data_tools.tokens import TextEncoder

DIRECTORY = "tokenizer"
_FILE = "tokenizer.json"


def keep_tokenizer(records: Path, workdir: Path) -> None:
    """Copies the tokenizer that lies with records to a run, so that prediction needs no records."""
    if (records / DIRECTORY / _FILE).is_file() and not (workdir / DIRECTORY / _FILE).is_file():
        shutil.copytree(records / DIRECTORY, workdir / DIRECTORY, dirs_exist_ok=True)


def load_run_tokenizer(run: Run, workdir: Path, given: str | Path | None) -> "TextEncoder | None":
    """The tokenizer of a run's data; None for a model that reads no words.

    Args:
      run: the model.
      workdir: of the run.
      given: directory to load it from; None to look in the run, in its records and with its ALBERT.

    Raises:
      UserError: if it is not there, or not the one of the run's data.
    """
    if "t" not in run.config.model.modalities:
        return None
    known = run.record.tokenizer.get("sha256")
    places = [workdir / DIRECTORY, Path(run.config.data.dir) / DIRECTORY]
    if run.config.model.text.dir:
        places.append(Path(run.config.model.text.dir))
    found = [Path(given)] if given is not None else [p for p in places if (p / _FILE).is_file() and _fits(p, known)]
    if not found:
        raise UserError(
            f"Expected the tokenizer that the data of {workdir} were prepared with "
            f"({run.record.tokenizer.get('name', 'of unknown name')}) in one of {', '.join(map(str, places))}; found none. "
            "Give its directory with --tokenizer=DIR: prepared records hold it as RECORDS/tokenizer."
        )
    # Here, not at the top: importing transformers takes a second.
    from data_tools.tokens import TokenizerError, load_tokenizer

    try:
        encoder = load_tokenizer(str(found[0].absolute()))
    except TokenizerError as error:
        raise UserError(f"--tokenizer: {error}") from error
    if not _fits(found[0], known) or len(encoder.tokenizer) != run.record.tokenizer["vocab_size"]:
        raise UserError(
            f"--tokenizer: {found[0]} is another tokenizer than the run's data were prepared with: expected "
            f"{run.record.tokenizer}, found {len(encoder.tokenizer)} tokens, SHA-256 {_digest(found[0])}."
        )
    return encoder


def _fits(directory: Path, known: str | None) -> bool:
    return known is None or _digest(directory) == known


def _digest(directory: Path) -> str:
    return hashlib.sha256((directory / _FILE).read_bytes()).hexdigest()
