"""Dropout whose masks do not depend on how utterances are packed.

An element is identified by integer coordinates (utterance, frame, channel, ...). Its mask is a hash of those and of the
step's seed, so that an utterance has the same masks on any number of devices and in any packing.
"""

import functools
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt32


class DropoutSeed(NamedTuple):
    """The random seed of one training step; None instead of it means evaluation."""

    value: UInt32[Array, ""]

    def fold(self, data: int | str | Int[Array, ""]) -> "DropoutSeed":
        """An independent seed for a named or numbered part."""
        number = np.uint32(zlib.crc32(data.encode())) if isinstance(data, str) else data
        return DropoutSeed(_absorb(self.value, jnp.asarray(number)))


def _mix(bits: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    # The 32-bit finaliser of MurmurHash3 (public domain constants).
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return bits ^ (bits >> 16)


def _hash(data: Int[Array, "..."]) -> UInt32[Array, "..."]:
    return _mix(data.astype(jnp.uint32) + jnp.uint32(0x6A09E667))


def _combine(bits: UInt32[Array, "..."], hashed: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    # Not symmetric in its arguments: (step 0 of run 1) must differ from (step 1 of run 0).
    return _mix(bits * jnp.uint32(0x9E3779B1) + hashed)


def _absorb(bits: UInt32[Array, "..."], data: Int[Array, "..."]) -> UInt32[Array, "..."]:
    return _combine(bits, _hash(data))


def dropout(
    x: Float[Array, "..."], rate: float, seed: DropoutSeed | None, coordinates: Sequence[Int[Array, "..."]]
) -> Float[Array, "..."]:
    """Zeroes each element of `x` with probability `rate`, in [0, 1), and scales the others by 1 / (1 - rate).

    `seed` is that of the step and layer; None, in evaluation, returns `x`. The `coordinates` have the rank of `x`,
    broadcast to its shape and together identify every element.
    """
    if seed is None or rate == 0.0:
        return x
    *rows, columns = coordinates
    # Small arrays of their own: otherwise XLA computes all hashes anew for every element, in many large programs.
    bits = jax.lax.optimization_barrier(seed.value)
    bits = functools.reduce(_absorb, rows, bits)
    bits, hashed = jax.lax.optimization_barrier((bits, _hash(columns)))
    keep = jnp.broadcast_to(_combine(bits, hashed), x.shape) >= jnp.uint32(round(rate * 2**32))
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


def step_seed(run_seed: int, step: Int[Array, ""] | int) -> DropoutSeed:
    """The seed of training step `step` of a run."""
    return DropoutSeed(jnp.uint32(0)).fold(run_seed).fold(step)
