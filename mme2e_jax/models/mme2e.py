"""The end-to-end models FE2E (dense) and MESM (sparse).

Axis legend: `g` device groups, `b` utterances per group, `f` packed frames, `c` packed mel chunks, `l` labels,
`d` features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from mme2e_jax.batch import Batch, Segments, segments
from mme2e_jax.constants import CHUNK_FRAMES, EMPTY_TEXT_TOKENS, FACE_SIZE, MEL_BANDS
from mme2e_jax.models.albert import Albert, AlbertSize
from mme2e_jax.models.dropout import DropoutSeed
from mme2e_jax.models.fusion import Outputs, fuse, sort_modalities
from mme2e_jax.models.layers import linear, round_parameters
from mme2e_jax.models.sequence import SequenceEncoder
from mme2e_jax.models.sparse import PAPER_RULE, Selection
from mme2e_jax.models.towers import DenseTower, SparseTower

# Channel statistics of CMU-MOSEI's face crops, from the paper's code.
FACE_MEAN = (159.0, 111.0, 102.0)
FACE_STD = (37.0, 33.0, 32.0)

MODALITIES = "tva"  # order of the fusion weights in the paper's code
IMAGE_SIZE = {"v": (FACE_SIZE, FACE_SIZE, 3), "a": (MEL_BANDS, CHUNK_FRAMES, 1)}
STAGES = 3  # upper stages of a tower

# Factors of the sites of each stage's input, per tower.
Multipliers = Mapping[str, Sequence[Float[Array, "n h w"]]]


@dataclass(frozen=True)
class ModelSpec:
    """Hyperparameters of the architecture."""

    modalities: str  # subset of "tva"
    sparse: bool
    labels: int
    vocabulary: int
    text: AlbertSize
    width: float
    trans_dim: int
    trans_layers: int
    trans_heads: int
    dropout: float
    renormalize: bool = False  # multiply the features of kept sites by their attention
    # Attention threshold up to which sparse blocks compute rows of active sites, above it masks, with equal results.
    rows_threshold: float = 1.0
    selection: Selection = PAPER_RULE
    sparse_norm_momentum: float = 0.99  # of the batch norms in sparse blocks, see `MaskedBatchNorm`
    dtype: str = "float32"  # in which the encoders compute: float32 or bfloat16
    remat: bool = False  # recompute the towers in the backward pass
    mask_empty_text: bool = False  # text without words adds nothing to the logits


class MME2E(nnx.Module):
    """Text, faces and speech to emotion logits, by late fusion."""

    def __init__(self, spec: ModelSpec, rngs: nnx.Rngs):
        """Raises ValueError if the modalities are not of "tva", or a sparse model lacks the text that guides it."""
        self.modalities = used = sort_modalities(spec.modalities, MODALITIES)
        self.dtype, self.mask_empty_text = spec.dtype, spec.mask_empty_text
        if spec.sparse and "t" not in used:
            raise ValueError(
                f"The sparse model's attention is guided by text: add t to modalities {spec.modalities!r}."
            )
        d = spec.trans_dim
        if "t" in used:
            self.text = Albert(spec.text, spec.vocabulary, rngs)
        images = [m for m in used if m != "t"]
        self.towers = nnx.Dict({m: _tower(spec, m, rngs) for m in images})
        self.sequences = nnx.Dict(
            {m: SequenceEncoder(d, spec.trans_layers, spec.trans_heads, spec.dropout, rngs) for m in images}
        )
        self.heads = nnx.Dict({m: linear(spec.text.hidden if m == "t" else d, spec.labels, rngs) for m in used})
        if len(used) > 1:
            self.fusion = nnx.Param(jnp.zeros(len(used)))

    def round_encoders(self) -> None:
        """Rounds the encoders' parameters to the model's dtype, in place: only for a copy of the model.

        Heads, fusion and parameters of full precision stay; softmaxes, statistics and large sums are float32 anyway.
        """
        if self.dtype == "float32":
            return
        for encoder in ([self.text] if "t" in self.modalities else []) + [self.towers, self.sequences]:
            round_parameters(encoder, self.dtype)

    def __call__(
        self,
        batch: Batch,
        *,
        train: bool,
        threshold: Float[Array, ""] | float,
        seed: DropoutSeed | None,
        multipliers: Multipliers | None = None,
    ) -> Outputs:
        """Runs the model on packed utterances; arguments as for `variables.apply`.

        With `multipliers` a sparse model computes all sites, and multiplies each stage's input by its own.
        """
        logits, stages, text = {}, {}, None
        if "t" in self.modalities:
            g, b, t = batch.token_ids.shape
            tokens = self.text(batch.token_ids.reshape(g * b, t), batch.token_count.reshape(-1))
            text = tokens[:, 0].reshape(g, b, -1)
            logits["t"] = self.heads["t"](text)
            if self.mask_empty_text:
                logits["t"] = jnp.where((batch.token_count > EMPTY_TEXT_TOKENS)[..., None], logits["t"], 0.0)
        for m in self.modalities.replace("t", ""):
            images, count = (
                (faces_input(batch.faces), batch.frame_count) if m == "v" else (batch.mel[..., None], batch.chunk_count)
            )
            where = segments(count, images.shape[1])
            factors = None if multipliers is None else multipliers[m]
            vectors, stages_m = self._encode(m, images, where, text, factors, train=train, threshold=threshold)
            if stages_m:
                stages[m] = stages_m
            encoded = self.sequences[m](vectors, where, batch.example, seed and seed.fold(m))
            # A modality without frames or sound contributes nothing.
            logits[m] = jnp.where((count > 0)[..., None], self.heads[m](encoded), 0.0)
        if len(logits) == 1:
            return Outputs(logits[self.modalities], logits, stages)
        return Outputs(fuse(logits, self.modalities, self.fusion[...]), logits, stages)

    def _encode(self, m, images, where: Segments, text, multipliers, *, train, threshold):
        g, n = where.segment.shape
        flat, valid = images.reshape(g * n, *images.shape[2:]), where.valid.reshape(-1)
        # Padding may hold NaN, and 0 * NaN would reach the gradients of the kernels.
        flat = jnp.where(valid[:, None, None, None], flat, 0.0)
        tower = self.towers[m]
        flat = flat.astype(tower.low_level.conv.kernel.dtype)
        if isinstance(tower, DenseTower):
            return tower(flat, valid, train=train).reshape(g, n, -1), []
        if multipliers is not None:
            return tower.at_all_sites(flat, valid, multipliers).reshape(g, n, -1), []
        utterance = jnp.minimum(where.segment, text.shape[1] - 1)
        vectors, stages = tower(flat, valid, text, utterance, threshold, train=train)
        return vectors.reshape(g, n, -1), stages


def _tower(spec: ModelSpec, m: str, rngs: nnx.Rngs) -> DenseTower | SparseTower:
    if spec.sparse:
        return SparseTower(
            IMAGE_SIZE[m],
            spec.trans_dim,
            spec.text.hidden,
            spec.width,
            renormalize=spec.renormalize,
            rows_threshold=spec.rows_threshold,
            selection=spec.selection,
            momentum=spec.sparse_norm_momentum,
            rngs=rngs,
            remat=spec.remat,
        )
    return DenseTower(IMAGE_SIZE[m], spec.trans_dim, spec.width, rngs, remat=spec.remat)


def stage_sizes(modality: str) -> list[tuple[int, int]]:
    """Height and width of the input of each upper stage of a tower."""
    h, w, _ = IMAGE_SIZE[modality]
    return [(h >> k, w >> k) for k in range(1, STAGES + 1)]


def faces_input(faces):
    """Face crops, uint8 `[..., 3]`, centred and scaled per channel, float32."""
    shape = (1,) * (faces.ndim - 1) + (3,)
    return (faces.astype(jnp.float32) - jnp.reshape(jnp.array(FACE_MEAN), shape)) / jnp.reshape(
        jnp.array(FACE_STD), shape
    )
