"""Pytrees by name: "towers/v/low_level/conv/kernel" for a leaf."""

from collections.abc import Mapping
from typing import Any

import jax


def paths(tree: Any) -> Any:
    """A tree of the same structure that holds each leaf's name."""

    def name(path, _):
        keys = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path]
        # The array inside an nnx variable adds a key of its own, which says nothing.
        return "/".join(k for k in keys if k != "value")

    return jax.tree_util.tree_map_with_path(name, tree)


def flatten(tree: Any) -> dict[str, Any]:
    """Leaves by name."""
    return dict(zip(jax.tree.leaves(paths(tree)), jax.tree.leaves(tree), strict=True))


def unflatten(like: Any, leaves: Mapping[str, Any]) -> Any:
    """A tree structured as `like` from leaves by name."""
    return jax.tree.map(lambda path: leaves[path], paths(like))
