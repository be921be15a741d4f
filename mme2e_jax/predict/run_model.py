"""Loads the model of a run for prediction on clips."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from mme2e_jax.batch import Batch
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.attention_maps import utterance_sites
from mme2e_jax.evaluation.contributions import contributions
from mme2e_jax.evaluation.inference import infer_batch
from mme2e_jax.models import variables
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.predict.model import ClipModel, ClipOutput
from mme2e_jax.runs.load import Run
from mme2e_jax.runs.stored_scores import read_test_auc
from mme2e_jax.runs.tokenizer import find_tokenizer

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder


def clip_model(run: Run, workdir: Path, tokenizer: str | Path | None = None) -> ClipModel:
    """Returns the model of the run in `workdir`; `tokenizer` and errors as for `Predictor.from_workdir`."""
    if not isinstance(run.spec, ModelSpec):
        raise UserError(
            f"{workdir} holds {run.config.model.name}, which reads hand-crafted features; prediction on clips is "
            "for the end-to-end models, mme2e and mme2e_sparse. Prepare the clips with data_tools.prepare "
            "--dataset=clips --kind=features and evaluate on them."
        )
    directory = find_tokenizer(run, workdir, tokenizer)
    weights = variables.fusion_weights(run.spec, run.model.state.variables)

    def load() -> "TextEncoder":
        # Imports transformers, which takes a second.
        from mme2e_jax.runs.tokenizer import load_encoder

        assert directory is not None
        return load_encoder(directory, int(run.record.tokenizer["vocab_size"]))

    def infer(batch: Batch) -> list[ClipOutput]:
        with run.model.mesh.active():
            output = jax.device_get(infer_batch(run.model.state, run.model.mesh.put_batch(batch)))
        counts = {"v": batch.frame_count, "a": batch.chunk_count}
        return [
            ClipOutput(
                logits,
                contributions({m: of_modality[0, row] for m, of_modality in output.by_modality.items()}, weights),
                {m: [utterance_sites(s, counts[m], 0, row) for s in stages] for m, stages in output.kept.items()},
            )
            for row, logits in enumerate(output.logits[0])
        ]

    return ClipModel(
        source=str(workdir),
        step=run.step,
        digest=_digest(run),
        name=run.config.model.name,
        label_names=tuple(run.record.label_names),
        thresholds=run.record.thresholds,
        loss=run.model.loss,
        modalities=variables.fusion_order(run.spec),
        sparse_threshold=run.config.site_selection[0] if run.spec.sparse else None,
        preprocessing=run.record.preprocessing,
        text_max_len=run.config.data.text_max_len,
        mask_absent=run.config.masks_absent,
        dataset=run.config.data.dataset,
        load_encoder=load if directory is not None else None,
        infer=infer,
        test_auc=read_test_auc(workdir, run.step),
    )


def _digest(run: Run) -> str:
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(run.record), sort_keys=True).encode())
    for name, array in sorted(run.model.state.variables.arrays().items()):
        digest.update(name.encode())
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()
