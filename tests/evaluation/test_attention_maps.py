"""Attention maps of utterances: unpacked as they were kept, and the sites that evaluation counted."""

from pathlib import Path

import numpy as np

from configs import mini_sparse
from mme2e_jax.evaluation.attention_maps import AttentionMapStore, utterance_sites
from mme2e_jax.evaluation.inference import predict
from mme2e_jax.runs.load import load_run, open_batch_loader
from tests.commands.test_sparsity_curve import untrained
from tests.helpers.synthetic import SIZES, make_example, shrink


def test_kept_sites_are_those_that_evaluation_counted(records: Path, tmp_path: Path) -> None:
    untrained(shrink(mini_sparse.get_config(), records), tmp_path)
    loaded = load_run(tmp_path)
    everything = range(SIZES["test"])

    predictions = predict(
        loaded.model.state, open_batch_loader(loaded).evaluation("test"), "bce", loaded.model.mesh, keep_maps=True
    )

    maps = predictions.attention_maps
    assert maps is not None
    for m, name in (("v", "faces"), ("a", "mel")):
        for k, (active, total) in enumerate(predictions.sites[m].tolist()):
            stages = [maps[i][m][k] for i in everything]
            assert [len(stage) for stage in stages] == [len(make_example("test", i)[name]) for i in everything]
            assert sum(int(stage.sum()) for stage in stages) == active
            assert sum(stage.size for stage in stages) == total


def test_an_utterances_sites_lie_behind_those_before_it_in_its_group() -> None:
    # Two groups of three images each: utterances of one and two images, and of none and two.
    sites, count = np.arange(6)[:, None, None], np.array([[1, 2], [0, 2]])

    assert utterance_sites(sites, count, 0, 1)[:, 0, 0].tolist() == [1, 2]
    assert utterance_sites(sites, count, 1, 0).size == 0
    assert utterance_sites(sites, count, 1, 1)[:, 0, 0].tolist() == [3, 4]


def test_maps_come_back_bit_by_bit() -> None:
    kept = np.random.default_rng(0).random((6, 3, 5)) > 0.5
    store = AttentionMapStore()

    store.add({"v": [kept]}, np.array([[7, 4], [-1, 2]]), {"v": np.array([[1, 2], [0, 2]])})

    for example, expected in ((7, kept[:1]), (4, kept[1:3]), (2, kept[3:5])):
        (found,) = store[example]["v"]
        assert found.dtype == bool
        np.testing.assert_array_equal(found, expected)
    assert store[-1] == {}
