"""What the paper's PyTorch code computed, and the recipe that its weights follow.

The arrays in `tests/arrays/oracle_*.npz` come from runs of that code with weights drawn by `weight`, dropout 0.
"""

import functools
import json
import re
import zlib
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent.parent / "arrays"
# Weights of normalisation layers, in the names of the paper's code.
_NORM = re.compile(r"(\.bn\d|LayerNorm|layer_norm|norm\d|low_level\.1|^V\.1\.|^A\.1\.|sparse_layers\.\d\.0\.[13])")


@functools.cache
def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file."""
    with np.load(DATA / f"oracle_{name}.npz") as stored:
        return dict(stored)


def state_dict(model: str) -> dict[str, np.ndarray]:
    """The weights of `dense` or `sparse` under their torch names, without what no forward pass uses."""
    shapes = json.loads(str(arrays("models")[f"{model}/names"]))
    unused = re.compile(r".*num_batches_tracked|T\.albert\.pooler\..*")
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items() if not unused.fullmatch(name)}


def baseline_state_dict(model: str, modalities: str = "tav") -> dict[str, np.ndarray]:
    """The weights of `lf_rnn` or `lf_transformer` with some of the modalities, under their torch names."""
    shapes = json.loads(str(arrays("baselines")[f"{model}/names"]))
    fusion = shapes.pop("weighted_fusion.weight")
    used = {name: shape for name, shape in shapes.items() if name.split(".")[1] in modalities}
    if len(modalities) > 1:
        used["weighted_fusion.weight"] = [fusion[0], len(modalities)]
    return {name: weight(name, tuple(shape)) for name, shape in used.items()}


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A tensor as a function of its torch name; numpy keeps RandomState's streams as they are."""
    draw = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)

    def uniform(bound):
        return draw.uniform(-bound, bound, shape)

    if name.endswith("running_mean"):
        value = 0.1 * draw.standard_normal(shape)
    elif name.endswith("running_var"):
        value = draw.uniform(0.5, 1.5, shape)
    elif name.endswith(("bias", "in_proj_bias")) or ".bias_" in name:
        value = uniform(0.05)
    elif len(shape) == 1 and _NORM.search(name):
        value = draw.uniform(0.8, 1.2, shape)
    elif name == "weighted_fusion.weight":
        value = draw.uniform(0.2, 0.6, shape)
    elif name.endswith("attn_weight_affine.weight"):
        value = 3.0 * draw.standard_normal(shape) / np.sqrt(shape[-1])
    elif name.endswith("cls_emb.weight"):
        value = draw.standard_normal(shape)
    elif name.endswith("_embeddings.weight"):
        value = 0.05 * draw.standard_normal(shape)
    elif len(shape) == 4 and shape[:2] == (9, 1):
        value = uniform(np.sqrt(6.0 / (9 * shape[2])))
    elif len(shape) == 4:
        value = uniform(np.sqrt(6.0 / np.prod(shape[1:])))
    else:
        value = uniform(np.sqrt(3.0 / np.prod(shape[1:])))
    return value.astype(np.float32)
