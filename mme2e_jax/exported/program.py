"""A model as a program: the pure prediction function, exported as StableHLO for any number of utterances.

Axis legend: `b` utterances, `t` tokens, `f` packed frames, `c` packed mel chunks, `n`, `m`, `k` rows of text, audio and
video features, `l` labels. There is no axis of device groups: the program runs on one device.

Weights are arguments of the program, not constants in it: constants would double the file (the program keeps them for
each platform it was lowered to), could not be told from code, and a program could not run with other weights of the
same shapes. All sizes of a batch are symbolic, so that one program serves any of them; each shape is compiled once.

The sparse stages compute as in evaluation, at active sites only where the run does. Their loop over blocks of rows is
taken on every platform: what a GPU chooses from otherwise, a few numbers of rows, has no meaning for symbolic sizes.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from mme2e_jax import state
from mme2e_jax.batch import AnyBatch, Batch, FeatureBatch
from mme2e_jax.conventions import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.models.albert import POSITIONS
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.state import Spec, Variables

PLATFORMS = ("cpu", "cuda")

_SIZES = {
    "b": "utterances",
    "t": "tokens that texts are padded to",
    "f": "frames of all utterances, and padding",
    "c": f"mel chunks (of {CHUNK_FRAMES} mel frames) of all utterances, and padding",
    "n": "rows that text features are padded to",
    "m": "rows that audio features are padded to",
    "k": "rows that video features are padded to",
}
# Where models end: other sizes do not.
_MOST = {"t": POSITIONS}


class Input(NamedTuple):
    """One array of a batch."""

    shape: tuple[str | int, ...]  # letters of the legend stand for any number above 0
    dtype: str
    meaning: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"shape": list(self.shape), "dtype": self.dtype, "meaning": self.meaning}


_MEDIA = {
    "t": {
        "token_ids": Input(("b", "t"), "int32", "token numbers, [CLS] first; what lies behind token_count is padding"),
        "token_count": Input(("b",), "int32", "tokens of each utterance"),
    },
    "v": {
        "faces": Input(
            ("f", FACE_SIZE, FACE_SIZE, 3),
            "uint8",
            "RGB face crops of the first utterance, of the second, and so on, end to end; then padding",
        ),
        "frame_count": Input(("b",), "int32", "face crops of each utterance, may be 0"),
    },
    "a": {
        "mel": Input(
            ("c", MEL_BANDS, CHUNK_FRAMES), "float32", "mel power spectrograms in chunks, end to end as the faces are"
        ),
        "chunk_count": Input(("b",), "int32", "mel chunks of each utterance, may be 0"),
    },
}
_OUTPUTS = {
    "logits": "float32 [b, labels]",
    "contributions": "by modality (t, v, a), float32 [b, labels]: what it adds to the logits, which are their sum",
}


def inputs_of(spec: Spec) -> dict[str, Input]:
    """The arrays of a batch that a model reads."""
    if isinstance(spec, ModelSpec):
        return {name: one for m, arrays in _MEDIA.items() if m in spec.modalities for name, one in arrays.items()}
    arrays = {}
    for m, name, rows, size in zip("tav", ("text", "audio", "video"), "nmk", spec.feature_sizes, strict=True):
        if m in spec.modalities:
            what = f"rows of {name} features; what lies behind {name}_count is padding"
            arrays[name] = Input(("b", rows, size), "float32", what)
            arrays[f"{name}_count"] = Input(("b",), "int32", f"rows of each utterance's {name}, may be 0")
    return arrays


def signature(spec: Spec) -> dict[str, Any]:
    """What the manifest says of the program's batch and results."""
    inputs = inputs_of(spec)
    letters = {size for one in inputs.values() for size in one.shape if isinstance(size, str)}
    return {
        "dimensions": {
            letter: {"meaning": _SIZES[letter], "at_least": 1, "at_most": _MOST.get(letter)}
            for letter in sorted(letters)
        },
        "inputs": {name: one.to_json() for name, one in inputs.items()},
        "outputs": _OUTPUTS,
    }


def prediction_function(spec: Spec, threshold: float) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """The function `(weights by name, batch by name) -> {"logits": ..., "contributions": ...}`.

    Args:
      spec: of the model.
      threshold: of its sparse attention.
    """
    abstract, order = state.abstract_variables(spec), state.fusion_order(spec)

    def predict(weights: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
        variables = abstract.with_arrays(weights)
        outputs, _ = state.apply(variables, _grouped(spec, batch), train=False, threshold=threshold, seed=None)
        # A model of one modality has no fusion.
        shares = dict(zip(order, variables.arrays().get("fusion", (1.0,)), strict=True))
        added = {m: logits[0] * shares[m] for m, logits in outputs.by_modality.items()}
        return {"logits": outputs.logits[0], "contributions": added}

    return predict


def _grouped(spec: Spec, batch: Mapping[str, Any]) -> AnyBatch:
    """The batch as models take it: one group, and nothing of what they do not look at."""
    kind = Batch if isinstance(spec, ModelSpec) else FeatureBatch
    count = next(x for name, x in batch.items() if name.endswith("_count"))
    # All that names utterances is for dropout.
    example = jnp.zeros_like(count)
    known = {name: x[None] for name, x in batch.items()} | {"example": example[None]}
    return kind(**{name: known.get(name) for name in kind._fields})


def export_program(spec: Spec, variables: Variables, threshold: float) -> export.Exported:
    """Exports the prediction function of a model.

    Args:
      spec: of the model.
      variables: its arrays, or their shapes and dtypes.
      threshold: of the sparse attention.
    """
    inputs = inputs_of(spec)
    letters = sorted({size for one in inputs.values() for size in one.shape if isinstance(size, str)})
    limits = [f"{letter} <= {most}" for letter, most in _MOST.items() if letter in letters]
    sizes = dict(zip(letters, export.symbolic_shape(", ".join(letters), constraints=limits), strict=True))
    batch = {
        name: jax.ShapeDtypeStruct([sizes[s] if isinstance(s, str) else s for s in one.shape], np.dtype(one.dtype))
        for name, one in inputs.items()
    }
    weights = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in variables.arrays().items()}
    with _without_source_paths():
        return export.export(jax.jit(prediction_function(spec, threshold)), platforms=PLATFORMS)(weights, batch)


@contextlib.contextmanager
def _without_source_paths() -> Iterator[None]:
    """Keeps out of the program where on this machine its source lies, so that the same model gives the same bytes."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)
