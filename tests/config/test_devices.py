"""How many devices divide a batch, and which numbers of devices are refused."""

from typing import Any

import pytest

from configs import mini_dense
from mme2e_jax.config.devices import devices_to_use, largest_divisor
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError


def test_devices_must_divide_the_batch() -> None:
    config: Any = mini_dense.get_config()

    assert devices_to_use(parse_config(config), 4) == 4
    with pytest.raises(UserError, match=r"batch_size: expected a multiple of the 3 devices in use, found 8") as error:
        devices_to_use(parse_config(config), 3)
    assert "--config.mesh.devices=2" in str(error.value)
    config.mesh.devices = 2
    assert devices_to_use(parse_config(config), 3) == 2
    config.mesh.devices = 4
    with pytest.raises(UserError, match=r"mesh\.devices: expected at most 3 .* found 4"):
        devices_to_use(parse_config(config), 3)


def test_the_most_devices_that_divide_a_batch() -> None:
    assert [largest_divisor(batch, available) for batch, available in ((8, 8), (8, 7), (2, 8), (6, 4), (1, 3))] == [
        8,
        4,
        2,
        3,
        1,
    ]
