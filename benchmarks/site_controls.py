"""Sparse models whose sites are random, or the same for all images.

    python -m benchmarks.site_controls CONTROL.npz --config=configs/mini_sparse.py --workdir=RUN ...

Trains as `launch.py` does, but a control replaces the scores. Its file has, per stage, `sharpness-HxW`, and for a fixed
map also `map-HxW`, the logarithm of its attention. The sharpness is such that the sparse rule keeps a given share.

Axis legend: `n` images, `h`, `w` height and width of the sites, `d` channels.
"""

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mme2e_jax.models.layers import max_pool
from mme2e_jax.models.sparse import PAPER_RULE, Selection, SiteScore, choose

_IMAGES = 64  # of the simulation that finds the sharpness of random scores


@contextmanager
def controlled(control: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Replaces the scores of all sparse models in this process. Programs that were traced before keep theirs."""
    original = SiteScore.__call__

    def score(self: SiteScore, x: jax.Array, text: jax.Array, utterance: jax.Array) -> jax.Array:
        n, h, w, _ = x.shape
        size = f"{h}x{w}"
        if f"map-{size}" in control:
            own = jnp.broadcast_to(jnp.asarray(control[f"map-{size}"]), (n, h, w))
        else:
            own = _noise(x)
        # Without gradient, as untaught scores have none.
        return own * control[f"sharpness-{size}"]

    SiteScore.__call__ = score
    try:
        yield
    finally:
        SiteScore.__call__ = original


def _noise(x: jax.Array) -> jax.Array:
    """Standard normal numbers that are a function of the image, [n h w]: the bits of its sum, mixed with the site."""
    _, h, w, _ = x.shape
    key = jax.lax.bitcast_convert_type(jnp.sum(x.astype(jnp.float32), axis=(1, 2, 3)), jnp.uint32)
    bits = key[:, None, None] ^ (jnp.arange(h * w, dtype=jnp.uint32).reshape(1, h, w) * jnp.uint32(2654435761))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> shift)) * jnp.uint32(factor)
    uniform = ((bits ^ (bits >> 16)) >> 8).astype(jnp.float32) / 2**24
    return jax.scipy.special.ndtri(jnp.clip(uniform, 1e-6, 1 - 1e-6))


def make_control(
    shares: Sequence[float],
    sizes: Sequence[tuple[int, int]],
    threshold: float,
    maps: Sequence[np.ndarray] | None,
    selection: Selection = PAPER_RULE,
) -> dict[str, np.ndarray]:
    """Arrays of a control of one tower that keeps given shares of the sites.

    Args:
      shares: share of all sites that each stage shall keep.
      sizes: height and width of each stage's sites.
      threshold: attention threshold.
      maps: attention of each stage, of any sum, or None for random scores.
      selection: how stages select sites; where the first one selects for all, only its share counts.
    """
    rng, found = np.random.default_rng(0), {}
    candidate: Any = np.ones((_IMAGES if maps is None else 1, *sizes[0]), bool)
    for k, ((h, w), share) in enumerate(zip(sizes, shares, strict=True)):
        if k and selection.once:
            break
        scores = rng.standard_normal(candidate.shape) if maps is None else np.log(np.maximum(maps[k], 1e-9))[None]
        low, high = 0.0, 64.0
        for _ in range(30):
            # Sharper attention keeps fewer sites.
            sharpness = (low + high) / 2
            score = jnp.asarray(scores * sharpness, jnp.float32)
            kept = np.asarray(_kept(score, jnp.asarray(candidate), threshold, selection, k))
            low, high = (sharpness, high) if kept.mean() > share else (low, sharpness)
        found[f"sharpness-{h}x{w}"] = np.float32(sharpness)
        if maps is not None:
            found[f"map-{h}x{w}"] = scores[0].astype(np.float32)
        candidate = np.asarray(max_pool(jnp.asarray(kept)[..., None])[..., 0])
    return found


@functools.partial(jax.jit, static_argnames=("selection", "stage"))
def _kept(score, candidate, threshold, selection, stage):
    return choose(score, candidate, threshold, selection, stage).kept


def main() -> None:
    """Trains with a control."""
    import launch

    control = dict(np.load(sys.argv.pop(1)))
    with controlled(control):
        launch.run()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).absolute().parent.parent))
    main()
