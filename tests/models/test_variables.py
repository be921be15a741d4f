"""Structures of one model."""

import dataclasses

import jax

from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import abstract_variables, structures

SPARSE = ModelSpec(
    modalities="tv",
    sparse=True,
    labels=6,
    vocabulary=50,
    text=SIZES["tiny"],
    width=0.0625,
    trans_dim=8,
    trans_layers=1,
    trans_heads=1,
    dropout=0.0,
    rows_threshold=0.5,
)


def shapes(spec: ModelSpec):
    return jax.tree.map(lambda x: x.shape, abstract_variables(spec).arrays())


def test_above_the_threshold_that_rows_are_made_for_a_model_works_with_masks() -> None:
    masks = dataclasses.replace(SPARSE, rows_threshold=0.0)
    at = structures(SPARSE)
    assert at(0.3) == at(0.5) == abstract_variables(SPARSE).graphdef
    assert at(0.51) == at(1.0) == abstract_variables(masks).graphdef != at(0.5)
    assert shapes(masks) == shapes(SPARSE)


def test_models_without_rows_have_one_structure() -> None:
    for spec in (dataclasses.replace(SPARSE, sparse=False), dataclasses.replace(SPARSE, rows_threshold=0.0)):
        at = structures(spec)
        assert at(0.1) == at(1.0) == abstract_variables(spec).graphdef
