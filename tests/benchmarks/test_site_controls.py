"""Controls keep the shares that they are made for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.site_controls import controlled, make_control
from mme2e_jax.models.sparse import PAPER_RULE, Selection
from mme2e_jax.models.towers import SparseTower

SIZE, SIZES, SHARES = (48, 48, 3), [(24, 24), (12, 12), (6, 6)], (0.3, 0.2, 0.15)


@pytest.mark.parametrize("selection", [PAPER_RULE, Selection(region=4, once=True)], ids=["sites", "regions, once"])
@pytest.mark.parametrize("kind", ["random", "fixed"])
def test_a_controlled_tower_keeps_the_given_shares(kind: str, selection: Selection) -> None:
    rng = np.random.default_rng(0)
    maps = None if kind == "random" else [rng.random(size) for size in SIZES]
    tower = SparseTower(
        SIZE, 4, 6, 0.0625, renormalize=False, rows_threshold=0.0, selection=selection, rngs=nnx.Rngs(0)
    )
    images = jnp.asarray(rng.standard_normal((40, *SIZE)), jnp.float32)
    # Otherwise all features are 0, and all images alike.
    tower.low_level.conv.kernel.set_value(jnp.asarray(rng.standard_normal((5, 5, 3, 4)), jnp.float32))
    for block in (tower.low_level.block1, tower.low_level.block2):
        for conv in (block.conv1, block.conv2):
            conv.kernel.set_value(jnp.asarray(rng.standard_normal(conv.kernel.shape), jnp.float32))

    with controlled(make_control(SHARES, SIZES, 0.5, maps, selection)):
        text, utterance = jnp.zeros((1, 1, 6)), jnp.zeros((1, 40), jnp.int32)
        look = jax.jit(lambda x: tower(x, jnp.ones(40, bool), text, utterance, 0.5, train=False)[1][0].kept)
        kept = np.asarray(look(images))

    # One map keeps a whole number of sites, or of 36 regions.
    assert abs(kept.mean() - SHARES[0]) < 0.03
    # The same sites for all images, or other ones for each.
    assert (kept == kept[:1]).all() == (kind == "fixed")
    if kind == "random":
        np.testing.assert_allclose(kept.mean(0), SHARES[0], atol=0.45)
