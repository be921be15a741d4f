"""Warm start: copies the parts of chosen modalities from another model.

The other model is the best checkpoint of a run, a shared model, or a state dict of the paper's code. Batch
statistics are copied too. A dense model of the first two kinds can start a sparse one, whose scores keep their initial
values.
"""

import re
from pathlib import Path

from mme2e_jax.checkpoints.hub import open_model
from mme2e_jax.errors import UserError
from mme2e_jax.models.mme2e import MODALITIES, ModelSpec
from mme2e_jax.models.variables import Spec, Variables
from mme2e_jax.pickles import torch_file
from mme2e_jax.runtime.console import console
from mme2e_jax.weights import dense_weights, paper_weights
from mme2e_jax.weights.torch_weights import Rule, convert, paper_rules

_FUSION = "fusion"
_PART = re.compile(r"(?:(text)|\w+/([tav]))/.*")


def warm_start(variables: Variables, spec: Spec, checkpoint: str, modalities: str) -> Variables:
    """Variables with the parts of chosen modalities from another model: a directory or a state dict.

    The fusion weights are copied too if all of the model's modalities are chosen and the checkpoint fuses as many.
    Raises `UserError` with all parameters that are missing, unknown or of another shape.
    """
    arrays = variables.arrays()
    if Path(checkpoint).is_dir():
        checkpoints, step = open_model(checkpoint)
        offered = checkpoints.restore_arrays(step)
        kept = ()
        if isinstance(spec, ModelSpec) and spec.sparse and dense_weights.is_dense(offered):
            offered, kept = dense_weights.sparse_from_dense(offered), filter(dense_weights.SCORES.fullmatch, arrays)
        rules = {path: Rule(path) for path in arrays.keys() - set(kept)}
        belongs = {path: _modality_of(path) for path in offered}
    else:
        offered, _ = paper_weights.drop_unused(torch_file.read(checkpoint), spec)
        rules = paper_rules(spec)
        belongs = {name: paper_weights.modality_of(name) for name in offered}
    _check_modalities(set(modalities), set(spec.modalities), set(belongs.values()) - {None}, checkpoint)

    chosen = {name: rule for name, rule in rules.items() if _modality_of(rule.path) in set(modalities)}
    tensors = {name: x for name, x in offered.items() if belongs[name] in set(modalities)}
    if set(spec.modalities) <= set(modalities):
        fusion = {name: rule for name, rule in rules.items() if rule.path == _FUSION and name in offered}
        fusion = {name: rule for name, rule in fusion.items() if offered[name].size == arrays[_FUSION].size}
        chosen |= fusion
        tensors |= {name: offered[name] for name in fusion}
    loaded = convert(tensors, chosen, checkpoint, {path: x.shape for path, x in arrays.items()})
    parts = ", ".join(m for m in MODALITIES if m in modalities) + (" and their fusion" if _FUSION in loaded else "")
    console.print(f"Starting with {parts} of {checkpoint}")
    return variables.with_arrays(arrays | loaded)


def start_from_teacher(variables: Variables, spec: Spec, run: str) -> Variables:
    """A sparse model's initial variables with the weights of a dense run, its directory; the scores stay as they are.

    Raises `UserError` if it is not the run of a dense model, or with all weights that do not fit.
    """
    checkpoints, step = open_model(run)
    found = checkpoints.read_record(step).config.get("model", {}).get("name")
    if found != "mme2e":
        raise UserError(
            f"config.init.teacher: expected a run of the dense model mme2e, found {found} in {run}. Name a run with "
            "config.model.name=mme2e, or start from this one with --config.init.checkpoint."
        )
    return warm_start(variables, spec, run, spec.modalities)


def _modality_of(path: str) -> str | None:
    """The modality that one of our parameters belongs to; None for the fusion."""
    found = _PART.fullmatch(path)
    return ("t" if found[1] else found[2]) if found else None


def _check_modalities(chosen: set[str], model: set[str], offered: set[str | None], checkpoint: str) -> None:
    lacking = {"the model (config.model.modalities)": (model, chosen - model)}
    lacking |= {checkpoint: (offered, chosen - offered)}
    problems = [
        f"{what} has no {', '.join(sorted(absent))}, it has {', '.join(sorted(map(str, have))) or 'none'}"
        for what, (have, absent) in lacking.items()
        if absent
    ]
    if problems:
        raise UserError(
            f"config.init.modalities: expected modalities that the model and the checkpoint both have, found "
            f"{''.join(sorted(chosen))!r}: {'; '.join(problems)}."
        )
