"""From a run to an exported file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import tasks
from mme2e_jax.export import archive, program
from mme2e_jax.export.manifest import Manifest, from_json
from mme2e_jax.export.signature import signature
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.runs.load import Run, load_run
from mme2e_jax.runs.tokenizer import find_tokenizer
from mme2e_jax.runtime.console import console

NAME = "model.mme2e"


def export_run(workdir: str | Path, out: str | Path | None = None, tokenizer: str | None = None) -> Path:
    """Exports the best checkpoint of a run.

    Args:
      workdir: of the run.
      out: the file; None for `model.mme2e` in the run.
      tokenizer: directory of the tokenizer of the run's data; None to look for it.

    Returns:
      the file.

    Raises:
      UserError: if there is no run, its tokenizer is missing, the file cannot be written, or another one would be lost.
    """
    path = Path(out or Path(workdir) / NAME)
    if archive.holds_something_else(path):
        found = "a directory" if path.is_dir() else "a file that is no exported model"
        raise UserError(f"--out: expected a file to make, or an exported model to replace, found {found} at {path}.")
    run = load_run(workdir, devices=1)
    reads_words = isinstance(run.spec, ModelSpec)
    directory = find_tokenizer(run, Path(workdir), tokenizer) if reads_words else None
    variables = jax.device_get(run.model.state.variables)
    exported = program.export_program(run.spec, variables, float(run.model.state.threshold))
    manifest = _manifest(run, exported)
    members = {
        archive.PROGRAM: bytes(exported.serialize()),
        archive.WEIGHTS: save({name: np.ascontiguousarray(x) for name, x in variables.arrays().items()}),
        **_tokenizer_files(directory),
    }
    try:
        archive.write_archive(path, manifest.to_json(), members)
    except OSError as error:
        raise UserError(f"--out: {path} could not be written: {error.strerror}.") from error
    sizes = ", ".join(f"{name} {len(content) / 1e6:.1f} MB" for name, content in members.items() if "/" not in name)
    console.print(f"Wrote {path} ({sizes})", markup=False)
    return path


def _manifest(run: Run, exported: jax.export.Exported) -> Manifest:
    spec, config, record = run.spec, run.config, run.record
    media = spec if isinstance(spec, ModelSpec) else None
    sparse = media if media and media.sparse else None
    manifest = Manifest(
        model=config.model.name,
        modalities=model_variables.fusion_order(spec),
        label_names=list(record.label_names),
        thresholds={name: float(value) for name, value in record.thresholds.items()},
        loss=run.model.loss,
        task=tasks.TASKS[run.model.loss].value,
        sparse_threshold=config.site_selection[0] if sparse else None,
        sparse_impl=("rows" if sparse.rows_for else "masked") if sparse else None,
        text_max_len=config.data.text_max_len,
        preprocessing=_plain(record.preprocessing),
        tokenizer=_plain(record.tokenizer) if media and "t" in media.modalities else None,
        **signature(program.inputs_of(spec)),
        platforms=list(exported.platforms),
        calling_convention_version=exported.calling_convention_version,
        jax_version=jax.__version__,
        provenance={"step": run.step, "config": _without_paths(record.config), "fingerprint": record.fingerprint},
    )
    # What no reader would take must not be written.
    return from_json(_plain(manifest.to_json()))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives them back: tuples are lists."""
    return json.loads(json.dumps(values))


def _without_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without what says where things lay on the machine of the run, which is nobody else's concern."""
    plain = _plain(config)
    del plain["data"]["dir"], plain["init"]["checkpoint"]
    plain["model"].get("text", {}).pop("dir", None)
    return plain


def _tokenizer_files(directory: Path | None) -> dict[str, bytes]:
    if directory is None:
        return {}
    files = {name: directory / name for name in archive.TOKENIZER_FILES}
    return {archive.TOKENIZER + name: path.read_bytes() for name, path in files.items() if path.is_file()}
