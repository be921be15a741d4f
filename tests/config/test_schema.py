"""Values that the typed config derives for its model."""

from typing import Any

from configs import lf_rnn, mini_dense, mini_sparse
from mme2e_jax.config.parse import parse_config


def test_each_model_reads_its_kind_of_records() -> None:
    kinds = {
        module.__name__: parse_config(module.get_config()).records_kind for module in (mini_sparse, mini_dense, lf_rnn)
    }

    assert list(kinds.values()) == ["media", "media", "features"]


def test_only_the_sparse_model_leaves_sites_out() -> None:
    config: Any = mini_sparse.get_config()
    config.model.sparse_threshold, config.model.sparse_anneal = 0.3, 0.2

    assert parse_config(config).site_selection == (0.3, 0.2)
    assert parse_config(mini_dense.get_config()).site_selection == (1.0, 0.0)
    assert parse_config(lf_rnn.get_config()).site_selection == (1.0, 0.0)
