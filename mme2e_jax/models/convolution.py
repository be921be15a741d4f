"""Convolution that keeps height and width, fast on CPU too.

Axis legend: `n` images, `h`, `w` height and width, `k` kernel size, `d`, `e` channels before and after, `r` places of a
block of images.

XLA's convolutions reach about half of a matrix product's speed on CPU, their gradients a third. There the images are
taken a few at a time instead: the patches around all their places (small enough for the processor's cache) times the
kernel as a matrix. The gradients are such products too, and are written out because differentiating the loop would keep
all patches. Elsewhere XLA's convolutions are the fast ones.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mme2e_jax.sharding import per_device

# Places in a block: fewer make small matrix products, more leave the cache.
BLOCK_ROWS = 512


def convolve(x: Float[Array, "n h w d"], kernel: Float[Array, "k k d e"]) -> Float[Array, "n h w e"]:
    """Correlation without bias; what lies outside the image counts as 0.

    Args:
      x: images.
      kernel: of odd size.
    """
    if jax.default_backend() == "cpu":
        return per_device(in_blocks, (x,), (kernel,))
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


@jax.custom_vjp
def in_blocks(x: Float[Array, "n h w d"], kernel: Float[Array, "k k d e"]) -> Float[Array, "n h w e"]:
    """As `convolve`, by matrix products over blocks of images."""
    n, h, w, _ = x.shape
    blocks, e = _blocks(x), kernel.shape[-1]
    matrix = kernel.reshape(-1, e)
    size = blocks.shape[1]

    def one(_, block):
        return None, (_patches(block, kernel.shape[0]) @ matrix).reshape(size, h, w, e)

    _, y = jax.lax.scan(one, None, blocks)
    return y.reshape(-1, h, w, e)[:n]


def _forward(x, kernel):
    return in_blocks(x, kernel), (x, kernel)


def _backward(residuals, g):
    x, kernel = residuals
    # The taps of the transposed convolution run the other way.
    d_x = in_blocks(g, jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2))
    return d_x, _kernel_gradient(x, g, kernel.shape)


in_blocks.defvjp(_forward, _backward)


def _kernel_gradient(x, g, shape):
    def one(total, block):
        x_block, g_block = block
        return total + _patches(x_block, shape[0]).T @ g_block.reshape(-1, shape[-1]), None

    start = jnp.zeros((shape[0] * shape[1] * shape[2], shape[3]), x.dtype)
    total, _ = jax.lax.scan(one, start, (_blocks(x), _blocks(g)))
    return total.reshape(shape)


def _blocks(x: Float[Array, "n h w d"]) -> Float[Array, "m b h w d"]:
    """Images in blocks of about BLOCK_ROWS places; images of zeros fill the last."""
    n, h, w, d = x.shape
    size = min(n, max(1, round(BLOCK_ROWS / (h * w))))
    return jnp.pad(x, ((0, -n % size), (0, 0), (0, 0), (0, 0))).reshape(-1, size, h, w, d)


def _patches(x: Float[Array, "b h w d"], k: int) -> Float[Array, "r k*k*d"]:
    """The k x k surroundings of every place, row by row."""
    _, h, w, d = x.shape
    edge = k // 2
    padded = jnp.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    taps = [padded[:, i : i + h, j : j + w] for i in range(k) for j in range(k)]
    return jnp.concatenate(taps, axis=-1).reshape(-1, k * k * d)
