"""Leaves of pytrees by name."""

import jax.numpy as jnp
from flax import nnx

from mme2e_jax.runtime import pytree


def test_leaves_have_the_names_of_their_paths_and_come_back() -> None:
    tree = {"towers": {"v": [1, 2]}, "fusion": 3}

    leaves = pytree.flatten(tree)

    assert leaves == {"towers/v/0": 1, "towers/v/1": 2, "fusion": 3}
    assert pytree.unflatten(tree, {name: -leaf for name, leaf in leaves.items()}) == {
        "towers": {"v": [-1, -2]},
        "fusion": -3,
    }


def test_the_array_inside_a_variable_has_the_variables_name() -> None:
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)

    assert {name: leaf.shape for name, leaf in pytree.flatten(state).items()} == {"bias": (3,), "kernel": (2, 3)}
    zeros = pytree.unflatten(state, {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3))})
    assert not any(leaf.any() for leaf in pytree.flatten(zeros).values())
