"""Pytrees by name: "towers/v/low_level/conv/kernel" for a leaf."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.tree_util import GetAttrKey


def paths(tree: Any) -> Any:
    """A tree of the same structure that holds each leaf's name."""

    def name(path, _):
        # The array inside an nnx variable is its attribute `value`; a module's child of that name has another key type.
        keys = [k for k in path if not (isinstance(k, GetAttrKey) and k.name == "value")]
        return "/".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in keys)

    return jax.tree_util.tree_map_with_path(name, tree)


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves by name."""
    return dict(zip(jax.tree.leaves(paths(tree)), jax.tree.leaves(tree), strict=True))


def unflatten(like: Any, leaves: Mapping[str, Any]) -> Any:
    """A tree structured as `like` from leaves by name."""
    return jax.tree.map(lambda path: leaves[path], paths(like))
