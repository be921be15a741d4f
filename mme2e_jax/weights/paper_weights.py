"""Sorts the paper code's state dict into used and unused tensors.

It also holds parts of unused modalities, the face detector, which runs in the forward pass, and ALBERT's pooler.
"""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mme2e_jax.errors import UserError
from mme2e_jax.models.mme2e import MODALITIES
from mme2e_jax.models.variables import Spec
from mme2e_jax.weights.torch_weights import paper_rules

WORD_EMBEDDING = "T.albert.embeddings.word_embeddings.weight"

_UNUSED = {
    "the face detector": re.compile(r"mtcnn\..*"),
    "ALBERT's pooler": re.compile(r"T\.albert\.pooler\..*"),
    "constants and counters": re.compile(r".*\.num_batches_tracked|T\.albert\.embeddings\.(position|token_type)_ids"),
}
_OTHER_MODALITIES = "parts of modalities that the model does not have"
# Names that only one model's state dict has.
_SIGNATURES = {
    "mme2e": re.compile(r"[VA]\.\d+\..*"),
    "mme2e_sparse": re.compile(r"[VA]\.low_level\..*"),
    "lf_rnn": re.compile(r"rnns\..*"),
    "lf_transformer": re.compile(r"transformers\..*"),
}
_ALBERT_ALONE = re.compile(r"(albert\.)?embeddings\.word_embeddings\.weight")
_MODALITY = re.compile(r"([tavTAV])[._].*|\w+\.([tav])\..*")


def modality_of(name: str) -> str | None:
    """The modality (t, a or v) that a tensor belongs to; None if it belongs to none or all."""
    found = _MODALITY.fullmatch(name)
    return (found[1] or found[2]).lower() if found else None


def drop_unused(tensors: Mapping[str, np.ndarray], spec: Spec) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """The tensors of a state dict that a model may use, and the names of the others by the reason."""
    rules = paper_rules(spec)
    others = paper_rules(dataclasses.replace(spec, modalities=MODALITIES)).keys() - rules.keys()
    used, left_out = {}, {}
    for name, tensor in tensors.items():
        reason = next((what for what, pattern in _UNUSED.items() if pattern.fullmatch(name)), None)
        reason = reason or (_OTHER_MODALITIES if name in others else None)
        if reason:
            left_out.setdefault(reason, []).append(name)
        else:
            used[name] = tensor
    return used, left_out


def check_model(tensors: Mapping[str, np.ndarray], model: str, source: str) -> None:
    """Raises `UserError` for the state dict of another model, whose names would all be unknown."""
    found = next((model for model, names in _SIGNATURES.items() if any(map(names.fullmatch, tensors))), None)
    if found is None and any(_ALBERT_ALONE.fullmatch(name) for name in tensors):
        raise UserError(
            f"{source} holds ALBERT alone, as on the Hugging Face hub; expected a state dict of the paper's code. "
            f"Name its directory, with config.json and tokenizer.json in it: --from={Path(source).parent}"
        )
    if found not in (None, model):
        raise UserError(
            f"{source} holds weights of {found}, expected those of {model} (config.model.name). Use a config of "
            f"{found}, or --config.model.name={found} if the rest of the config fits."
        )
