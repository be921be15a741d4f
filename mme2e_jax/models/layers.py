"""Convolution, batch normalisation, pooling and linear layers.

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width, `d` channels.
"""

import functools
from typing import cast

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mme2e_jax.models.convolution import convolve


class FullPrecision(nnx.Param):
    """A parameter that stays float32 in a model that computes in bfloat16."""


# Modules are created with zeros; see `initialization` for the initial values.
ZEROS = nnx.initializers.zeros_init()


def at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x` in float32, or in float64 if it is already: the dtype of softmaxes and statistics."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def round_parameters(module: nnx.Module, dtype: DTypeLike) -> None:
    """Rounds the parameters of a module, in place, except those of full precision.

    Layers compute in the widest dtype of their parameters and inputs, so the module's inputs must have `dtype` too.
    """
    for _, value in nnx.iter_graph(module):
        if isinstance(value, nnx.Param) and not isinstance(value, FullPrecision):
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


@jax.custom_vjp
def max_pool(x: Float[Array, "n h w d"]) -> Float[Array, "n h/2 w/2 d"]:
    """2x2 maximum with stride 2; of equal values the first, from top left, gets the gradient, as in torch."""
    n, h, w, d = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, d).max((2, 4))


def _max_pool_backward(x, g):
    # The gradient of jnp.max takes three times as long. The four values are compared with each other, not with the
    # maximum, which the compiler may recompute with another rounding.
    a, b, c, d = (x[:, i::2, j::2] for i in (0, 1) for j in (0, 1))
    upper, left, lower_left = jnp.maximum(a, b) >= jnp.maximum(c, d), a >= b, c >= d
    places = ((upper & left, upper & ~left), (~upper & lower_left, ~upper & ~lower_left))
    rows = [jnp.stack([jnp.where(place, g, 0) for place in row], axis=3) for row in places]
    return (jnp.stack(rows, axis=2).reshape(x.shape),)


max_pool.defvjp(lambda x: (max_pool(x), x), _max_pool_backward)


class MaskedBatchNorm(nnx.Module):
    """Batch normalisation whose statistics cover only the positions in a mask.

    Normalises by the biased variance and keeps the unbiased one for evaluation, as torch and SparseConvNet do. Under
    `jit` the statistics cover all devices. Computes in float32 at least; the output has the dtype of the input.
    """

    def __init__(self, features: int, *, eps: float, momentum: float):
        """Args: features: channels; eps: added to the variance; momentum: weight of the old running value."""
        self.scale = FullPrecision(jnp.ones(features))
        self.bias = FullPrecision(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))
        self.eps, self.momentum = eps, momentum

    def __call__(self, x: Float[Array, "... d"], mask: Bool[Array, "..."], *, train: bool) -> Float[Array, "... d"]:
        """Normalised `x`, which must be finite everywhere; results outside the mask are finite and have no meaning.

        The mask broadcasts against all axes of `x` but the last. With `train`, statistics are those of this batch, and
        update the running ones.
        """
        dtype, x = x.dtype, at_least_float32(x)
        scale, bias = self.scale[...], self.bias[...]
        if not train:
            scale = scale * jax.lax.rsqrt(self.var[...] + self.eps)
            return (x * _rows(scale, x) + _rows(bias - self.mean[...] * scale, x)).astype(dtype)
        places = jnp.broadcast_to(mask, x.shape[:-1])
        y, mean, var, count = cast(tuple[Array, ...], _normalize(x, places, scale, bias, self.eps))
        # An empty mask (no active sites, an absent modality) must leave the running statistics unchanged.
        weight = jnp.where(count > 0, 1.0 - self.momentum, 0.0)
        unbiased = var * (count / jnp.maximum(count - 1.0, 1.0))
        for running, value in ((self.mean, mean), (self.var, unbiased)):
            running.set_value(running[...] + weight * (jax.lax.stop_gradient(value) - running[...]))
        return y.astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _normalize(x, mask, scale, bias, eps):
    """Normalised `x`; and, without gradient, mean, biased variance and number of the positions in the mask."""
    return _normalize_forward(x, mask, scale, bias, eps)[0]


def _normalize_forward(x, mask, scale, bias, eps):
    axes, kept = tuple(range(x.ndim - 1)), mask[..., None]
    count = jnp.sum(mask, dtype=jnp.float32)
    n = jnp.maximum(count, 1.0)
    mean = jnp.sum(jnp.where(kept, x, 0.0), axes) / n
    var = jnp.sum(jnp.where(kept, jnp.square(x - _rows(mean, x)), 0.0), axes) / n
    deviation = jax.lax.rsqrt(var + eps)
    y = x * _rows(scale * deviation, x) + _rows(bias - mean * scale * deviation, x)
    return (y, mean, var, count), (x, mask, scale, mean, deviation, n)


def _normalize_backward(eps, residuals, gradients):
    # Two sums and one pass over `x`; automatic differentiation would keep three copies of it.
    x, mask, scale, mean, deviation, n = residuals
    g, axes = gradients[0], tuple(range(x.ndim - 1))
    d_bias = jnp.sum(g, axes)
    d_scale = jnp.sum(g * ((x - _rows(mean, x)) * _rows(deviation, x)), axes)
    # Positions in the mask also change the mean and the variance.
    factor = scale * deviation
    slope = factor * deviation * d_scale / n
    moved = _rows(slope, x) * x + _rows(factor * d_bias / n - slope * mean, x)
    d_x = g * _rows(factor, x) - jnp.where(mask[..., None], moved, 0.0)
    return d_x, None, d_scale, d_bias


_normalize.defvjp(_normalize_forward, _normalize_backward)


def _rows(vector: Float[Array, "d"], x: Float[Array, "... d"]) -> Float[Array, "... d"]:
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
