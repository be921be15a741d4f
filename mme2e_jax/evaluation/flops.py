"""Multiply-adds of an end-to-end model per utterance, counted from shapes.

Counted are the products of convolutions, linear layers and attention over real tokens, frames, mel chunks and sites;
not biases, normalisation, activations, pooling, selection and padding. A convolution costs all its taps at every site,
also those outside the image: 9 per active site of a sparse stage. Site scores are computed at all sites of a stage.

GFLOPs of feature extraction are two operations per multiply-add in the towers of faces and mel chunks, without ALBERT
and the sequence encoders. The paper does not define its count: its 8.65 for FE2E does not follow from both towers at
the mean lengths of its data sets (9 frames and 11 chunks, IEMOCAP at 4.5 s: 27.3 here; 14 frames and 18 chunks,
CMU-MOSEI at 7.3 s: 44.0), nor from half of that. Faces alone at 9 frames are 8.69, perhaps by chance. So compare
fractions of the dense model: the paper's are 0.50 at threshold 0.5 and 0.60 at 0.7.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mme2e_jax.data.plan import Lengths
from mme2e_jax.models.albert import AlbertSize
from mme2e_jax.models.fusion import sort_modalities
from mme2e_jax.models.mme2e import IMAGE_SIZE, MODALITIES, STAGES, ModelSpec, stage_sizes
from mme2e_jax.models.sequence import FEED_FORWARD
from mme2e_jax.models.towers import HIDDEN, channels

TOWER = ("low_level", *(f"stage_{k}" for k in range(STAGES)), "scores", "head")

Macs = dict[str, dict[str, float]]  # multiply-adds by modality and part
# Per sparse tower, active sites and all sites of each stage, summed over utterances: [k, 2].
Sites = Mapping[str, np.ndarray]


def macs(spec: ModelSpec, lengths: Lengths, active: Mapping[str, Sequence[float]]) -> Macs:
    """Multiply-adds of a forward pass, the mean over utterances of the given `lengths` after truncation.

    `active` are the active sites per sparse tower and stage, summed over the utterances. Text has the part `albert`,
    faces and mel chunks those of TOWER (`scores` only if sparse) and `sequence`. `albert` and `sequence` include heads.
    """
    utterances = len(lengths.tokens)
    found: Macs = {}
    for m in sort_modalities(spec.modalities, MODALITIES):
        if m == "t":
            parts = {"albert": _albert(spec.text, lengths.tokens) + utterances * spec.text.hidden * spec.labels}
        else:
            images = lengths.frames if m == "v" else lengths.chunks
            parts = _tower(spec, m, int(images.sum()), utterances, active.get(m)) | {
                "sequence": _sequence(spec, images)
            }
        found[m] = {name: float(value) / utterances for name, value in parts.items()}
    return found


def extraction_gflops(parts: Macs) -> float:
    """GFLOPs of feature extraction, see the module's docstring."""
    return 2e-9 * sum(tower[name] for tower in parts.values() for name in TOWER if name in tower)


def cost_report(spec: ModelSpec, lengths: Lengths, sites: Sites) -> dict[str, Any]:
    """Cost per utterance, as JSON values, from the `lengths` and the `sites` that a model computed."""
    own = macs(spec, lengths, {m: counts[:, 0].tolist() for m, counts in sites.items()})
    dense = macs(dataclasses.replace(spec, sparse=False), lengths, {})
    return {
        "active_fraction": {m: (c[:, 0] / np.maximum(c[:, 1], 1)).tolist() for m, c in sites.items()},
        "macs": own,
        "dense_macs": dense,
        "extraction_gflops": extraction_gflops(own),
        "dense_extraction_gflops": extraction_gflops(dense),
    }


def _albert(size: AlbertSize, tokens: np.ndarray) -> int:
    d, t = size.hidden, tokens.astype(np.int64)
    layer = t.sum() * (4 * d * d + 2 * d * size.feed_forward) + 2 * d * (t * t).sum()
    return t.sum() * size.embedding * d + size.layers * layer


def first_convolution(spec: ModelSpec, modality: str) -> int:
    """Multiply-adds of a tower's first convolution on one image."""
    h, w, d = IMAGE_SIZE[modality]
    return h * w * 25 * d * channels(spec.width)[0]


def _tower(spec: ModelSpec, modality: str, images: int, utterances: int, active: Sequence[float] | None):
    c = channels(spec.width)
    sizes = stage_sizes(modality)
    sites = [images * h * w for h, w in sizes]
    low_level = images * first_convolution(spec, modality) + sites[0] * 4 * 9 * c[0] * c[0]
    worked = active if spec.sparse and active is not None else sites
    stages = {f"stage_{k}": worked[k] * 9 * (c[k] + c[k + 1]) * c[k + 1] for k in range(STAGES)}
    # Text is projected once per utterance and stage.
    scored = range(1 if spec.selection.once else STAGES)
    scores = sum(sites[k] * (c[k] + 1) * c[k] + utterances * spec.text.hidden * c[k] for k in scored)
    last_h, last_w = (n // 2 for n in sizes[-1])
    head = images * HIDDEN * (last_h * last_w * c[-1] + spec.trans_dim)
    return {"low_level": low_level, **stages} | ({"scores": scores} if spec.sparse else {}) | {"head": head}


def _sequence(spec: ModelSpec, images: np.ndarray) -> int:
    d, rows = spec.trans_dim, images.astype(np.int64) + 1  # one for CLS
    layer = rows.sum() * (4 * d * d + 2 * d * FEED_FORWARD) + 2 * d * (rows * rows).sum()
    return spec.trans_layers * layer + len(images) * d * spec.labels
