"""Convolution that keeps height and width; its gradient is fast on CPU.

On CPU, XLA's convolutions and their gradients of the images run near the speed of a matrix product, but the gradients
of the kernel reach an eighth to a quarter of it. So on CPU the kernel's gradient is the product of the gradient with
the patches around all positions, a few images at a time, which fit the cache. Elsewhere XLA's own is fast.

Axis legend: `n` images, `b` of a block, `h`, `w` height and width, `r` positions of a block, `k` kernel size, `d`, `e`
channels before and after.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mme2e_jax.runtime.sharding import per_device

BLOCK_POSITIONS = 1024  # positions per block: fewer make small matrix products, more exceed the cache


def convolve(x: Float[Array, "n h w d"], kernel: Float[Array, "k k d e"]) -> Float[Array, "n h w e"]:
    """Correlation without bias, padded with 0; the kernel's size is odd."""
    return _with_fast_gradient(x, kernel) if jax.default_backend() == "cpu" else _correlate(x, kernel)


def kernel_gradient(
    x: Float[Array, "n h w d"], g: Float[Array, "n h w e"], size: int
) -> Float[Array, "{size} {size} d e"]:
    """Gradient of `convolve` to its kernel of size `size`; `g` is the gradient of the result."""
    n, h, w, d = x.shape
    e = g.shape[-1]
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    images = min(n, max(1, round(BLOCK_POSITIONS / (h * w))))

    def product(start, images):
        x_block, g_block = (jax.lax.dynamic_slice_in_dim(y, start, images) for y in (x, g))
        # A product with many columns is twice as fast as one with many rows.
        return jnp.dot(g_block.reshape(-1, e).T, _patches(x_block, size), preferred_element_type=dtype)

    total = jnp.zeros((e, size * size * d), dtype)
    total = jax.lax.fori_loop(0, n // images, lambda i, total: total + product(i * images, images), total)
    if n % images:
        total += product(n - n % images, n % images)
    return total.T.reshape(size, size, d, e).astype(x.dtype)


def _correlate(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


_with_fast_gradient = jax.custom_vjp(_correlate)


def _forward(x, kernel):
    return _correlate(x, kernel), (x, kernel)


def _backward(residuals, g):
    x, kernel = residuals
    # The transposed kernel has reversed taps.
    d_x = _correlate(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    gradient = functools.partial(kernel_gradient, size=kernel.shape[0])
    return d_x, jnp.sum(per_device(lambda x, g: gradient(x, g)[None], (x, g), ()), axis=0)


_with_fast_gradient.defvjp(_forward, _backward)


def _patches(x: Float[Array, "b h w d"], k: int) -> Float[Array, "r k*k*d"]:
    """The k x k surroundings of every position, row by row."""
    _, h, w, _ = x.shape
    edge = k // 2
    padded = jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    # The width first, so that the second concatenation copies longer pieces.
    wide = jnp.concatenate([padded[:, :, j : j + w] for j in range(k)], axis=-1)
    return jnp.concatenate([wide[:, i : i + h] for i in range(k)], axis=-1).reshape(-1, k * k * x.shape[-1])
