"""Text-conditioned sparse attention over the sites of an image: score, select, apply.

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width, `u`, `v` height and width of a grid of
regions, `s` = h * w sites, `d` channels, `g` device groups, `b` utterances and `m` images per group.
Source: the paper's section 3.3 (cross-modal sparse CNN block). As in its code, the softmax runs over the sites of one
image, and the smallest set of sites whose attention reaches the threshold is kept. There the scores only select, and
get no gradient; `renormalized` is our way to train them. Selection by share, of regions, and once are ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from mme2e_jax.models.convolution import convolve
from mme2e_jax.models.layers import MaskedBatchNorm, at_least_float32, linear, max_pool
from mme2e_jax.models.rows import convolve_rows, gather_rows, index_sites, prefers_loop, rows_to_images, with_zero_row

_ROUNDING = 1e-3  # subtracted before rounding up: far below one site, far above the rounding of float32


@dataclass(frozen=True)
class Selection:
    """How sparse stages select sites."""

    # "mass" keeps the smallest set whose attention reaches the threshold (the paper's rule); "share" keeps
    # ceil(threshold * sites) sites of each image, or all candidates if there are fewer.
    rule: str = "mass"
    # Side of the square regions that are selected as one, in sites of the first stage; it halves with each stage.
    region: int = 1
    once: bool = False  # whether the first stage selects for all stages

    def side(self, stage: int) -> int:
        """Side of a region in sites of the stage."""
        return max(1, self.region >> stage)

    def limits(self, sizes: Sequence[tuple[int, int]], threshold: float) -> list[int]:
        """The largest number of sites of an image that each stage, of the given input sizes, can keep.

        At threshold p, in (0, 1], ceil(p * regions) of the largest weights hold at least p of their sum. By mass it may
        be one more because of rounding.
        """
        found: list[int] = []
        for k, (h, w) in enumerate(sizes):
            regions = h * w // self.side(k) ** 2
            if k and self.once:
                # Each region of the stage before becomes one of this stage.
                kept = min(found[-1] // self.side(k - 1) ** 2, regions)
            else:
                kept = min(share_count(threshold, regions) + (self.rule == "mass"), regions)
            found.append(kept * self.side(k) ** 2)
        return found


PAPER_RULE = Selection()


class Choice(NamedTuple):
    """What one stage selects."""

    score: Float[Array, "n h w"]  # scores of the sites, or their region's mean
    weight: Float[Array, "n h w"]  # attention over the candidate sites, 0 at the others
    kept: Bool[Array, "n h w"]
    spread: Float[Array, "n"]  # effective share, over regions if these are selected


class SiteScore(nnx.Module):
    """Scores sites against the utterance's text: w . tanh(W_x x + W_y y) + b."""

    def __init__(self, d_image: int, d_text: int, rngs: nnx.Rngs):
        """Args: d_image: channels of the image, also the hidden width; d_text: width of the text feature."""
        self.image = linear(d_image, d_image, rngs)
        self.text = linear(d_text, d_image, rngs, bias=False)
        self.score = linear(d_image, 1, rngs)

    def __call__(
        self, x: Float[Array, "n h w d"], text: Float[Array, "g b y"], utterance: Int[Array, "g m"]
    ) -> Float[Array, "n h w"]:
        """Scores of all sites of images, group by group; `utterance` is the row of an image's utterance there."""
        # Within the group, so that devices do not communicate.
        condition = jnp.take_along_axis(self.text(text), utterance[..., None], axis=1).reshape(x.shape[0], -1)
        return at_least_float32(self.score(jnp.tanh(self.image(x) + condition[:, None, None]))[..., 0])


def attention(score: Float[Array, "n h w"], candidate: Bool[Array, "n h w"]) -> Float[Array, "n h w"]:
    """Softmax of the scores over the candidate sites of each image; 0 at all others."""
    top = jnp.max(score, axis=(1, 2), keepdims=True, where=candidate, initial=-jnp.inf)
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    mass = jnp.where(candidate, jnp.exp(jnp.where(candidate, score - top, 0.0)), 0.0)
    return mass / jnp.maximum(jnp.sum(mass, axis=(1, 2), keepdims=True), jnp.finfo(mass.dtype).tiny)


