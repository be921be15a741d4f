"""ALBERT, the text encoder: one transformer layer, applied repeatedly.

Axis legend: `u` utterances, `t` tokens, `a` heads, `d` features.
Source: Lan et al., ALBERT (ICLR 2020), as in the v2 checkpoints of the Hugging Face hub: factorised embeddings,
post-norm layers, tanh-approximated GELU, no dropout.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from mme2e_jax.models.layers import FullPrecision, at_least_float32, linear
from mme2e_jax.runtime.sharding import per_device

POSITIONS = 512
TOKEN_TYPES = 2
LAYER_NORM_EPS = 1e-12


@dataclass(frozen=True)
class AlbertSize:
    """Hyperparameters of an ALBERT."""

    embedding: int
    hidden: int
    layers: int
    heads: int
    feed_forward: int


SIZES = {
    "tiny": AlbertSize(embedding=32, hidden=64, layers=2, heads=4, feed_forward=256),
    "base": AlbertSize(embedding=128, hidden=768, layers=12, heads=12, feed_forward=3072),
    "large": AlbertSize(embedding=128, hidden=1024, layers=24, heads=16, feed_forward=4096),
    "xlarge": AlbertSize(embedding=128, hidden=2048, layers=24, heads=16, feed_forward=8192),
}


def _embedding(rows: int, d: int) -> nnx.Param:
    # A row's gradient is a sum over all of its occurrences.
    return FullPrecision(jnp.zeros((rows, d)))


class AlbertLayer(nnx.Module):
    """Self-attention and feed-forward, each followed by a residual sum and LayerNorm."""

    def __init__(self, size: AlbertSize, rngs: nnx.Rngs):
        d = size.hidden
        self.query = linear(d, d, rngs)
        self.key = linear(d, d, rngs)
        self.value = linear(d, d, rngs)
        self.attention_out = linear(d, d, rngs)
        self.attention_norm = nnx.LayerNorm(d, epsilon=LAYER_NORM_EPS, rngs=rngs)
        self.up = linear(d, size.feed_forward, rngs)
        self.down = linear(size.feed_forward, d, rngs)
        self.norm = nnx.LayerNorm(d, epsilon=LAYER_NORM_EPS, rngs=rngs)
        self.heads = size.heads

    def __call__(self, x: Float[Array, "u t d"], bias: Float[Array, "u 1 1 t"]) -> Float[Array, "u t d"]:
        u, t, d = x.shape
        q, k, v = (f(x).reshape(u, t, self.heads, -1) for f in (self.query, self.key, self.value))
        logits = jnp.einsum("uqad,ukad->uaqk", q, k) * q.shape[-1] ** -0.5
        weight = jax.nn.softmax(at_least_float32(logits) + bias, axis=-1).astype(v.dtype)
        mixed = jnp.einsum("uaqk,ukad->uqad", weight, v).reshape(u, t, d)
        x = self.attention_norm(x + self.attention_out(mixed))
        return self.norm(x + self.down(jax.nn.gelu(self.up(x), approximate=True)))


class Albert(nnx.Module):
    """Token ids to one vector per token."""

    def __init__(self, size: AlbertSize, vocabulary: int, rngs: nnx.Rngs):
        self.word = _embedding(vocabulary, size.embedding)
        self.position = _embedding(POSITIONS, size.embedding)
        self.token_type = _embedding(TOKEN_TYPES, size.embedding)
        self.embedding_norm = nnx.LayerNorm(size.embedding, epsilon=LAYER_NORM_EPS, rngs=rngs)
        self.embedding_out = linear(size.embedding, size.hidden, rngs)
        self.layer = AlbertLayer(size, rngs)
        self.layers = size.layers

    def __call__(
        self, token_ids: Int[Array, "u t"], token_count: Int[Array, "u"], token_type: Int[Array, "u t"] | None = None
    ) -> Float[Array, "u t d"]:
        """Last hidden states of tokens, [CLS] first; attention ignores those after `token_count` of a row.

        `token_type` is 0 or 1 for the first and second sentence of a pair; None for type 0 everywhere.
        """
        t = token_ids.shape[1]
        kind = self.token_type[...][:1][None] if token_type is None else self.token_type[...][token_type]
        x = self.word[...][token_ids] + self.position[...][:t][None] + kind
        real = jnp.arange(t)[None] < token_count[:, None]
        bias = jnp.where(real, 0.0, jnp.finfo(x.dtype).min)[:, None, None]
        x = self.embedding_out(self.embedding_norm(x).astype(self.embedding_out.kernel.dtype))
        structure, parameters = nnx.split(self.layer)

        def layers(x, bias, parameters):
            layer = nnx.merge(structure, parameters)
            # The layer is shared, so that a scan compiles it once.
            return jax.lax.scan(lambda x, _: (layer(x, bias), None), x, None, length=self.layers)[0]

        # Sums the layer's gradient over devices once, not once per iteration.
        return per_device(layers, (x, bias), (parameters,))
