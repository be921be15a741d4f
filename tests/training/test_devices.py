"""Dropout, batch statistics and loss are the same on any number of devices."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from benchmarks.hlo import collectives
from configs import lf_rnn, lf_transformer, mini_dense, mosei_sparse
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.models.variables import abstract_variables
from mme2e_jax.runs.spec import model_spec
from tests.helpers.steps import Trained, compiled_step, run_steps
from tests.helpers.synthetic import VOCABULARY, shrink


def assert_follows(found: Trained, wanted: Trained, rounded: Trained, flips: int = 0) -> None:
    """Losses and scores agree to 1e-5, and beyond it as far as rounding grows in training.

    Args:
      found, wanted: results on different numbers of devices.
      rounded: results on the devices of `wanted`, from a start moved by float32's rounding. Three times its
        distance is allowed, because every step rounds, not the start alone.
      flips: number of utterances whose scores may differ by up to 1e-3, as a site at the edge of the sparse threshold
        moves in or out.
    """
    for name in ("losses", "score"):
        a, b, c = (np.asarray(getattr(trained, name)) for trained in (found, wanted, rounded))
        growth = np.abs(c - b).max()
        # Where rounding grows to this the comparison says nothing: compare fewer steps.
        assert growth < 1e-3, name
        tolerance = 1e-5 * np.abs(b).max() + 3 * growth
        if name == "score" and flips:
            assert np.sum(np.abs(a - b).max(axis=1) > tolerance) <= flips
            tolerance = 1e-3
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_four_devices_train_and_predict_as_one_does(records: Path) -> None:
    # At the paper's learning rate: Adam makes rounding errors of gradients near 0 as large as its steps.
    results = []
    for devices, move in ((1, False), (1, True), (4, False)):
        config: Any = shrink(mosei_sparse.get_config(), records)
        config.mesh.devices = devices
        assert config.model.dropout > 0
        results.append(run_steps(config, open_dataset(records), steps=3, move=move))

    one, rounded, four = results
    assert len(set(one.losses)) == 3
    assert_follows(four, one, rounded, flips=1)


def assert_as_on_one_device(config: Any, dataset: Dataset, counts: Sequence[int]) -> None:
    """Ten steps and an evaluation, on one and on other numbers of devices.

    By SGD: Adam makes rounding errors of gradients near 0 as large as its steps.
    """
    config.optim.name = "sgd"
    config.optim.epochs = 4
    config.mesh.devices = 1
    one, rounded = (run_steps(config, dataset, steps=10, move=move) for move in (False, True))
    assert len(set(one.losses)) == 10
    for devices in counts:
        config.mesh.devices = devices
        assert_follows(run_steps(config, dataset, steps=10), one, rounded)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(8,), (2, 4)])
def test_any_number_of_devices_trains_a_tower_as_one_does(records: Path, counts: Sequence[int]) -> None:
    config: Any = shrink(mini_dense.get_config(), records)
    config.model.modalities = "v"
    assert config.model.dropout > 0
    assert_as_on_one_device(config, open_dataset(records), counts)


@pytest.mark.slow
@pytest.mark.parametrize(("experiment", "parity_padding"), [(lf_rnn, True), (lf_transformer, False)])
def test_any_number_of_devices_trains_a_baseline_as_one_does(
    feature_records: Path, experiment, parity_padding: bool
) -> None:
    config: Any = shrink(experiment.get_config("mosei"), feature_records)
    config.model.parity_padding = parity_padding
    if "rnn" in config.model:
        # Two layers, so that there is dropout.
        config.model.rnn.layers = 2
    assert_as_on_one_device(config, open_dataset(feature_records, kind="features"), (8,))


def test_eight_devices_train_a_baseline_of_one_modality_as_one_does(feature_records: Path) -> None:
    config: Any = shrink(lf_rnn.get_config("mosei"), feature_records)
    config.model.modalities = "t"
    # Two layers, so that there is dropout.
    config.model.rnn.layers = 2
    assert_as_on_one_device(config, open_dataset(feature_records, kind="features"), (8,))


@pytest.mark.slow
def test_only_sums_of_statistics_and_gradients_cross_devices(records: Path) -> None:
    config: Any = shrink(mosei_sparse.get_config(), records)
    config.mesh.devices = 8
    config.model.sparse_impl = "rows"
    found = collectives(str(compiled_step(config, open_dataset(records)).as_text()))
    assert {collective.kind for collective in found} == {"all-reduce"}
    summed = {shape for collective in found for _, shape in collective.arrays}
    spec = model_spec(parse_config(config), 6, {"vocab_size": VOCABULARY})
    parameters = {leaf.shape for leaf in jax.tree.leaves(abstract_variables(spec))}
    # Compilers may move an axis or drop one of length 1, but sum no more numbers than a parameter has.
    sizes = {math.prod(shape) for shape in parameters} | {1}
    # The kernels of query, key and value are one parameter, whose parts may be summed by themselves.
    sizes |= {k * math.prod(shape) // 3 for shape in parameters if shape and shape[-1] % 3 == 0 for k in (1, 2)}
    assert {math.prod(shape) for shape in summed} <= sizes
