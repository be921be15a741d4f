"""Reads ALBERT's published weights from a Hugging Face directory, without torch."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from mme2e_jax.config.preflight import ALBERT_WEIGHTS, missing_albert
from mme2e_jax.errors import UserError
from mme2e_jax.models.albert import LAYER_NORM_EPS, SIZES
from mme2e_jax.models.variables import Variables
from mme2e_jax.pickles import torch_file
from mme2e_jax.runtime.json_schema import parse_json
from mme2e_jax.weights import torch_weights

# The pooler, the masked-language head and constant position ids are not used.
_UNUSED = re.compile(r"pooler\..*|predictions\..*|sop_classifier\..*|embeddings\.(position|token_type)_ids")

_SPECIAL_TOKENS = {"pad": "<pad>", "cls": "[CLS]", "sep": "[SEP]"}


def read_albert(directory: str, size: str) -> dict[str, np.ndarray]:
    """Reads ALBERT's weights of a `size` of `SIZES` from a Hugging Face directory, float32 arrays by our paths.

    Raises `UserError` if `config.json` or weights are missing or damaged, or size, names or dtypes do not match.
    """
    problem = missing_albert(directory, size)
    if problem:
        raise UserError(problem)
    folder = Path(directory)
    try:
        config = parse_json(dict[str, Any], (folder / "config.json").read_bytes())
    except ValueError as error:
        raise UserError(f"{folder / 'config.json'} is damaged: {error}. Download it again.") from error
    _check_config(config, size, folder)
    file = next(folder / name for name in ALBERT_WEIGHTS if (folder / name).is_file())
    tensors = {re.sub(r"^albert\.", "", k): v for k, v in _read_tensors(file).items()}
    used = {k: v for k, v in tensors.items() if not _UNUSED.fullmatch(k)}
    return torch_weights.convert(used, torch_weights.albert_rules(), str(file))


def read_tokenizer(directory: str, rows: int) -> dict[str, int]:
    """Ids of the special tokens of `tokenizer.json` in a directory: `pad_id`, `cls_id`, `sep_id`, as far as they exist.

    Raises `UserError` if the file is missing or damaged, or has more tokens than the word embedding has `rows`.
    """
    file = Path(directory) / "tokenizer.json"
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in Path(directory).iterdir())) or "nothing"
        raise UserError(
            f"Expected tokenizer.json next to ALBERT's weights, which were trained with it; {directory} holds "
            f"{found}. Download the checkpoint with all its files: hf download albert/albert-base-v2 --local-dir=DIR"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises Exception itself
        raise UserError(f"{file} is damaged: {error}. Download it again.") from error
    if tokenizer.get_vocab_size() > rows:
        raise UserError(
            f"{file} has {tokenizer.get_vocab_size()} tokens, the weights next to it have {rows}: they do not belong "
            "together. Download the checkpoint with all its files."
        )
    ids = {f"{name}_id": tokenizer.token_to_id(token) for name, token in _SPECIAL_TOKENS.items()}
    return {name: number for name, number in ids.items() if number is not None}


def _read_tensors(file: Path) -> dict[str, np.ndarray]:
    if file.suffix != ".safetensors":
        return torch_file.read(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged: {error}. Download it again.") from error


def _check_config(found: dict, size: str, folder: Path) -> None:
    expected = _sizes(size) | {
        "hidden_act": "gelu_new",
        "num_hidden_groups": 1,
        "inner_group_num": 1,
        "layer_norm_eps": LAYER_NORM_EPS,
    }
    wrong = [f"{k}: expected {v}, found {found[k]}" for k, v in expected.items() if found.get(k, v) != v]
    if wrong:
        like = [name for name in SIZES if _sizes(name).items() <= found.items()]
        hint = f" It looks like size {like[0]}: --config.model.text.size={like[0]}" if like else ""
        raise UserError(f"{folder / 'config.json'} is not of an ALBERT v2 of size {size}: {'; '.join(wrong)}.{hint}")


def _sizes(size: str) -> dict[str, int]:
    return {
        "embedding_size": SIZES[size].embedding,
        "hidden_size": SIZES[size].hidden,
        "num_hidden_layers": SIZES[size].layers,
        "num_attention_heads": SIZES[size].heads,
        "intermediate_size": SIZES[size].feed_forward,
    }


def with_albert(variables: Variables, weights: dict[str, np.ndarray]) -> Variables:
    """Variables with the given weights in the text encoder; raises `UserError` if shapes differ."""
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
