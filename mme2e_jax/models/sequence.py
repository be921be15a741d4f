"""Transformer over an utterance's frames or mel chunks, on the packed axis.

Post-norm layers without positional encoding; the output is read at a learned CLS vector (the paper's section 3.2).

Axis legend: `g` device groups, `b` utterances per group, `n` packed items, `m` = b + n rows (CLS rows first),
`a` heads, `d` features.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from mme2e_jax.batch import Segments
from mme2e_jax.models.dropout import DropoutSeed, dropout
from mme2e_jax.models.layers import FullPrecision, at_least_float32, linear

FEED_FORWARD = 2048


class _Rows(NamedTuple):
    """Rows: `same[q, k]` if both belong to one utterance; the other fields identify them in dropout."""

    same: Bool[Array, "g m m"]
    utterance: Int[Array, "g m"]
    position: Int[Array, "g m"]

    def coordinates(self, d: int) -> tuple[Int[Array, "..."], ...]:
        return self.utterance[..., None], self.position[..., None], jnp.arange(d)[None, None]

    def pair_coordinates(self, heads: int) -> tuple[Int[Array, "..."], ...]:
        query, key = self.position[:, None, :, None], self.position[:, None, None, :]
        return self.utterance[:, None, :, None], query, key, jnp.arange(heads)[None, :, None, None]


class EncoderLayer(nnx.Module):
    """Self-attention and feed-forward, each followed by a residual sum and LayerNorm."""

    def __init__(self, d: int, heads: int, rate: float, rngs: nnx.Rngs):
        self.qkv = linear(d, 3 * d, rngs)
        self.attention_out = linear(d, d, rngs)
        self.norm1 = nnx.LayerNorm(d, epsilon=1e-5, rngs=rngs)
        self.up = linear(d, FEED_FORWARD, rngs)
        self.down = linear(FEED_FORWARD, d, rngs)
        self.norm2 = nnx.LayerNorm(d, epsilon=1e-5, rngs=rngs)
        self.heads, self.rate = heads, rate

    def __call__(self, x: Float[Array, "g m d"], rows: _Rows, seed: DropoutSeed | None) -> Float[Array, "g m d"]:
        def drop(name: str, value, coordinates):
            return dropout(value, self.rate, seed and seed.fold(name), coordinates)

        g, m, d = x.shape
        channel = rows.coordinates(d)
        q, k, v = (part.reshape(g, m, self.heads, -1) for part in jnp.split(self.qkv(x), 3, axis=-1))
        logits = jnp.einsum("gqah,gkah->gaqk", q, k) * q.shape[-1] ** -0.5
        logits = jnp.where(rows.same[:, None], at_least_float32(logits), jnp.finfo(logits.dtype).min)
        weight = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
        weight = drop("attention", weight, rows.pair_coordinates(self.heads))
        mixed = jnp.einsum("gaqk,gkah->gqah", weight, v).reshape(g, m, d)
        x = self.norm1(x + drop("mixed", self.attention_out(mixed), channel))
        hidden = drop("hidden", nnx.relu(self.up(x)), rows.coordinates(FEED_FORWARD))
        return self.norm2(x + drop("out", self.down(hidden), channel))


class SequenceEncoder(nnx.Module):
    """Encodes the packed vectors of each utterance's frames or chunks as one vector."""

    def __init__(self, d: int, layers: int, heads: int, rate: float, rngs: nnx.Rngs):
        self.cls = FullPrecision(jnp.zeros(d))
        self.layers = nnx.List([EncoderLayer(d, heads, rate, rngs) for _ in range(layers)])

    def __call__(
        self, x: Float[Array, "g n d"], where: Segments, example: Int[Array, "g b"], seed: DropoutSeed | None
    ) -> Float[Array, "g b d"]:
        """The CLS output of each utterance, from packed items whose utterances and positions `where` gives.

        `example` identifies each utterance in dropout; `seed` is that of the step, None in evaluation.
        """
        g, b = example.shape
        row = jnp.broadcast_to(jnp.arange(b)[None], (g, b))
        segment = jnp.concatenate([row, where.segment], axis=1)
        position = jnp.concatenate([jnp.zeros_like(row), where.position + 1], axis=1)
        named = jnp.pad(example, ((0, 0), (0, 1)), constant_values=-1)
        rows = _Rows(
            same=segment[:, :, None] == segment[:, None, :],
            utterance=jnp.take_along_axis(named, segment, axis=1),
            position=position,
        )
        cls = jnp.broadcast_to(self.cls[...][None, None], (g, b, x.shape[-1])).astype(x.dtype)
        x = jnp.concatenate([cls, x], axis=1)
        for k, layer in enumerate(self.layers):
            x = layer(x, rows, seed and seed.fold(k))
        return x[:, :b]
