"""CNN towers for faces and mel chunks, dense (FE2E) and sparse (MESM).

Axis legend: `n` images (frames or mel chunks), `h`, `w` height and width, `d` channels, `k` stages, `g` device groups,
`b` utterances and `m` images per group.
Source: the paper's sections 3.2 and 3.3; the layer list follows its published code.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from mme2e_jax.models.layers import Conv, MaskedBatchNorm, linear, max_pool
from mme2e_jax.models.sparse import PAPER_RULE, Selection, SiteScore, SparseBlock, choose, pooled_choice, renormalized

CHANNELS = (64, 128, 256, 512)
HIDDEN = 1024


def channels(width: float) -> tuple[int, int, int, int]:
    """Channels of the stages at a width multiplier (1.0 is the paper's), at least 4 each."""
    a, b, c, d = (max(4, round(width * n)) for n in CHANNELS)
    return a, b, c, d


class Stage(NamedTuple):
    """Attention and statistics of one sparse stage; `jit` removes unused fields."""

    weight: Float[Array, "n h w"]  # attention over the candidate sites, 0 at the others
    kept: Bool[Array, "n h w"]
    output: Float[Array, "n h/2 w/2 d"]  # features after pooling
    active: Float[Array, ""]  # kept sites over all valid images
    total: Float[Array, ""]  # sites over all valid images
    spread: Float[Array, ""]  # mean effective share over the valid images


class VGGBlock(nnx.Module):
    """Two rounds of 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, d_in: int, d_out: int):
        self.conv1 = Conv(3, d_in, d_out)
        self.norm1 = MaskedBatchNorm(d_out, eps=1e-5, momentum=0.9)
        self.conv2 = Conv(3, d_out, d_out)
        self.norm2 = MaskedBatchNorm(d_out, eps=1e-5, momentum=0.9)

    def __call__(self, x: Float[Array, "n h w d"], valid: Bool[Array, "n"], *, train: bool) -> Float[Array, "n h w e"]:
        mask = valid[:, None, None]
        x = nnx.relu(self.norm1(self.conv1(x), mask, train=train))
        return nnx.relu(self.norm2(self.conv2(x), mask, train=train))


class LowLevel(nnx.Module):
    """The first part of both towers: 5x5 convolution, BN, ReLU, pooling, two VGG blocks."""

    def __init__(self, d_in: int, d_out: int, *, remat: bool = False):
        self.conv = Conv(5, d_in, d_out)
        self.norm = MaskedBatchNorm(d_out, eps=1e-5, momentum=0.9)
        self.block1 = VGGBlock(d_out, d_out)
        self.block2 = VGGBlock(d_out, d_out)
        self.remat = remat

    def __call__(
        self, x: Float[Array, "n h w d"], valid: Bool[Array, "n"], *, train: bool
    ) -> Float[Array, "n h/2 w/2 e"]:
        remat = self.remat and train
        x = _stage(LowLevel._stem, remat, train=train)(self, x, valid)
        for block in (self.block1, self.block2):
            x = _stage(VGGBlock.__call__, remat, train=train)(block, x, valid)
        return x

    def _stem(self, x, valid, *, train):
        return max_pool(nnx.relu(self.norm(self.conv(x), valid[:, None, None], train=train)))


class Head(nnx.Module):
    """Flattened feature map to one vector per image: Linear, ReLU, Linear."""

    def __init__(self, d_in: int, d_out: int, rngs: nnx.Rngs):
        self.hidden = linear(d_in, HIDDEN, rngs)
        self.out = linear(HIDDEN, d_out, rngs)

    def __call__(self, x: Float[Array, "n h w d"]) -> Float[Array, "n e"]:
        # Channels first, as the paper's code flattens, so that its weights fit.
        flat = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        return self.out(nnx.relu(self.hidden(flat)))


class DenseTower(nnx.Module):
    """The dense tower (FE2E)."""

    def __init__(self, size: tuple[int, int, int], d_out: int, width: float, rngs: nnx.Rngs, *, remat: bool = False):
        """Creates the layers for images of `size`: height, width, channels; `width` multiplies the channels.

        With `remat` only the stages' inputs are kept for the backward pass. nnx requires `rngs`, which are not used.
        """
        h, w, d = size
        c = channels(width)
        self.remat = remat
        self.low_level = LowLevel(d, c[0], remat=remat)
        self.blocks = nnx.List([VGGBlock(c[k], c[k + 1]) for k in range(3)])
        self.head = Head(h // 16 * (w // 16) * c[3], d_out, rngs)

    def __call__(self, x: Float[Array, "n h w d"], valid: Bool[Array, "n"], *, train: bool) -> Float[Array, "n e"]:
        """One vector per image; without meaning for images that are not `valid`."""
        x = self.low_level(x, valid, train=train)
        for block in self.blocks:
            x = max_pool(_stage(VGGBlock.__call__, self.remat and train, train=train)(block, x, valid))
        return self.head(x)


class SparseTower(nnx.Module):
    """The sparse tower (MESM): its three upper stages run only at the sites that text-conditioned attention selects."""

    def __init__(
        self,
        size: tuple[int, int, int],
        d_out: int,
        d_text: int,
        width: float,
        *,
        renormalize: bool,
        rows_threshold: float,
        selection: Selection = PAPER_RULE,
        momentum: float = 0.99,
        rngs: nnx.Rngs,
        remat: bool = False,
    ):
        """Creates the layers; arguments as for `DenseTower` and `ModelSpec`, and the width of the text feature."""
        h, w, d = size
        self.renormalize, self.selection, self.remat = renormalize, selection, remat
        c = channels(width)
        self.low_level = LowLevel(d, c[0], remat=remat)
        self.scores = nnx.List([SiteScore(c[k], d_text, rngs) for k in range(1 if selection.once else 3)])
        limits = [0, 0, 0]
        if rows_threshold:
            limits = selection.limits([(h >> k, w >> k) for k in (1, 2, 3)], rows_threshold)
        self.blocks = nnx.List([SparseBlock(c[k], c[k + 1], row_limit=limits[k], momentum=momentum) for k in range(3)])
        self.head = Head(h // 16 * (w // 16) * c[3], d_out, rngs)

    def __call__(
        self,
        x: Float[Array, "n h w d"],
        valid: Bool[Array, "n"],
        text: Float[Array, "g b y"],
        utterance: Int[Array, "g m"],
        threshold: Float[Array, ""] | float,
        *,
        train: bool,
    ) -> tuple[Float[Array, "n e"], list[Stage]]:
        """One vector per image, and the stages' attention.

        Images are given group by group; `utterance` is the row of each image's utterance in its group. The threshold,
        in (0, 1], is the fraction of the attention, or of the sites, to keep.
        """
        x = self.low_level(x, valid, train=train)
        candidate = jnp.ones(x.shape[:-1], bool)
        images = jnp.sum(valid, dtype=jnp.float32)
        stages, choice, remat = [], None, self.remat and train
        for k, block in enumerate(self.blocks):
            if choice is None or not self.selection.once:
                score = _stage(SiteScore.__call__, remat)(self.scores[k], x, text, utterance)
                choice = choose(score, candidate, threshold, self.selection, k)
                if self.renormalize:
                    x = x * renormalized(choice.score, choice.kept)[..., None].astype(x.dtype)
            else:
                choice = pooled_choice(choice)
            weight, kept = choice.weight, choice.kept
            spread = jnp.where(valid, choice.spread, 0.0)
            # The selection is not recomputed: another rounding could select other sites for the gradient.
            x, candidate = _stage(SparseBlock.__call__, remat, train=train)(block, x, kept, valid)
            active = jnp.sum(kept & valid[:, None, None], dtype=jnp.float32)
            total = images * (kept.shape[1] * kept.shape[2])
            stages.append(Stage(weight, kept, x, active, total, jnp.sum(spread) / jnp.maximum(images, 1.0)))
        return self.head(x), stages

    def at_all_sites(
        self, x: Float[Array, "n h w d"], valid: Bool[Array, "n"], multipliers: Sequence[Float[Array, "n h w"]]
    ) -> Float[Array, "n e"]:
        """One vector per image, in evaluation, if no site is left out; `multipliers` scale each stage's input."""
        x = self.low_level(x, valid, train=False)
        for block, multiplier in zip(self.blocks, multipliers, strict=True):
            x = (x * multiplier[..., None]).astype(x.dtype)
            x, _ = block(x, jnp.ones(x.shape[:-1], bool), valid, train=False)
        return self.head(x)


def _stage(method: Callable, remat: bool, **static: bool) -> Callable:
    """The method as a function of module and arrays; with `remat` it is recomputed in the backward pass."""

    def call(module, *arrays):
        return method(module, *arrays, **static)

    return nnx.remat(call) if remat else call
