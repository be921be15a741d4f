"""Flattens pytrees to leaves by path, as in "towers/v/low_level/conv/kernel"."""

from collections.abc import Mapping
from typing import Any

import jax
from jax.tree_util import GetAttrKey


def paths(tree: Any) -> Any:
    """A tree of the same structure that holds each leaf's path."""

    def name(path, _):
        # An nnx variable holds its array as attribute `value`; a module's child of that name has another key type.
        keys = [k for k in path if not (isinstance(k, GetAttrKey) and k.name == "value")]
        return "/".join(str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in keys)

    return jax.tree_util.tree_map_with_path(name, tree)


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves by path."""
    return dict(zip(jax.tree.leaves(paths(tree)), jax.tree.leaves(tree), strict=True))


def unflatten(like: Any, leaves: Mapping[str, Any]) -> Any:
    """A tree with the structure of `like` from leaves by path."""
    return jax.tree.map(lambda path: leaves[path], paths(like))
