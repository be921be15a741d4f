"""Starts training from the weights of chosen modalities of another model.

Batch statistics are taken too.

The other model is a run of ours, of which the best checkpoint counts, or a state dict of the paper's code.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mme2e_jax.checkpoints.reader import open_run
from mme2e_jax.errors import UserError
from mme2e_jax.models.mme2e import MODALITIES
from mme2e_jax.models.variables import Spec, Variables
from mme2e_jax.pickles import torch_file
from mme2e_jax.runtime.console import console
from mme2e_jax.weights import paper_weights
from mme2e_jax.weights.torch_weights import Rule, Rules, convert, paper_rules

_FUSION = "fusion"
_PART = re.compile(r"(?:(text)|\w+/([tav]))/.*")


def with_parts(variables: Variables, spec: Spec, checkpoint: str, modalities: str) -> Variables:
    """Variables that have the parts of chosen modalities from a checkpoint.

    The fusion's weights come along if all of the model's modalities are chosen and the checkpoint fuses as many.

    Args:
      variables: the start of training.
      spec: of their model.
      checkpoint: directory of a run, or file with a state dict of the paper's code.
      modalities: subset of "tav".

    Raises:
      UserError: listing all that is missing, does not fit, or is more than the model has.
    """
    arrays = variables.arrays()
    if Path(checkpoint).is_dir():
        offered = _best_variables(checkpoint)
        rules = {path: Rule(path, lambda x: x) for path in arrays}
        belongs = {path: _modality_of(path) for path in offered}
    else:
        offered, _ = paper_weights.without_unused(torch_file.read(checkpoint), spec)
        rules = paper_rules(spec)
        belongs = {name: paper_weights.modality_of(name) for name in offered}
    _check_modalities(set(modalities), set(spec.modalities), set(belongs.values()) - {None}, checkpoint)

    chosen = {name: rule for name, rule in rules.items() if _modality_of(rule.path) in set(modalities)}
    tensors = {name: x for name, x in offered.items() if belongs[name] in set(modalities)}
    if set(spec.modalities) <= set(modalities):
        fusion = _fusion(rules, offered, arrays)
        chosen |= fusion
        tensors |= {name: offered[name] for name in fusion}
    loaded = convert(tensors, chosen, checkpoint, {path: x.shape for path, x in arrays.items()})
    parts = ", ".join(m for m in MODALITIES if m in modalities) + (" and their fusion" if _FUSION in loaded else "")
    console.print(f"Starting with {parts} of {checkpoint}")
    return variables.with_arrays(arrays | loaded)


def _best_variables(workdir: str) -> dict[str, np.ndarray]:
    checkpoints, step = open_run(workdir)
    return checkpoints.restore_arrays(step)


def _modality_of(path: str) -> str | None:
    """The modality whose part one of our parameters is; None for the fusion."""
    found = _PART.fullmatch(path)
    return ("t" if found[1] else found[2]) if found else None


def _fusion(rules: Rules, offered: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> Rules:
    return {
        name: rule
        for name, rule in rules.items()
        if rule.path == _FUSION and name in offered and offered[name].size == arrays[_FUSION].size
    }


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
