"""What benchmarks measure on is what they say it is."""

import numpy as np
import pytest

from benchmarks import paper_size
from mme2e_jax import build
from mme2e_jax.errors import UserError
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec


@pytest.mark.parametrize("model", ["dense", "sparse"])
def test_the_models_are_of_the_papers_size(model: str) -> None:
    dataset = paper_size.dataset(24)
    spec = build.model_spec(paper_size.experiment(model, []), 6, dataset.tokenizer)

    assert isinstance(spec, ModelSpec)
    assert spec.sparse == (model == "sparse")
    assert (spec.width, spec.trans_layers, spec.trans_dim, spec.text) == (1.0, 4, 64, SIZES["base"])


def test_nothing_of_the_batch_is_padding() -> None:
    batch, lengths = paper_size.batch(24), paper_size.lengths(24)

    assert batch.token_ids.shape == (1, 8, 24)
    assert batch.faces.shape[1] == batch.frame_count.sum() == lengths.frames.sum() == 112
    assert batch.mel.shape[1] == batch.chunk_count.sum() == lengths.chunks.sum() == 144
    np.testing.assert_array_equal(batch.token_count[0], lengths.tokens)


def test_overrides_have_the_types_of_their_keys_and_are_checked() -> None:
    config = paper_size.experiment("sparse", ["model.width=0.25", "model.attention_grad=renormalized"])

    assert (config.model.width, config.model.attention_grad) == (0.25, "renormalized")
    with pytest.raises(UserError, match=r"config\.model\.widht: no such key"):
        paper_size.experiment("dense", ["model.widht=0.25"])
    with pytest.raises(UserError, match=r"expected KEY=VALUE.*found 'model\.width'"):
        paper_size.experiment("dense", ["model.width"])
