"""Any number of devices computes the same: dropout, batch statistics and loss are those of the whole batch."""

from pathlib import Path

import numpy as np
import pytest

from configs import mosei_sparse
from mme2e_jax.config import Config
from mme2e_jax.data.dataset import open_dataset
from tests.steps import run_steps
from tests.synthetic import shrink


@pytest.mark.xdist_group("sparse")
def test_four_devices_train_and_predict_as_one_does(records: Path) -> None:
    # At the paper's learning rate: Adam makes rounding errors of gradients near 0 as large as its steps.
    results = []
    for devices in (1, 4):
        config: Config = shrink(mosei_sparse.get_config(), records)
        config.mesh.devices = devices
        assert config.model.dropout > 0
        results.append(run_steps(config, open_dataset(records), steps=3))

    one, four = results
    assert len(set(one.losses)) == 3
    np.testing.assert_allclose(four.losses, one.losses, rtol=0, atol=1e-5)
    np.testing.assert_allclose(four.score, one.score, rtol=0, atol=1e-5)
