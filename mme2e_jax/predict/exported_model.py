"""Loads an exported model for prediction on clips."""

from pathlib import Path

from mme2e_jax.batch import Batch
from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.export.load import ExportedModel
from mme2e_jax.predict.model import ClipModel, ClipOutput


def clip_model(path: str | Path) -> ClipModel:
    """Returns the model of a file; raises `UserError` as `ExportedModel`, and if it reads hand-crafted features."""
    model = ExportedModel(path)
    manifest = model.manifest
    if not manifest.reads_clips:
        raise UserError(
            f"{path} holds {manifest.model}, which reads hand-crafted features; prediction on clips is for the "
            "end-to-end models, mme2e and mme2e_sparse. Its program takes arrays: "
            f"{', '.join(manifest.inputs)} (mme2e_jax.export.load.ExportedModel)."
        )
    if "t" in manifest.modalities and archive.TOKENIZER + "tokenizer.json" not in model.files:
        raise archive.damaged(model.path, "it holds no tokenizer")

    def infer(batch: Batch) -> list[ClipOutput]:
        output = model({name: getattr(batch, name)[0] for name in manifest.inputs})
        return [
            ClipOutput(logits, {m: added[row] for m, added in output["contributions"].items()}, kept=None)
            for row, logits in enumerate(output["logits"])
        ]

    return ClipModel(
        source=str(path),
        step=manifest.provenance["step"],
        digest=model.digest,
        name=manifest.model,
        label_names=tuple(manifest.label_names),
        thresholds=manifest.thresholds,
        loss=manifest.loss,
        modalities=manifest.modalities,
        sparse_threshold=manifest.sparse_threshold,
        preprocessing=manifest.preprocessing,
        text_max_len=manifest.text_max_len,
        mask_absent=manifest.mask_absent,
        dataset=manifest.dataset,
        load_encoder=model.load_encoder if "t" in manifest.modalities else None,
        infer=infer,
        test_auc=manifest.test_auc,
    )
