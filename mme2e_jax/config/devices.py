"""How many devices a batch is divided among."""

from mme2e_jax.config.schema import Config
from mme2e_jax.errors import UserError


def largest_divisor(batch_size: int, available: int) -> int:
    """The largest number of devices, at most `available`, that divides a batch."""
    return max(n for n in range(1, available + 1) if batch_size % n == 0)


def devices_to_use(config: Config, available: int) -> int:
    """`mesh.devices`, or all `available` for 0; raises `UserError` if these are fewer or do not divide the batch."""
    devices = config.mesh.devices or available
    if devices > available:
        raise UserError(f"config.mesh.devices: expected at most {available} (the devices JAX finds), found {devices}.")
    if config.data.batch_size % devices:
        fewer = largest_divisor(config.data.batch_size, devices)
        raise UserError(
            f"config.data.batch_size: expected a multiple of the {devices} devices in use, found "
            f"{config.data.batch_size}. Change it, or use fewer devices with --config.mesh.devices={fewer}."
        )
    return devices
