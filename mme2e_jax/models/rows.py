"""Submanifold convolution on rows: the active sites of all images, packed.

Axis legend: `n` images, `h`, `w` height and width, `s` = n * h * w sites, `r` rows, `p` devices, `d`, `e` channels
before and after.

Each device packs the active sites of its images into rows, ordered by image and position. Padding rows follow; the last
row is always padding and 0, and stands for inactive neighbours. A convolution gathers the nine neighbours of each row
and multiplies them by the kernel as a matrix. The neighbour relation is symmetric, so that gradients are gathers too,
without scatters. No row crosses devices.

Capacity: the selection keeps at most a known number of sites of an image (`sparse.Selection.limits`). If there are more
active sites than rows, which takes a threshold above the one that the capacity is for, the result is NaN.

Only active rows are computed. On CPU, a loop over blocks of rows ends at the last active row. Elsewhere such a loop
would wait for the host; there the smallest of a few fixed numbers of rows that holds all active ones is computed.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, Bool, Float, Int

from mme2e_jax.runtime.sharding import per_device

BLOCK_ROWS = 1024  # rows per block: their patches should fit the processor's cache
# Fractions of the rows to choose from without a loop. At threshold 0.5, taught attention fills 0.2 to 0.6 of them.
FRACTIONS = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)


class Sites(NamedTuple):
    """Index of the active sites. Each device counts rows and sites from 0."""

    site: Int[Array, "r"]  # site of each row; an arbitrary active site for padding rows
    row: Int[Array, "s"]  # row of each site; the device's last row for inactive sites
    neighbours: Int[Array, "r 9"]  # neighbouring rows, top left to bottom right; the last row for inactive neighbours
    count: Int[Array, "p"]  # active sites of each device

    @property
    def active(self) -> Bool[Array, "r"]:
        """Whether each row holds a site."""
        rows = jnp.arange(self.site.shape[0] // self.count.shape[0])
        return (rows[None] < self.count[:, None]).reshape(-1)


def prefers_loop() -> bool:
    """Whether this backend should loop over blocks of rows."""
    return jax.default_backend() == "cpu"


def index_sites(kept: Bool[Array, "n h w"], limit: int) -> Sites:
    """Indexes the kept sites, of which an image has at most `limit`, on average over a device's images."""
    return per_device(functools.partial(_index_sites, limit=limit), (kept,), ())


@jax.custom_vjp
def gather_rows(x: Float[Array, "n h w d"], sites: Sites) -> Float[Array, "r d"]:
    """Features of the active sites as rows."""
    return per_device(_gather_rows, (x, sites), ())


def _gather_rows_backward(residuals, g):
    shape, sites = residuals
    return rows_to_images(with_zero_row(g, sites), sites, shape[:-1]), None


