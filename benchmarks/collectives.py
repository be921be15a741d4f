"""Counts what devices send in a training step and estimates the efficiency.

    python -m benchmarks.collectives --json=FILE

Compiles the step of the paper-size models, without running it, for 1, 8 and 64 simulated devices with 8 utterances of
CMU-MOSEI's mean length each. Sums the bytes of every kind of collective operation in the compiled HLO; an operation in
a loop counts once per iteration. Then computes the time of the sums in a ring: each device sends and receives
2 (n - 1) / n of the bytes at the speed of the slowest link, after a fixed time per operation. The expected efficiency
is the time of the step on one device over that time plus the time of the ring, if nothing overlaps. Step times,
bandwidths and latencies are assumptions given as flags: nothing is measured on an accelerator.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from absl import app, flags
from rich.console import Console
from rich.table import Table

from benchmarks import paper_size
from benchmarks.hlo import collectives

_MODELS = flags.DEFINE_list("models", ["dense", "sparse"], "Models: dense, sparse.")
_DEVICES = flags.DEFINE_list("devices", ["1", "8", "64"], "Numbers of devices.")
_TEXT_LENGTH = flags.DEFINE_integer("text_length", 24, "Tokens per utterance.", lower_bound=4)
_STEP_MS = flags.DEFINE_list("step_ms", ["25", "100"], "Assumed times of a step on one device.")
_PER_HOST = flags.DEFINE_integer("per_host", 8, "Devices per host.", lower_bound=1)
_LINK_GB = flags.DEFINE_float("link_gb", 450.0, "Assumed GB/s per direction between devices of one host.")
_NETWORK_GBIT = flags.DEFINE_float("network_gbit", 100.0, "Assumed Gbit/s per direction of a host.")
_LINK_US = flags.DEFINE_float("link_us", 20.0, "Assumed fixed microseconds per operation within a host.")
_NETWORK_US = flags.DEFINE_float("network_us", 60.0, "Assumed fixed microseconds per operation across hosts.")
_JSON = flags.DEFINE_string("json", None, "Also write the rows to this file.")
_OVERRIDES = flags.DEFINE_multi_string("override", [], "Config override for every row, for example model.width=0.25.")


class Link(NamedTuple):
    """The slowest connection of a ring."""

    bytes_per_second: float
    seconds_per_operation: float


def ring_seconds(operations: int, sent: int, devices: int, link: Link) -> float:
    """Seconds that consecutive sums over devices take.

    Args:
      operations: number of sums.
      sent: bytes of all arrays that are summed.
      devices: devices in the ring.
      link: connection between neighbours.
    """
    if devices == 1:
        return 0.0
    return operations * link.seconds_per_operation + 2 * (devices - 1) / devices * sent / link.bytes_per_second


def efficiency(step_seconds: float, communication_seconds: float) -> float:
    """Share of the time that the step takes, if nothing overlaps."""
    return step_seconds / (step_seconds + communication_seconds)


def measured(model: str, devices: int, text_length: int, overrides: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts the collective operations of a step; the process must have that many devices.

    Returns:
      By kind of operation, the `operations` and `bytes` of a step.
    """
    given = [f"mesh.devices={devices}", f"data.batch_size={paper_size.UTTERANCES * devices}", *overrides]
    compiled = paper_size.compiled_step(paper_size.experiment(model, given), text_length)
    found: dict[str, dict[str, int]] = {}
    for c in collectives(str(compiled.as_text())):
        sums = found.setdefault(c.kind, {"operations": 0, "bytes": 0})
        sums["operations"] += c.times
        sums["bytes"] += c.times * c.bytes
    return found


def _row(model: str, devices: int) -> dict:
    print(f"compiling {model} for {devices} devices ...", file=sys.stderr)
    # JAX reads this when a process first asks for its devices.
    os.environ |= {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as processes:
        arguments = (model, devices, _TEXT_LENGTH.value, list(_OVERRIDES.value))
        kinds = processes.submit(measured, *arguments).result()
    within = devices <= _PER_HOST.value
    link = Link(
        _LINK_GB.value * 1e9 if within else _NETWORK_GBIT.value * 1e9 / 8,
        (_LINK_US.value if within else _NETWORK_US.value) * 1e-6,
    )
    operations, sent = (sum(sums[what] for sums in kinds.values()) for what in ("operations", "bytes"))
    seconds = ring_seconds(operations, sent, devices, link)
    return {
        "model": model,
        "devices": devices,
        "kinds": kinds,
        "link": link._asdict(),
        "ring_ms": seconds * 1e3,
        "efficiency": {ms: efficiency(float(ms) * 1e-3, seconds) for ms in _STEP_MS.value},
    }


def main(argv: list[str]) -> None:
    """Compiles every variant and prints the table."""
    del argv
    rows = [_row(model, int(devices)) for model in _MODELS.value for devices in _DEVICES.value]
    table = Table(title="Collective operations of a step")
    for heading in ("model", "devices", "kind", "operations", "MB"):
        table.add_column(heading, justify="left" if heading in ("model", "kind") else "right")
    for row in rows:
        for kind, sums in row["kinds"].items() or (("none", {"operations": 0, "bytes": 0}),):
            figures = (str(sums["operations"]), f"{sums['bytes'] / 1e6:.1f}")
            table.add_row(row["model"], str(row["devices"]), kind, *figures)
    expected = Table(title="Expected with rings, if nothing overlaps")
    for heading in ("model", "devices", "ring ms", *(f"efficiency at {ms} ms" for ms in _STEP_MS.value)):
        expected.add_column(heading, justify="left" if heading == "model" else "right")
    for row in rows:
        shares = (f"{row['efficiency'][ms]:.2f}" for ms in _STEP_MS.value)
        expected.add_row(row["model"], str(row["devices"]), f"{row['ring_ms']:.1f}", *shares)
    console = Console(width=110)
    console.print(table, expected)
    console.print(
        f"Assumed, not measured: steps of {', '.join(_STEP_MS.value)} ms on one device; up to {_PER_HOST.value} "
        f"devices {_LINK_GB.value:g} GB/s and {_LINK_US.value:g} us per operation, for more devices "
        f"{_NETWORK_GBIT.value:g} Gbit/s and {_NETWORK_US.value:g} us."
    )
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
