"""Writes a run as a shared model, for the Hugging Face hub."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from mme2e_jax.checkpoints import hub
from mme2e_jax.config.parse import without_directories
from mme2e_jax.export import archive
from mme2e_jax.export.model_card import render_card
from mme2e_jax.runs.load import Run
from mme2e_jax.runs.stored_scores import read_test_auc
from mme2e_jax.runtime.files import atomic_file, finished_directory
from mme2e_jax.runtime.json_schema import parse_json


def save_model(run: Run, workdir: Path, directory: Path, tokenizer: Path | None) -> None:
    """Writes a run, with the scores of its report if it has one, to an absent or empty directory.

    The files of an earlier export are replaced. `tokenizer` is its directory, None for a model that reads no text.
    Raises `UserError` if the report is damaged, and `OutputExistsError` if the directory holds something else.
    """
    variables, record = jax.device_get(run.model.state.variables), run.record
    auc = read_test_auc(workdir, run.step)
    weights = save({hub.tensor_name(path): np.ascontiguousarray(x) for path, x in variables.arrays().items()})
    config = dict(
        library_name=hub.LIBRARY,
        format_version=hub.FORMAT_VERSION,
        model_type=run.config.model.name,
        label_names=record.label_names,
        tokenizer=record.tokenizer if "vocab_size" in record.tokenizer else None,
        step=run.step,
        fingerprint=record.fingerprint,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        config=without_directories(record.config),
        test_auc=auc and auc.model_dump(),
    )
    # Nothing is written that a reader would refuse.
    parse_json(hub.HubConfig, _json(config))
    files = {
        hub.WEIGHTS: weights,
        **archive.tokenizer_members(tokenizer),
        hub.PREPROCESSOR: _json(record.preprocessing),
        hub.THRESHOLDS: _json(record.thresholds),
        hub.CARD: render_card(run, workdir).encode(),
        # Last: an interrupted export has weights that do not match its digest, or no config.
        hub.CONFIG: _json(config),
    }
    if hub.is_export(directory):
        shutil.rmtree(directory / hub.TOKENIZER, ignore_errors=True)
        _write(directory, files)
        return
    with finished_directory(directory) as unfinished:
        _write(unfinished, files)


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as file:
            file.write(content)


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, allow_nan=False) + "\n").encode()
