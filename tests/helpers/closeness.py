"""How close float results of two programs must be."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from mme2e_jax.models.variables import Variables

# What two float32 programs that compute the same differ by: they sum in another order, with or without fused
# multiply-add. Ours and the paper's code differ by at most 4e-6 of the scale, on processors with and without it.
FLOAT32 = 1e-5


def assert_close(found: ArrayLike, wanted: ArrayLike, rtol: float = FLOAT32, *, err_msg: str = "") -> None:
    """Fails where values differ by more than `rtol` times the largest magnitude in `wanted`.

    The error of an element of a matrix product or an FFT is proportional to the terms of its sum, not to the sum: an
    element near zero has the absolute error of its neighbours. A bound relative to each element therefore asks more
    than the arithmetic gives, and a fixed absolute bound depends on the unit.

    Args:
      found: computed values; shape must equal that of `wanted`.
      wanted: expected values, finite.
      rtol: tolerance as a share of `max|wanted|`. An array of zeros must be met exactly.
      err_msg: name of the array, for the message.
    """
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=rtol * np.abs(wanted).max(initial=0.0), err_msg=err_msg)
    assert found.shape == wanted.shape, f"{err_msg}: expected shape {wanted.shape}, found {found.shape}"


def float64(tree: Any) -> Any:
    """Arrays of a pytree with float32 widened to float64; call it under `jax.enable_x64`."""
    import jax
    import jax.numpy as jnp

    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64 if x.dtype == np.float32 else x.dtype), tree)


def moved(variables: "Variables", seed: int = 0) -> "Variables":
    """Variables moved up or down by one part in 10**7, which is float32's rounding; for the conditioning of a run."""
    rng = np.random.default_rng(seed)

    def shifted(x: ArrayLike) -> np.ndarray:
        x = np.asarray(x)
        return (x * (1 + 1e-7 * rng.choice([-1, 1], x.shape))).astype(x.dtype)

    return variables.with_arrays({path: shifted(x) for path, x in variables.arrays().items()})


def departure(found: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Largest relative difference of any of the others from `found` up to each step."""
    return np.maximum.accumulate(np.max([np.abs(other / found - 1) for other in others], axis=0))
