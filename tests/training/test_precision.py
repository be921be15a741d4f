"""Which computations use bfloat16."""

import functools
import importlib
from pathlib import Path
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import TrainState, abstract_variables
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.training.losses import make_loss
from mme2e_jax.training.optimizer import learning_rate, optimizer
from mme2e_jax.training.step import make_train_step
from tests.helpers.steps import run_steps
from tests.helpers.synthetic import shrink
from tests.models.test_mme2e import packed

LABELS = 6
both = pytest.mark.parametrize("sparse", [False, True])


@functools.cache
def abstract_step(sparse: bool, dtype: str):
    """A training step as a program, and the state after it as shapes."""
    spec = ModelSpec("tav", sparse, LABELS, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.2, renormalize=sparse, dtype=dtype)
    tx = optimizer("adam", learning_rate(1e-3, "constant", 1), text_lr_factor=1.0, weight_decay=0.0, clip=1.0)
    step = make_train_step(tx, make_loss("bce", np.ones(LABELS)), seed=0, attention_entropy=0.1 if sparse else 0.0)
    state = jax.eval_shape(lambda v: TrainState(jnp.int32(0), v, tx.init(v.params)), abstract_variables(spec))
    # No axis of the batch is as long as there are labels.
    batch = packed([[0, 1, 2, 3, -1]], frames=7, chunks=5)
    jaxpr, (after, metrics) = jax.make_jaxpr(step, return_shape=True)(state, batch, jnp.float32(0.6))
    return list(equations(jaxpr.jaxpr)), after, metrics


def equations(jaxpr):
    """All equations of a program, those of its parts too."""
    for equation in jaxpr.eqns:
        yield equation
        for part in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: isinstance(p, jax.extend.core.ClosedJaxpr)
        ):
            if isinstance(part, jax.extend.core.ClosedJaxpr):
                yield from equations(part.jaxpr)
            elif isinstance(part, jax.extend.core.Jaxpr):
                yield from equations(part)


def operand_dtypes(program: Any, primitive: str) -> list[set[str]]:
    return [{str(v.aval.dtype) for v in e.invars} for e in program if e.primitive.name == primitive]


@both
def test_convolutions_and_products_of_the_encoders_take_bfloat16(sparse: bool) -> None:
    program, _, _ = abstract_step(sparse, "bfloat16")

    convolutions = operand_dtypes(program, "conv_general_dilated")
    assert len(convolutions) > 10
    assert all(dtypes == {"bfloat16"} for dtypes in convolutions)
    products = [e for e in program if e.primitive.name == "dot_general"]
    wide = [e for e in products if {v.aval.dtype for v in e.invars} != {jnp.dtype("bfloat16")}]
    assert len(products) - len(wide) > 20
    # Heads and fusion alone: they have labels for rows or columns.
    assert wide
    assert all(any(LABELS in v.aval.shape for v in e.invars) for e in wide)


@both
def test_softmaxes_and_normalisation_are_computed_in_float32(sparse: bool) -> None:
    program, _, _ = abstract_step(sparse, "bfloat16")

    # The entropy of attention is what takes logarithms.
    for primitive in ("exp", "rsqrt", *(["log"] if sparse else [])):
        found = operand_dtypes(program, primitive)
        assert found
        assert all(dtypes == {"float32"} for dtypes in found), primitive


@both
def test_what_is_learned_stays_in_float32(sparse: bool) -> None:
    _, after, metrics = abstract_step(sparse, "bfloat16")

    state_dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves((after.variables, after.optimizer))}
    assert state_dtypes == {"float32", "int32"}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(after.variables)} == {"float32"}
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(metrics)} == {"float32"}


@both
def test_nothing_is_bfloat16_where_it_is_not_asked_for(sparse: bool) -> None:
    program, _, _ = abstract_step(sparse, "float32")

    assert not [e for e in program if any(str(v.aval.dtype) == "bfloat16" for v in e.outvars)]


def losses(config: Any, records: Path, dtype: str) -> list[float]:
    config.model.dtype = dtype
    return run_steps(config, open_dataset(records), steps=4).losses


@pytest.mark.slow
@pytest.mark.parametrize(("name", "modalities"), [("mini_dense", "v"), ("mini_sparse", "tv")])
def test_training_in_bfloat16_follows_training_in_float32(name: str, modalities: str, records: Path) -> None:
    config = shrink(importlib.import_module(f"configs.{name}").get_config(), records)
    config.model.modalities = modalities

    exact, rounded = (losses(config, records, dtype) for dtype in ("float32", "bfloat16"))

    np.testing.assert_allclose(rounded, exact, atol=2e-2)
    assert rounded != exact


def test_the_config_reaches_the_model() -> None:
    config = importlib.import_module("configs.mini_dense").get_config()
    config.model.dtype, config.model.remat = "bfloat16", True

    spec = model_spec(parse_config(config), LABELS, {"vocab_size": 50})

    assert isinstance(spec, ModelSpec)
    assert (spec.dtype, spec.remat) == ("bfloat16", True)
