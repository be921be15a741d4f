"""Exports the prediction function of a model as StableHLO.

The program runs on one device, so its arrays have no axis of device groups. Weights are its arguments, not constants in
it: they are stored in a standard format, the program stays small enough to be inspected, and it runs with any weights
of the same shapes. All sizes of a batch are symbolic: one program serves any of them; each shape is compiled once.

The sparse stages compute as in evaluation: only at active sites, if the run does so. They use the loop over blocks of
rows on every platform: the choice among a few numbers of rows, which a GPU makes otherwise, needs known sizes.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from mme2e_jax.batch import AnyBatch, Batch, FeatureBatch
from mme2e_jax.export.signature import SIZES, Input, feature_inputs, letters, media_inputs
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import Spec, Variables

PLATFORMS = ("cpu", "cuda")


def model_inputs(spec: Spec) -> dict[str, Input]:
    """Returns the inputs of a model by name."""
    if isinstance(spec, ModelSpec):
        return media_inputs(spec.modalities)
    return feature_inputs(spec.modalities, spec.feature_sizes)


def prediction_function(spec: Spec, threshold: float) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Any]:
    """Returns the function `(weights by name, batch by name) -> {"logits": ..., "contributions": ...}`."""
    abstract, order = model_variables.abstract_variables(spec), model_variables.fusion_order(spec)

    def predict(weights: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
        variables = abstract.with_arrays(weights)
        outputs, _ = model_variables.apply(
            variables, _grouped(spec, batch), train=False, threshold=threshold, seed=None
        )
        # A model of one modality has no fusion.
        shares = dict(zip(order, variables.arrays().get("fusion", (1.0,)), strict=True))
        added = {m: logits[0] * shares[m] for m, logits in outputs.by_modality.items()}
        return {"logits": outputs.logits[0], "contributions": added}

    return predict


def _grouped(spec: Spec, batch: Mapping[str, Any]) -> AnyBatch:
    """Adds the axis of device groups, and fills the fields that models do not read with None."""
    kind = Batch if isinstance(spec, ModelSpec) else FeatureBatch
    count = next(x for name, x in batch.items() if name.endswith("_count"))
    # Only dropout reads the utterance numbers.
    example = jnp.zeros_like(count)
    known = {name: x[None] for name, x in batch.items()} | {"example": example[None]}
    return kind(**{name: known.get(name) for name in kind._fields})


def export_program(spec: Spec, variables: Variables, threshold: float) -> export.Exported:
    """Exports the prediction function of a model; of `variables`, only shapes and dtypes count."""
    inputs = model_inputs(spec)
    used = letters(inputs.values())
    limits = [f"{letter} <= {SIZES[letter].at_most}" for letter in used if SIZES[letter].at_most is not None]
    sizes = dict(zip(used, export.symbolic_shape(", ".join(used), constraints=limits), strict=True))
    batch = {
        name: jax.ShapeDtypeStruct([sizes[s] if isinstance(s, str) else s for s in one.shape], np.dtype(one.dtype))
        for name, one in inputs.items()
    }
    weights = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in variables.arrays().items()}
    with _without_source_paths():
        return export.export(jax.jit(prediction_function(spec, threshold)), platforms=PLATFORMS)(weights, batch)


@contextlib.contextmanager
def _without_source_paths() -> Iterator[None]:
    """Keeps paths of this machine out of the program, so that the same model gives the same bytes."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)
