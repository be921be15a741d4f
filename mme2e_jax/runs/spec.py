"""From a config and a dataset to a model: the one place that knows both."""

from collections.abc import Mapping
from typing import Any

import jax

from mme2e_jax.config.schema import END_TO_END_MODELS, Config
from mme2e_jax.models.albert import POSITIONS, SIZES
from mme2e_jax.models.late_fusion import LateFusionSpec, TransformerSpec
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.recurrent import RecurrentSpec
from mme2e_jax.models.variables import Spec

# Threshold above which dense convolutions with masks are faster than rows of active sites, in training; see
# benchmarks/README.md. An H100 convolves at a speed that gathering rows in its memory cannot keep up with.
BREAK_EVEN = {"cpu": 0.85, "gpu": 0.4}


def model_spec(config: Config, labels: int, tokenizer: Mapping[str, Any]) -> Spec:
    """The architecture that a config describes.

    Args:
      config: validated.
      labels: number of emotions.
      tokenizer: of the dataset; its `vocab_size` fixes the embedding. The baselines have none.
    """
    if config.model.name in END_TO_END_MODELS:
        return _end_to_end_spec(config, labels, tokenizer)
    m = config.model
    return LateFusionSpec(
        modalities=m.modalities,
        labels=labels,
        feature_sizes=tuple(m.feature_sizes),
        encoder=(
            RecurrentSpec(m.rnn.cell, m.rnn.layers, m.rnn.hidden_size, m.rnn.bidirectional)
            if m.name == "lf_rnn"
            else TransformerSpec(m.trans_layers, tuple(m.trans_heads))
        ),
        parity_padding=m.parity_padding,
        dropout=m.dropout,
    )


def _end_to_end_spec(config: Config, labels: int, tokenizer: Mapping[str, Any]) -> ModelSpec:
    m = config.model
    assert config.data.text_max_len <= POSITIONS
    break_even = BREAK_EVEN.get(jax.default_backend(), BREAK_EVEN["gpu"])
    by_rows = m.sparse_impl == "rows" or (m.sparse_impl == "auto" and m.sparse_threshold <= break_even)
    return ModelSpec(
        modalities=m.modalities,
        sparse=m.name == "mme2e_sparse",
        labels=labels,
        vocabulary=int(tokenizer.get("vocab_size", 0)),  # imported weights without text know none
        text=SIZES[m.text.size],
        width=m.width,
        trans_dim=m.trans_dim,
        trans_layers=m.trans_layers,
        trans_heads=m.trans_heads,
        dropout=m.dropout,
        renormalize=m.attention_grad == "renormalized",
        rows_for=m.sparse_threshold if by_rows else 0.0,
        dtype=m.dtype,
        remat=m.remat,
    )