gather_rows.defvjp(lambda x, sites: (gather_rows(x, sites), (x.shape, sites)), _gather_rows_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def rows_to_images(rows: Float[Array, "r d"], sites: Sites, shape: tuple[int, int, int]) -> Float[Array, "n h w d"]:
    """Rows at their sites in images of `shape`, and the last row at all inactive sites."""
    flat = per_device(lambda rows, sites: rows[sites.row], (rows, sites), ())
    return flat.reshape(*shape, -1)


def _rows_to_images_backward(shape, sites, g):
    return jnp.where(sites.active[:, None], gather_rows(g, sites), 0), None


rows_to_images.defvjp(lambda rows, sites, shape: (rows_to_images(rows, sites, shape), sites), _rows_to_images_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def convolve_rows(
    x: Float[Array, "r d"], kernel: Float[Array, "3 3 d e"], sites: Sites, loop: bool
) -> Float[Array, "r e"]:
    """3x3 submanifold correlation, without bias, over each active site's active neighbours.

    The last row of `x` is 0. `loop` loops over blocks of rows instead of choosing among fixed numbers of rows. Padding
    rows of the result are finite and have no meaning.
    """
    return per_device(functools.partial(_products, loop=loop), (x, sites), (kernel,))


def _convolve_forward(x, kernel, sites, loop):
    return convolve_rows(x, kernel, sites, loop), (x, kernel, sites)


def _convolve_backward(loop, residuals, g):
    x, kernel, sites = residuals
    d_x, d_kernel = per_device(functools.partial(_gradients, loop=loop), (x, g, sites), (kernel,))
    # Each device holds one term of the kernel's gradient.
    return d_x, jnp.sum(d_kernel, axis=0).astype(kernel.dtype), None


convolve_rows.defvjp(_convolve_forward, _convolve_backward)


def with_zero_row(x: Float[Array, "r d"], sites: Sites) -> Float[Array, "r d"]:
    """Rows with each device's last row set to 0, or to NaN if there are more sites than rows."""
    rows = x.reshape(sites.count.shape[0], -1, x.shape[-1])
    value = jnp.where(sites.count < rows.shape[1], 0.0, jnp.nan).astype(x.dtype)
    return rows.at[:, -1].set(value[:, None]).reshape(x.shape)


def _index_sites(kept, limit):
    n, h, w = kept.shape
    rows = -(-(n * limit + 1) // BLOCK_ROWS) * BLOCK_ROWS
    last = rows - 1
    flat = kept.reshape(-1)
    order = jnp.cumsum(flat, dtype=jnp.int32)
    row = jnp.where(flat, order - 1, last)
    # The inverse of `row`; indices of inactive sites lie outside and are dropped. Padding rows show an active site:
    # values at inactive sites may not be finite.
    target, sites = jnp.where(flat, row, rows), jnp.arange(kept.size, dtype=jnp.int32)
    site = jnp.full(rows, jnp.argmax(flat), jnp.int32).at[target].set(sites, mode="drop")
    framed = jnp.pad(row.reshape(n, h, w), ((0, 0), (1, 1), (1, 1)), constant_values=last).reshape(-1)
    image, y, x = site // (h * w), site // w % h, site % w
    corner = (image * (h + 2) + y) * (w + 2) + x
    taps = jnp.array([i * (w + 2) + j for i in range(3) for j in range(3)], jnp.int32)
    count = order[-1:]
    around = framed[corner[:, None] + taps[None]]
    neighbours = jnp.where((jnp.arange(rows) < count)[:, None], around, last)
    return Sites(site, row, neighbours, count)


def _gather_rows(x, sites):
    return with_zero_row(x.reshape(-1, x.shape[-1])[sites.site], sites)


def _patches(x: Float[Array, "r d"], neighbours: Int[Array, "b 9"]) -> Float[Array, "b 9*d"]:
    # One gather of all nine taps is a third slower on CPU.
    return jnp.concatenate([x[neighbours[:, tap]] for tap in range(9)], axis=1)


def _products(x, sites, kernel, *, loop):
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def some(start, size):
        return _patches(x, _part(sites.neighbours, start, size)) @ matrix, ()

    return _row_wise(some, sites, jnp.zeros((x.shape[0], kernel.shape[-1]), x.dtype), (), loop)[0]


def _gradients(x, g, sites, kernel, *, loop):
    """Gradients of rows and kernel, the latter with a device axis of size 1.

    Both use the patches around the gradient; the kernel's gradient can be computed from the patches of either side.
    """
    g = with_zero_row(g, sites)
    d, e = kernel.shape[2:]
    # The transposed kernel has reversed taps. The barrier keeps the compiler from computing it in every block.
    matrix = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3).reshape(-1, d))
    dtype = jnp.promote_types(x.dtype, jnp.float32)

    def some(start, size):
        around = _patches(g, _part(sites.neighbours, start, size))
        return around @ matrix, jnp.dot(_part(x, start, size).T, around, preferred_element_type=dtype)

    d_x, d_kernel = _row_wise(some, sites, jnp.zeros_like(x), jnp.zeros((d, 9 * e), dtype), loop)
    d_kernel = jnp.flip(d_kernel.reshape(d, 3, 3, e), (1, 2)).transpose(1, 2, 0, 3)
    return d_x, d_kernel[None]


def _row_wise(some: Callable, sites: Sites, rows: Array, total: Any, loop: bool) -> tuple[Array, Any]:
    """Computes the active rows with `some(start, size)`, which returns `size` rows and a summand of the total.

    `rows` and `total` are zeros. With `loop`, or if the number of rows is symbolic, it loops over blocks; else there is
    one call with the smallest sufficient number of rows.
    """

    def put(rows, total, start, size):
        values, summand = some(start, size)
        return jax.lax.dynamic_update_slice_in_dim(rows, values, start, 0), jax.tree.map(jnp.add, total, summand)

    count, capacity = sites.count[0], rows.shape[0]
    if loop or export.is_symbolic_dim(capacity):
        blocks = (count + BLOCK_ROWS - 1) // BLOCK_ROWS

        def block(i, done):
            rows, total = done
            return put(rows, total, i * BLOCK_ROWS, BLOCK_ROWS)

        return jax.lax.fori_loop(0, blocks, block, (rows, total))
    offers = sorted({-(-round(share * capacity) // BLOCK_ROWS) * BLOCK_ROWS for share in FRACTIONS})
    choices = [functools.partial(put, rows, total, 0, size) for size in offers]
    return jax.lax.switch(jnp.searchsorted(jnp.array(offers), count), choices)


def _part(x: Array, start: Any, size: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(x, start, size)
