"""The baselines for hand-crafted features: LF-LSTM and LF-TRANS.

Axis legend: `g` device groups, `b` utterances per group, `u` all `g * b` utterances, `n` rows of one modality, `d` its
features, `l` labels.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from mme2e_jax.batch import FeatureBatch, segments
from mme2e_jax.models.dropout import DropoutSeed
from mme2e_jax.models.fusion import Outputs, fuse, sort_modalities
from mme2e_jax.models.layers import linear
from mme2e_jax.models.recurrent import RecurrentEncoder, RecurrentSpec
from mme2e_jax.models.sequence import SequenceEncoder

MODALITIES = "tav"  # order of the fusion weights in the paper's baselines, and of sizes and heads


@dataclass(frozen=True)
class TransformerSpec:
    """Hyperparameters of a model's transformers."""

    layers: int
    heads: tuple[int, int, int]  # for text, audio and video


@dataclass(frozen=True)
class LateFusionSpec:
    """Hyperparameters of the architecture."""

    modalities: str  # subset of "tav"
    labels: int
    feature_sizes: tuple[int, int, int]  # for text, audio and video
    encoder: RecurrentSpec | TransformerSpec
    parity_padding: bool  # treat padding as the paper's code does
    dropout: float


class Affine(nnx.Module):
    """A modality's vector to its logits: Linear, ReLU, Linear."""

    def __init__(self, d: int, labels: int, rngs: nnx.Rngs):
        hidden = max(1, d // 2)
        self.hidden = linear(d, hidden, rngs)
        self.out = linear(hidden, labels, rngs)

    def __call__(self, x: Float[Array, "u d"]) -> Float[Array, "u l"]:
        return self.out(nnx.relu(self.hidden(x)))


class LateFusion(nnx.Module):
    """One encoder and head per modality, and late fusion of their logits."""

    def __init__(self, spec: LateFusionSpec, rngs: nnx.Rngs):
        self.modalities = sort_modalities(spec.modalities, MODALITIES)
        self.parity_padding = spec.parity_padding
        self.sequences = nnx.Dict({m: _encoder(spec, m, rngs) for m in self.modalities})
        self.heads = nnx.Dict({m: Affine(_width(spec, m), spec.labels, rngs) for m in self.modalities})
        if len(self.modalities) > 1:
            self.fusion = nnx.Param(jnp.zeros(len(self.modalities)))

    def __call__(
        self, batch: FeatureBatch, *, train: bool, threshold: Float[Array, ""] | float, seed: DropoutSeed | None
    ) -> Outputs:
        """Runs the model on padded rows; arguments as for `variables.apply`, `train` and `threshold` are not used."""
        del train, threshold
        rows = {
            "t": (batch.text, batch.text_count),
            "a": (batch.audio, batch.audio_count),
            "v": (batch.video, batch.video_count),
        }
        logits = {}
        for m in self.modalities:
            x, count = rows[m]
            g, b, n, d = x.shape
            # Padding may hold NaN, and 0 * NaN would reach the gradients of the kernels.
            real = jnp.arange(n)[None, None] < count[..., None]
            x = jnp.where(real[..., None], x, 0.0)
            vector = self._encode(
                m, x.reshape(g * b, n, d), count.reshape(-1), batch.example.reshape(-1), seed and seed.fold(m)
            )
            # A modality without rows contributes nothing.
            logits[m] = jnp.where((count > 0)[..., None], self.heads[m](vector).reshape(g, b, -1), 0.0)
        if len(self.modalities) == 1:
            return Outputs(logits[self.modalities], logits, {})
        return Outputs(fuse(logits, self.modalities, self.fusion[...]), logits, {})

    def _encode(
        self,
        m: str,
        x: Float[Array, "u n d"],
        count: Int[Array, "u"],
        example: Int[Array, "u"],
        seed: DropoutSeed | None,
    ) -> Float[Array, "u e"]:
        """One vector per utterance.

        A recurrent encoder returns its final outputs for audio and video. For text the paper's code reads the outputs
        at the last row instead, where the backward direction has read one row only.

        With `parity_padding`, padding rows up to the longest utterance of the batch count as real ones where they do in
        the paper's code: in the recurrent encoders, and in the transformer over text.
        """
        encoder = self.sequences[m]
        recurrent = isinstance(encoder, RecurrentEncoder)
        if self.parity_padding and (recurrent or m == "t"):
            count = jnp.broadcast_to(jnp.max(count), count.shape)
        if recurrent:
            encoded = encoder(x, count, example, seed)
            return encoded.last if m == "t" else encoded.final
        # One utterance per group.
        return encoder(x, segments(count[:, None], x.shape[1]), example[:, None], seed)[:, 0]


def _size(spec: LateFusionSpec, m: str) -> int:
    return spec.feature_sizes[MODALITIES.index(m)]


def _width(spec: LateFusionSpec, m: str) -> int:
    d = _size(spec, m)
    return spec.encoder.width(d) if isinstance(spec.encoder, RecurrentSpec) else d


def _encoder(spec: LateFusionSpec, m: str, rngs: nnx.Rngs) -> RecurrentEncoder | SequenceEncoder:
    d = _size(spec, m)
    if isinstance(spec.encoder, RecurrentSpec):
        return RecurrentEncoder(d, spec.encoder, spec.dropout, rngs)
    heads = spec.encoder.heads[MODALITIES.index(m)]
    return SequenceEncoder(d, spec.encoder.layers, heads, spec.dropout, rngs)
