"""Saves a run as an exported file."""

import json
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import save

from mme2e_jax.config.parse import without_directories
from mme2e_jax.evaluation import tasks
from mme2e_jax.export import archive, program
from mme2e_jax.export.manifest import Manifest
from mme2e_jax.export.signature import signature
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.runs.load import Run
from mme2e_jax.runs.stored_scores import read_test_auc
from mme2e_jax.runtime.json_schema import parse_json


def save_run(run: Run, workdir: Path, path: Path, tokenizer: Path | None) -> dict[str, int]:
    """Writes the run of `workdir`, on one device, as an exported file; returns sizes in bytes by member.

    `tokenizer` is its directory, None for a model that reads no text. Raises OSError if the file cannot be written.
    """
    variables = jax.device_get(run.model.state.variables)
    exported = program.export_program(run.spec, variables, float(run.model.state.threshold))
    members = {
        archive.PROGRAM: bytes(exported.serialize()),
        archive.WEIGHTS: save({name: np.ascontiguousarray(x) for name, x in variables.arrays().items()}),
        **archive.tokenizer_members(tokenizer),
    }
    archive.write_archive(path, _manifest(run, workdir, exported).model_dump(), members)
    return {name: len(content) for name, content in members.items()}


def _manifest(run: Run, workdir: Path, exported: jax.export.Exported) -> Manifest:
    spec, config, record = run.spec, run.config, run.record
    auc = read_test_auc(workdir, run.step)
    media = spec if isinstance(spec, ModelSpec) else None
    sparse = media if media and media.sparse else None
    manifest = dict(
        model=config.model.name,
        modalities=model_variables.fusion_order(spec),
        label_names=list(record.label_names),
        thresholds={name: float(value) for name, value in record.thresholds.items()},
        loss=run.model.loss,
        task=tasks.TASKS[run.model.loss].value,
        sparse_threshold=config.site_selection[0] if sparse else None,
        sparse_impl=("rows" if sparse.rows_threshold else "masked") if sparse else None,
        text_max_len=config.data.text_max_len,
        mask_absent=config.masks_absent,
        preprocessing=record.preprocessing,
        tokenizer=record.tokenizer if media and "t" in media.modalities else None,
        **signature(program.model_inputs(spec)),
        platforms=list(exported.platforms),
        calling_convention_version=exported.calling_convention_version,
        jax_version=jax.__version__,
        test_auc=auc and auc.model_dump(),
        provenance={"step": run.step, "config": without_directories(record.config), "fingerprint": record.fingerprint},
    )
    # Nothing is written that a reader would refuse.
    return parse_json(Manifest, json.dumps(manifest))
