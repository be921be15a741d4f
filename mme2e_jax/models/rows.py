"""Convolution at active sites only: the sites of all images as rows, gathered and multiplied.

Axis legend: `n` images, `h`, `w` height and width, `s` = n * h * w sites, `r` rows, `p` devices, `d`, `e` channels
before and after.

The active sites of all images of a device stand in one array, a row each, in the order of images, then of places.
Behind them come rows that hold anything; but the last, never a site's, is 0 and stands for whatever a site does not
find around it.
A convolution gathers the nine neighbours of some rows and multiplies them with the kernel as a matrix. Being a
neighbour is mutual, so gradients are gathers too: nothing is scattered.

There are as many rows as the selection can fill: it keeps at most ceil(p * h * w) sites of an image at threshold p, and
one more where sums are rounded, because that many of the largest shares hold at least p of the whole. More active sites
than rows, of a threshold above the one the rows were made for, make everything NaN rather than be lost.

Work is done for active rows only. On CPU a loop over blocks of rows ends with the last active row; elsewhere, where a
number of rounds that the data decide would wait for the host, the smallest of a few fixed numbers of rows that holds
all active ones is worked on.

With several devices each packs and convolves the images it holds; no row crosses devices.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, Bool, Float, Int

from mme2e_jax.runtime.sharding import per_device

# Rows in a block: their patches should stay in the processor's cache.
BLOCK_ROWS = 1024
# Shares of the rows of which the smallest that holds all active ones is worked on where there is no loop.
SHARES = (0.25, 0.375, 0.5, 0.625, 0.75, 1.0)


class Sites(NamedTuple):
    """Where the active sites are. Rows and sites are counted on each device from 0."""

    place: Int[Array, "r"]  # site of each row; any active one for rows that are none's
    row: Int[Array, "s"]  # row of each site; the device's last for inactive ones
    neighbours: Int[Array, "r 9"]  # rows around each row, from top left to bottom right; the last where there is none
    count: Int[Array, "p"]  # active sites of each device

    @property
    def active(self) -> Bool[Array, "r"]:
        """Rows that are a site's."""
        rows = jnp.arange(self.place.shape[0] // self.count.shape[0])
        return (rows[None] < self.count[:, None]).reshape(-1)


def loops() -> bool:
    """Whether this backend should loop over blocks rather than choose among numbers of rows."""
    return jax.default_backend() == "cpu"


def locate(kept: Bool[Array, "n h w"], threshold: float) -> Sites:
    """Lists the active sites.

    Args:
      kept: sites that `sparse.select` keeps at `threshold` or below.
      threshold: what the number of rows is for.
    """
    return per_device(functools.partial(_locate, threshold=threshold), (kept,), ())


@jax.custom_vjp
def collect(x: Float[Array, "n h w d"], sites: Sites) -> Float[Array, "r d"]:
    """The active sites' features as rows."""
    return per_device(_collect, (x, sites), ())


def _collect_backward(residuals, g):
    shape, sites = residuals
    return spread(with_zero_row(g, sites), sites, shape[:-1]), None


collect.defvjp(lambda x, sites: (collect(x, sites), (x.shape, sites)), _collect_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def spread(rows: Float[Array, "r d"], sites: Sites, shape: tuple[int, int, int]) -> Float[Array, "n h w d"]:
    """Rows back at their sites in images of `shape`, and the last row at all inactive ones."""
    flat = per_device(lambda rows, sites: rows[sites.row], (rows, sites), ())
    return flat.reshape(*shape, -1)


def _spread_backward(shape, sites, g):
    return jnp.where(sites.active[:, None], collect(g, sites), 0), None


spread.defvjp(lambda rows, sites, shape: (spread(rows, sites, shape), sites), _spread_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def convolve_rows(
    x: Float[Array, "r d"], kernel: Float[Array, "3 3 d e"], sites: Sites, loop: bool
) -> Float[Array, "r e"]:
    """3x3 submanifold correlation: each active site sees its active neighbours.

    Args:
      x: 0 in the last row.
      kernel: without bias.
      sites: of the rows.
      loop: whether to loop over blocks of rows, or to choose among fixed numbers of rows.

    Returns:
      Rows; those that are no site's are finite and have no meaning.
    """
    return per_device(functools.partial(_products, loop=loop), (x, sites), (kernel,))


def _convolve_forward(x, kernel, sites, loop):
    return convolve_rows(x, kernel, sites, loop), (x, kernel, sites)


def _convolve_backward(loop, residuals, g):
    x, kernel, sites = residuals
    d_x, d_kernel = per_device(functools.partial(_gradients, loop=loop), (x, g, sites), (kernel,))
    # Devices hold a share each of the kernel's gradient.
    return d_x, jnp.sum(d_kernel, axis=0).astype(kernel.dtype), None


convolve_rows.defvjp(_convolve_forward, _convolve_backward)


def with_zero_row(x: Float[Array, "r d"], sites: Sites) -> Float[Array, "r d"]:
    """Rows with the last of each device set to 0; to NaN, which spreads, where rows are too few for the sites."""
    rows = x.reshape(sites.count.shape[0], -1, x.shape[-1])
    value = jnp.where(sites.count < rows.shape[1], 0.0, jnp.nan).astype(x.dtype)
    return rows.at[:, -1].set(value[:, None]).reshape(x.shape)


def _locate(kept, threshold):
    n, h, w = kept.shape
    bound = n * min(math.ceil(threshold * h * w) + 1, h * w)
    rows = -(-(bound + 1) // BLOCK_ROWS) * BLOCK_ROWS
    last = rows - 1
    flat = kept.reshape(-1)
    order = jnp.cumsum(flat, dtype=jnp.int32)
    row = jnp.where(flat, order - 1, last)
    # The inverse of `row`; what inactive sites would write lies outside and is dropped. Rows that are no site's show an
    # active one: what lies at inactive sites must not matter, even if it is not finite.
    target, sites = jnp.where(flat, row, rows), jnp.arange(kept.size, dtype=jnp.int32)
    place = jnp.full(rows, jnp.argmax(flat), jnp.int32).at[target].set(sites, mode="drop")
    framed = jnp.pad(row.reshape(n, h, w), ((0, 0), (1, 1), (1, 1)), constant_values=last).reshape(-1)
    image, y, x = place // (h * w), place // w % h, place % w
    corner = (image * (h + 2) + y) * (w + 2) + x
    taps = jnp.array([i * (w + 2) + j for i in range(3) for j in range(3)], jnp.int32)
    count = order[-1:]
    around = framed[corner[:, None] + taps[None]]
    neighbours = jnp.where((jnp.arange(rows) < count)[:, None], around, last)
    return Sites(place, row, neighbours, count)


def _collect(x, sites):
    return with_zero_row(x.reshape(-1, x.shape[-1])[sites.place], sites)


def _patches(x: Float[Array, "r d"], neighbours: Int[Array, "b 9"]) -> Float[Array, "b 9*d"]:
    # Tap by tap: one gather of all nine is a third slower on CPU.
    return jnp.concatenate([x[neighbours[:, tap]] for tap in range(9)], axis=1)


def _products(x, sites, kernel, *, loop):
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def some(start, size):
        return _patches(x, _part(sites.neighbours, start, size)) @ matrix, ()

    return _row_wise(some, sites, jnp.zeros((x.shape[0], kernel.shape[-1]), x.dtype), (), loop)[0]


def _gradients(x, g, sites, kernel, *, loop):
    """Gradients to rows and kernel, the latter with an axis of one device.

    The patches around the gradient serve both: the kernel's gradient, a sum over pairs of neighbours, can be taken over
    the patches of either side.
    """
    g = with_zero_row(g, sites)
    d, e = kernel.shape[2:]
    # Seen from the other side, the taps run the other way. Made once: the compiler would do so in every block.
    matrix = jax.lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3).reshape(-1, d))
    dtype = jnp.promote_types(x.dtype, jnp.float32)

    def some(start, size):
        around = _patches(g, _part(sites.neighbours, start, size))
        return around @ matrix, jnp.dot(_part(x, start, size).T, around, preferred_element_type=dtype)

    d_x, d_kernel = _row_wise(some, sites, jnp.zeros_like(x), jnp.zeros((d, 9 * e), dtype), loop)
    d_kernel = jnp.flip(d_kernel.reshape(d, 3, 3, e), (1, 2)).transpose(1, 2, 0, 3)
    return d_x, d_kernel[None]


def _row_wise(some: Callable, sites: Sites, rows: Array, total: Any, loop: bool) -> tuple[Array, Any]:
    """Fills the active rows of `rows` with what `some(start, size)` gives for them, and adds up what it gives beside.

    Args:
      some: of the first of some rows and their number; returns those rows, and something to add to `total`.
      sites: that have the rows.
      rows: zeros.
      total: zeros.
      loop: over blocks, as always where the number of rows is symbolic; else one call with the smallest number of rows
        on offer.
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
    offers = sorted({-(-round(share * capacity) // BLOCK_ROWS) * BLOCK_ROWS for share in SHARES})
    choices = [functools.partial(put, rows, total, 0, size) for size in offers]
    return jax.lax.switch(jnp.searchsorted(jnp.array(offers), count), choices)


def _part(x: Array, start: Any, size: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(x, start, size)
