"""Makes the architecture that a config describes."""

from collections.abc import Mapping
from typing import Any

import jax

from mme2e_jax.config import schema
from mme2e_jax.config.schema import Config, EndToEndModelConfig, SparseModelConfig
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.late_fusion import LateFusionSpec, TransformerSpec
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.recurrent import RecurrentSpec
from mme2e_jax.models.sparse import PAPER_RULE, Selection
from mme2e_jax.models.variables import Spec

# Threshold above which masked dense convolutions train faster than rows of active sites, by backend; see
# benchmarks/README.md. On an H100 gathering rows is slow relative to convolutions.
BREAK_EVEN = {"cpu": 0.85, "gpu": 0.4}


def model_spec(config: Config, labels: int, tokenizer: Mapping[str, Any]) -> Spec:
    """The architecture that a config describes, for a number of labels.

    `tokenizer` is the tokenizer metadata of the records, whose `vocab_size` sizes the embedding; empty for baselines.
    """
    m = config.model
    match m:
        case EndToEndModelConfig():
            return _end_to_end_spec(m, labels, tokenizer)
        case schema.RnnModelConfig():
            encoder = RecurrentSpec(m.rnn.cell, m.rnn.layers, m.rnn.hidden_size, m.rnn.bidirectional)
        case schema.TransformerModelConfig():
            encoder = TransformerSpec(m.trans_layers, m.trans_heads)
        case _:
            raise TypeError(f"{type(m).__name__} is not a model family")
    return LateFusionSpec(
        modalities=m.modalities,
        labels=labels,
        feature_sizes=m.feature_sizes,
        encoder=encoder,
        parity_padding=m.parity_padding,
        dropout=m.dropout,
    )


def _end_to_end_spec(m: EndToEndModelConfig, labels: int, tokenizer: Mapping[str, Any]) -> ModelSpec:
    sparse = m if isinstance(m, SparseModelConfig) else None
    break_even = BREAK_EVEN.get(jax.default_backend(), BREAK_EVEN["gpu"])
    by_rows = sparse and (
        sparse.sparse_impl == "rows" or (sparse.sparse_impl == "auto" and sparse.sparse_threshold <= break_even)
    )
    return ModelSpec(
        modalities=m.modalities,
        sparse=sparse is not None,
        labels=labels,
        vocabulary=int(tokenizer.get("vocab_size", 0)),  # unknown for imported weights without text
        text=SIZES[m.text.size],
        width=m.width,
        trans_dim=m.trans_dim,
        trans_layers=m.trans_layers,
        trans_heads=m.trans_heads,
        dropout=m.dropout,
        renormalize=sparse is not None and sparse.attention_grad == "renormalized",
        selection=Selection(sparse.sparse_rule, sparse.sparse_region, sparse.sparse_once) if sparse else PAPER_RULE,
        sparse_norm_momentum=sparse.sparse_norm_momentum if sparse else 0.99,
        rows_threshold=sparse.sparse_threshold if sparse and by_rows else 0.0,
        dtype=m.dtype,
        remat=m.remat,
        mask_empty_text=m.absent == "mask",
    )
