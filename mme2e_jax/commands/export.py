"""Exports a run as one file, or in the hub's layout."""

from pathlib import Path

from mme2e_jax.checkpoints.hub import is_export
from mme2e_jax.errors import UserError
from mme2e_jax.export import archive, hub
from mme2e_jax.export.save import save_run
from mme2e_jax.runs.load import load_run
from mme2e_jax.runs.tokenizer import find_tokenizer
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.files import OutputExistsError, require_free

NAME, HUB_NAME = "model.mme2e", "hub"


def export_run(workdir: str | Path, out: str | Path | None = None, tokenizer: str | None = None) -> Path:
    """Exports the best checkpoint of a run, prints the sizes of the file's members and returns its path.

    `out` is by default `model.mme2e` in the run; `tokenizer` is a directory, searched with `find_tokenizer` if None.
    Raises `UserError` if run or tokenizer are missing, or the file cannot be written or would replace another one.
    """
    path = Path(out or Path(workdir) / NAME)
    if archive.holds_something_else(path):
        found = "a directory" if path.is_dir() else "a file that is no exported model"
        raise UserError(f"--out: expected a new file, or an exported model to replace, found {found} at {path}.")
    run = load_run(workdir, devices=1)
    directory = find_tokenizer(run, Path(workdir), tokenizer)
    try:
        sizes = save_run(run, Path(workdir), path, directory)
    except OSError as error:
        raise UserError(f"--out: {path} could not be written: {error.strerror}.") from error
    main_members = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in sizes.items() if "/" not in name)
    console.print(f"Wrote {path} ({main_members})")
    return path


def export_to_hub_layout(workdir: str | Path, out: str | Path | None = None, tokenizer: str | None = None) -> Path:
    """Exports the best checkpoint of a run as a directory in the layout of the Hugging Face hub; returns its path.

    `out` is by default `hub` in the run; `tokenizer` as for `export_run`. Raises `UserError` if run or tokenizer are
    missing, the report of the run is damaged, or the directory holds something else than an earlier export.
    """
    path = Path(out or Path(workdir) / HUB_NAME)
    try:
        if not is_export(path):
            require_free(path)
        run = load_run(workdir, devices=1)
        hub.save_model(run, Path(workdir), path, find_tokenizer(run, Path(workdir), tokenizer))
    except OutputExistsError as error:
        raise UserError(f"--out: {error}") from error
    console.print(f"Wrote {path}. Read its README.md, and complete it before you share the model.")
    return path
