"""Convolution, batch normalisation and linear layers as the towers use them.

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width, `d` channels.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mme2e_jax.models.convolution import convolve


class Exact(nnx.Param):
    """A parameter that keeps its precision where the others are rounded for a model that computes in bfloat16."""


# Modules start at 0; `start.py` says what their parameters really start from.
ZEROS = nnx.initializers.zeros_init()


def wide(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x` in float32, or float64 if it is: what softmaxes and statistics are computed in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def round_parameters(module: nnx.Module, dtype: DTypeLike) -> None:
    """Rounds the parameters of a module, in place, so that it computes in `dtype`; exact ones stay as they are.

    Layers compute in the widest dtype of their parameters and inputs, so what enters the module must have `dtype` too.
    """
    for _, value in nnx.iter_graph(module):
        if isinstance(value, nnx.Param) and not isinstance(value, Exact):
            value.set_value(value[...].astype(dtype))


def linear(d_in: int, d_out: int, rngs: nnx.Rngs, *, bias: bool = True) -> nnx.Linear:
    """A dense layer."""
    return nnx.Linear(d_in, d_out, use_bias=bias, kernel_init=ZEROS, rngs=rngs)


class Conv(nnx.Module):
    """A `size` x `size` convolution with bias that keeps height and width."""

    def __init__(self, size: int, d_in: int, d_out: int):
        self.kernel = nnx.Param(jnp.zeros((size, size, d_in, d_out)))
        self.bias = nnx.Param(jnp.zeros(d_out))

    def __call__(self, x: Float[Array, "n h w d"]) -> Float[Array, "n h w e"]:
        return convolve(x, self.kernel[...]) + _rows(self.bias[...], x)


def max_pool(x: Float[Array, "n h w d"]) -> Float[Array, "n h/2 w/2 d"]:
    """2x2 maximum with stride 2."""
    n, h, w, d = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, d).max((2, 4))


class MaskedBatchNorm(nnx.Module):
    """Batch normalisation whose statistics see only the places a mask keeps.

    Normalises by the biased variance and keeps the unbiased one for evaluation, as torch and SparseConvNet do.
    Under `jit` over sharded batches the sums run over all devices: the statistics are those of the whole batch.
    Computes in float32 at least, whatever dtype the features have and come out in.
    """

    def __init__(self, features: int, *, eps: float, momentum: float):
        """Args: features: channels; eps: added to the variance; momentum: share of the old running value that stays."""
        self.scale = Exact(jnp.ones(features))
        self.bias = Exact(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.eps, self.momentum = eps, momentum

    def __call__(self, x: Float[Array, "... d"], mask: Bool[Array, "..."], *, train: bool) -> Float[Array, "... d"]:
        """Normalised `x`; places outside the mask come out finite and without meaning.

        Args:
          x: features; finite everywhere.
          mask: places that count, broadcasts against all axes of `x` but the last.
          train: normalise by the statistics of this batch and update the running ones.
        """
        dtype, x = x.dtype, wide(x)
        if train:
            mean, var = self._update(x, mask)
        else:
            mean, var = self.mean[...], self.var[...]
        scale = self.scale[...] * jax.lax.rsqrt(var + self.eps)
        return (x * _rows(scale, x) + _rows(self.bias[...] - mean * scale, x)).astype(dtype)

    def _update(self, x, mask):
        axes = tuple(range(x.ndim - 1))
        kept = jnp.broadcast_to(mask, x.shape[:-1])
        # A batch that keeps nothing (a stage emptied, a modality absent) must leave everything finite and as it was.
        n = jnp.sum(kept, dtype=jnp.float32)
        count = jnp.maximum(n, 1.0)
        kept = kept[..., None]
        mean = jnp.sum(jnp.where(kept, x, 0.0), axes) / count
        var = jnp.sum(jnp.where(kept, jnp.square(x - _rows(mean, x)), 0.0), axes) / count
        weight = jnp.where(n > 0, 1.0 - self.momentum, 0.0)
        unbiased = var * (count / jnp.maximum(count - 1.0, 1.0))
        for running, value in ((self.mean, mean), (self.var, unbiased)):
            running.set_value(running[...] + weight * (jax.lax.stop_gradient(value) - running[...]))
        return mean, var


def _rows(vector: Float[Array, "d"], x: Float[Array, "... d"]) -> Float[Array, "... d"]:
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