def renormalized(score: Float[Array, "n h w"], kept: Bool[Array, "n h w"]) -> Float[Array, "n h w"]:
    """Multipliers of kept sites that give their scores a gradient: attention over the kept sites, scaled to mean 1.

    Per image n_kept * a / (sum of the kept a); 0 at other sites. All 1 if scores are uniform or one site is kept.
    """
    count = jnp.sum(kept, axis=(1, 2), keepdims=True)
    return count * attention(score, kept)


def effective_share(weight: Float[Array, "n h w"], candidate: Bool[Array, "n h w"]) -> Float[Array, "n"]:
    """exp(entropy of the attention) / number of candidates, per image.

    1 if attention is uniform over the candidates or there are none, 1 / candidates if one site has all of it.
    """
    positive = weight > 0
    log = jnp.log(jnp.where(positive, weight, 1.0))
    entropy = -jnp.sum(jnp.where(positive, weight * log, 0.0), axis=(1, 2))
    return jnp.exp(entropy) / jnp.maximum(jnp.sum(candidate, axis=(1, 2)), 1)


def choose(
    score: Float[Array, "n h w"],
    candidate: Bool[Array, "n h w"],
    threshold: Float[Array, ""] | float,
    selection: Selection,
    stage: int,
) -> Choice:
    """Attention of stage number `stage`, and the sites that it keeps.

    The score of a region is the mean over its sites; its attention is shared out equally among them. A region is a
    candidate if one of its sites is. The threshold, in (0, 1], is the fraction of the attention ("mass") or of the
    sites ("share") to keep.
    """
    side = selection.side(stage)
    score, regions = _regions(score, side).mean((2, 4)), _regions(candidate, side).any((2, 4))
    weight = attention(score, regions)
    kept = select(jax.lax.stop_gradient(weight), regions, threshold, selection.rule)
    by_site = [_spread_out(values, side) for values in (score, weight / side**2, kept)]
    return Choice(by_site[0], by_site[1], by_site[2] & candidate, effective_share(weight, regions))


def pooled_choice(choice: Choice) -> Choice:
    """The choice of the stage before, on the sites of this stage."""
    score, weight = _regions(choice.score, 2).mean((2, 4)), _regions(choice.weight, 2).sum((2, 4))
    return Choice(score, weight, max_pool(choice.kept[..., None])[..., 0], choice.spread)


