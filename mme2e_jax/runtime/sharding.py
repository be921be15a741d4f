"""Which array lies where: the one file that names a mesh axis.

Batches are split along their first axis, one device group each; everything else is replicated.
"""

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
    """`f(*split, *replicated)`, each device on its own share of `split`, so that no work of `f` crosses devices.

    For code that the compiler would not divide well by itself, such as loops. Outside `DataMesh.active`, or on one
    device, plainly `f`.

    Args:
      f: of arrays; what it returns has the leading axis of `split`.
      split: arrays whose leading axis is divided among the devices.
      replicated: arrays, or trees of them, that every device holds whole; their gradient is summed over devices once.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return f(*split, *replicated)
    specs = (PartitionSpec(_AXIS),) * len(split) + (PartitionSpec(),) * len(replicated)
    # Without types of what varies over devices: rules of custom gradients do not state them.
    return jax.shard_map(f, in_specs=specs, out_specs=PartitionSpec(_AXIS), check_vma=False)(*split, *replicated)


class DataMesh:
    """Devices side by side, each with a share of every batch."""

    def __init__(self, devices: int):
        """Takes the first ones.

        Args:
          devices: over all processes, at most as many as JAX finds.

        Raises:
          UserError: if a process would have none of them.
        """
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
        """How many there are."""
        return len(self._devices)

    @property
    def local_groups(self) -> slice:
        """The device groups whose data this process reads."""
        mine = [i for i, d in enumerate(self._devices) if d.process_index == jax.process_index()]
        return slice(mine[0], mine[-1] + 1)

    def active(self) -> AbstractContextManager:
        """A context in which `per_device` divides work among these devices; compile and call steps within it."""
        return jax.set_mesh(self._mesh)

    def put_batch(self, batch: T) -> T:
        """This process's part of a batch, numpy arrays with a leading axis of device groups, onto the devices."""
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(self.split, x), batch)

    def put_replicated(self, tree: Any) -> Any:
        """Arrays that every device holds whole."""
        return jax.device_put(tree, self.replicated)

    def abstract(self, tree: Any) -> Any:
        """Shapes and dtypes as arrays that every device holds whole."""
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=self.replicated), tree)

    def gather(self, tree: Any) -> Any:
        """Arrays that lie split over the devices, whole, as numpy arrays on every process."""
        return jax.device_get(self._replicate(tree))
