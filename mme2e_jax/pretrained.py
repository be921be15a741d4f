"""ALBERT's published weights, from a Hugging Face directory to our parameters. Needs no torch."""

import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from mme2e_jax import torch_weights
from mme2e_jax.errors import UserError
from mme2e_jax.models.albert import LAYER_NORM_EPS, SIZES
from mme2e_jax.prerequisites import missing_albert
from mme2e_jax.state import Variables

# In the published files, and of no use here: the pooler, the masked-language head, constant position numbers.
_UNUSED = re.compile(r"pooler\..*|predictions\..*|sop_classifier\..*|embeddings\.(position|token_type)_ids")


def read_albert(directory: str, size: str) -> dict[str, np.ndarray]:
    """Reads ALBERT's weights.

    Args:
      directory: with `config.json` and `model.safetensors`, as the Hugging Face hub has them.
      size: name in `SIZES` that the config asks for.

    Returns:
      Float32 arrays by the names they have in our models.

    Raises:
      UserError: if files are missing, the size is another, or names do not match.
    """
    problem = missing_albert(directory, size)
    if problem:
        raise UserError(problem)
    folder = Path(directory)
    _check_config(json.loads((folder / "config.json").read_text()), size, folder)
    tensors = {re.sub(r"^albert\.", "", k): v for k, v in load_file(folder / "model.safetensors").items()}
    used = {k: v for k, v in tensors.items() if not _UNUSED.fullmatch(k)}
    return torch_weights.convert(used, torch_weights.albert_rules(), str(folder / "model.safetensors"))


def _check_config(found: dict, size: str, folder: Path) -> None:
    expected = {
        "embedding_size": SIZES[size].embedding,
        "hidden_size": SIZES[size].hidden,
        "num_hidden_layers": SIZES[size].layers,
        "num_attention_heads": SIZES[size].heads,
        "intermediate_size": SIZES[size].feed_forward,
        "hidden_act": "gelu_new",
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "layer_norm_eps": LAYER_NORM_EPS,
    }
    wrong = [f"{k}: expected {v}, found {found[k]}" for k, v in expected.items() if found.get(k, v) != v]
    if wrong:
        raise UserError(f"{folder / 'config.json'} is not of an ALBERT v2 of size {size}: {'; '.join(wrong)}.")


def with_albert(variables: Variables, weights: dict[str, np.ndarray]) -> Variables:
    """Variables whose text encoder has the given weights.

    Raises:
      UserError: if shapes differ, for instance because the dataset was tokenized with another vocabulary.
    """
    arrays = variables.arrays()
    wrong = [
        f"{k}: expected {arrays[k].shape}, found {v.shape}" for k, v in weights.items() if arrays[k].shape != v.shape
    ]
    if wrong:
        raise UserError(
            "The pretrained ALBERT does not fit the model (was the data prepared with the same tokenizer?): "
            + "; ".join(wrong)
        )
    return variables.with_arrays(arrays | weights)