def _regions(x: Array, side: int) -> Array:
    """`[n, h, w]` as `[n, u, side, v, side]`."""
    n, h, w = x.shape
    return x.reshape(n, h // side, side, w // side, side)


def _spread_out(x: Array, side: int) -> Array:
    """Values of regions `[n, u, v]` at all their sites."""
    return jnp.repeat(jnp.repeat(x, side, axis=1), side, axis=2) if side > 1 else x


def share_count(share: float, sites: int) -> int:
    """ceil(share * sites), safe from float32's rounding of the share."""
    return math.ceil(share * sites - _ROUNDING)


def select(
    weight: Float[Array, "n h w"],
    candidate: Bool[Array, "n h w"],
    threshold: Float[Array, ""] | float,
    rule: str = "mass",
) -> Bool[Array, "n h w"]:
    """Selects candidate sites of each image by decreasing attention, ties by increasing index.

    By the rule "mass" as few as reach the threshold, in (0, 1], in sum: at most ceil(threshold * candidates) sites. By
    "share" ceil(threshold * sites) of them. A threshold of 1 keeps every candidate. The weights are non-negative, 0
    outside the candidates, and sum to 1 (or 0) per image.

    The cut, the largest weight that leaves enough at or above it, is found by bisection over bit patterns, which order
    as non-negative floats do. 31 masked sums are an order of magnitude cheaper than a sort.
    """
    shape = weight.shape
    weight = weight.reshape(shape[0], -1).astype(jnp.float32)
    candidate = candidate.reshape(shape[0], -1)
    bits = jax.lax.bitcast_convert_type(weight, jnp.int32)
    if rule == "share":
        amount = candidate.astype(jnp.float32)
        wanted = jnp.ceil(threshold * weight.shape[1] - _ROUNDING)
    else:
        amount, wanted = weight, threshold

    def reaches(cut):
        return jnp.sum(jnp.where(bits >= cut[:, None], amount, 0.0), axis=1) >= wanted

    def halve(_, bounds):
        # Invariant: `low` reaches the threshold (or is 0), `high` does not.
        low, high = bounds
        middle = low + (high - low) // 2
        ok = reaches(middle)
        return jnp.where(ok, middle, low), jnp.where(ok, high, middle)

    one_above_two = 0x40000001
    # Derived from `bits`, not from a constant, so that it is sharded as the images are.
    low = jnp.zeros_like(bits[:, 0])
    low, _ = jax.lax.fori_loop(0, 31, halve, (low, jnp.full_like(low, one_above_two)))
    above = bits > low[:, None]
    tied = (bits == low[:, None]) & candidate
    missing = wanted - jnp.sum(jnp.where(above, amount, 0.0), axis=1)
    if rule == "mass":
        tie_weight = jax.lax.bitcast_convert_type(low, jnp.float32)
        # An image whose rounded weights sum to less than the threshold (cut 0) keeps all its sites.
        missing = jnp.where(tie_weight > 0, jnp.ceil(missing / jnp.maximum(tie_weight, 1e-38)), jnp.inf)
    rank = jnp.cumsum(tied, axis=1)
    kept = (above & candidate) | (tied & (rank <= jnp.maximum(missing, 1.0)[:, None]))
    kept = jnp.where(jnp.asarray(threshold) >= 1.0, candidate, kept)
    return kept.reshape(shape)


class SparseBlock(nnx.Module):
    """Two submanifold 3x3 convolutions, each with batch normalisation over active sites and ReLU, then 2x2 max pooling.

    Submanifold: an active site sees its active neighbours, and inactive sites stay inactive.
    """

    def __init__(self, d_in: int, d_out: int, *, row_limit: int, momentum: float = 0.99):
        """Creates the layers for `d_in` to `d_out` channels.

        `row_limit`: see `rows.index_sites`, 0 for masks; `momentum`: see `MaskedBatchNorm`, by default the paper's.
        """
        self.row_limit = row_limit
        self.kernel1 = nnx.Param(jnp.zeros((3, 3, d_in, d_out)))
        self.norm1 = MaskedBatchNorm(d_out, eps=1e-4, momentum=momentum)
        self.kernel2 = nnx.Param(jnp.zeros((3, 3, d_out, d_out)))
        self.norm2 = MaskedBatchNorm(d_out, eps=1e-4, momentum=momentum)

    def __call__(
        self, x: Float[Array, "n h w d"], active: Bool[Array, "n h w"], valid: Bool[Array, "n"], *, train: bool
    ) -> tuple[Float[Array, "n h/2 w/2 e"], Bool[Array, "n h/2 w/2"]]:
        """Pooled features, 0 at inactive sites, and pooled active sites; values of `x` at inactive sites do not matter.

        Only `valid` images count in the statistics; `train` uses and updates those of the batch.
        """
        x = (self._by_rows if self.row_limit else self._masked)(x, active, active & valid[:, None, None], train)
        return max_pool(x), max_pool(active[..., None])[..., 0]

    def _layers(self):
        return (self.kernel1[...], self.norm1), (self.kernel2[...], self.norm2)

    def _masked(self, x, active, counted, train):
        x = jnp.where(active[..., None], x, 0.0)
        for kernel, norm in self._layers():
            x = norm(convolve(x, kernel), counted, train=train)
            x = jnp.where(active[..., None], nnx.relu(x), 0.0)
        return x

    def _by_rows(self, x, active, counted, train):
        sites = index_sites(counted, self.row_limit)
        x = gather_rows(x, sites)
        for kernel, norm in self._layers():
            x = norm(convolve_rows(x, kernel, sites, prefers_loop()), sites.active, train=train)
            x = with_zero_row(nnx.relu(x), sites)
        return rows_to_images(x, sites, active.shape)
