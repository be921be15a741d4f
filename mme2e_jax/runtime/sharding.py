"""Shards arrays over devices; no other file names a mesh axis."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mme2e_jax.errors import UserError

T = TypeVar("T")
_AXIS = "data"


def per_device(f: Callable, split: Sequence[Any], replicated: Sequence[Any]) -> Any:
    """`f(*split, *replicated)` with each device on its own part of `split`, without communication.

    For code that the compiler would not partition well, such as loops. Outside `DataMesh.active`, or on one device,
    calls `f` directly. The leading axes of `split` and of the results are split over the devices. Every device holds
    `replicated` arrays, or trees of them, whole; their gradient is summed over devices once.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return f(*split, *replicated)
    specs = (PartitionSpec(_AXIS),) * len(split) + (PartitionSpec(),) * len(replicated)
    # Rules of custom gradients do not state which types vary over devices.
    return jax.shard_map(f, in_specs=specs, out_specs=PartitionSpec(_AXIS), check_vma=False)(*split, *replicated)


class DataMesh:
    """The devices of a run: each holds one device group of every batch, and all other arrays."""

    def __init__(self, devices: int):
        """Takes the first `devices` of all processes; raises `UserError` if a process would have none of them."""
        self._devices = jax.devices()[:devices]
        idle = set(range(jax.process_count())) - {d.process_index for d in self._devices}
        if idle:
            raise UserError(
                f"{devices} of {jax.device_count()} devices are in use, so that processes {sorted(idle)} of "
                f"{jax.process_count()} have none. Start fewer processes, or choose a config.data.batch_size that more "
                "devices divide."
            )
        self._mesh = Mesh(np.array(self._devices), (_AXIS,))
        self.replicated = NamedSharding(self._mesh, PartitionSpec())
        self.split = NamedSharding(self._mesh, PartitionSpec(_AXIS))
        self._replicate = jax.jit(lambda tree: tree, out_shardings=self.replicated)

    @property
    def devices(self) -> int:
        """Number of devices."""
        return len(self._devices)

    @property
    def local_groups(self) -> slice:
        """The device groups of this process."""
        mine = [i for i, d in enumerate(self._devices) if d.process_index == jax.process_index()]
        return slice(mine[0], mine[-1] + 1)

    def active(self) -> AbstractContextManager:
        """A context in which `per_device` uses these devices; compile and call steps within it."""
        return jax.set_mesh(self._mesh)

    def put_batch(self, batch: T) -> T:
        """Puts this process's part of a batch, numpy arrays `[g, ...]`, on the devices."""
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self.split, x), batch)

    def put_replicated(self, tree: Any) -> Any:
        """Puts arrays on every device whole."""
        return jax.device_put(tree, self.replicated)

    def abstract(self, tree: Any) -> Any:
        """Shapes and dtypes with the sharding of replicated arrays."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated), tree)

    def abstract_batch(self, batch: T) -> T:
        """Shapes and dtypes of a batch of all processes, `[g, ...]`, with the sharding of `put_batch`."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.split), batch)

    def gather(self, tree: Any) -> Any:
        """Gathers arrays that are split over the devices, as whole numpy arrays on every process."""
        return jax.device_get(self._replicate(tree))
