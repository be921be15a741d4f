"""Maps weights of the dense model to the sparse model.

With all sites active, the mapped model computes the dense model's logits in evaluation up to rounding. Sparse
convolutions have no bias: the running mean absorbs it. Their normalisation adds 1e-4 to the variance, not 1e-5: the
running variance absorbs the difference, unless it is smaller than that. In training, batch statistics replace the
running ones: the bias cancels except at the edge of an image, and the two constants differ.
"""

import re
from collections.abc import Mapping

import numpy as np

# Of the towers' upper blocks; all other arrays have the same path and value in both models.
_BLOCK = r"(towers/./blocks/\d/)"
_KERNEL, _BIAS = re.compile(_BLOCK + r"conv([12])/kernel"), re.compile(_BLOCK + r"conv([12])/bias")
_MEAN, _VAR = re.compile(_BLOCK + r"norm([12])/mean"), re.compile(_BLOCK + r"norm([12])/var")
_ADDED_TO_VARIANCE = 1e-4 - 1e-5
SCORES = re.compile(r"towers/./scores/.*")  # arrays of the sparse model that the dense one does not have


def is_dense(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether arrays by path are those of a dense end-to-end model with a tower."""
    return any(map(_BIAS.fullmatch, arrays))


def sparse_from_dense(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A dense model's arrays by the sparse model's paths, without scores; unknown paths stay, for a later check."""
    result = {}
    for path, x in arrays.items():
        if found := _KERNEL.fullmatch(path):
            result[f"{found[1]}kernel{found[2]}"] = x
        elif found := _MEAN.fullmatch(path):
            bias = arrays.get(f"{found[1]}conv{found[2]}/bias")
            result[path] = x if bias is None or bias.shape != x.shape else x - bias
        elif _VAR.fullmatch(path):
            result[path] = np.maximum(x - np.float32(_ADDED_TO_VARIANCE), 0)
        elif not _BIAS.fullmatch(path):
            result[path] = x
    return result
