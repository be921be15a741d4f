"""Reads collective operations and fusions of a compiled program from its HLO."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

# Example: "%all-reduce.7 = f32[4]{0} all-reduce(...)", or with a tuple of shapes.
_COLLECTIVE = re.compile(r"= (.+?) (all-\w+|collective-\w+|reduce-scatter|ragged-\w+)(?:-start)?\(")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
# Examples: "%region_3.10_spmd (param: f32[4]) -> f32[4] {", "ENTRY %main.7 ...".
_HEADER = re.compile(r"(ENTRY )?%([\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(body|condition|calls|to_apply|branch_computations|true_computation|false_computation)=(\{[^}]*\}|%[\w.\-]+)"
)
_FUSED = re.compile(r" fusion\(.*?calls=%([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


class Collective(NamedTuple):
    """One operation of all devices together."""

    kind: str  # for example "all-reduce"
    arrays: tuple[tuple[str, tuple[int, ...]], ...]  # dtype and shape of its results on every device
    times: int  # executions per run of the program

    @property
    def bytes(self) -> int:
        """Size of the arrays, for one execution."""
        return sum(_bits(dtype) * math.prod(shape) // 8 for dtype, shape in self.arrays)


def _bits(dtype: str) -> int:
    """Bits of a number of type bf16, s32, f8e4m3fn and so on; pred is a byte."""
    named = re.match(r"[a-z]+(\d+)", dtype)
    return int(named[1]) if named else 8


def collectives(text: str) -> list[Collective]:
    """Lists all collective operations of a compiled program.

    An operation in a loop counts once per iteration. All branches of a conditional count, although only one runs.

    Args:
      text: HLO from `jax.stages.Compiled.as_text`.

    Raises:
      ValueError: if an operation is in a loop of unknown length, or the text has no entry.
    """
    bodies, entry = _computations(text)
    found: dict[str, list[Collective]] = {}

    def within(name: str) -> list[Collective]:
        if name not in found:
            found[name] = [c for line in bodies.get(name, ()) for c in _of_line(line)]
        return found[name]

    def _of_line(line: str) -> Iterator[Collective]:
        own = _COLLECTIVE.search(line)
        if own:
            arrays = ((dtype, tuple(int(n) for n in dims.split(",") if n)) for dtype, dims in _ARRAY.findall(own[1]))
            yield Collective(own[2], tuple(arrays), 1)
            return
        for role, names in _CALLED.findall(line):
            for called in re.findall(r"%([\w.\-]+)", names):
                for collective in within(called):
                    yield collective._replace(times=collective.times * (_trips(line) if role == "body" else 1))

    return within(entry)


def distinct_fusions(text: str) -> int:
    """Number of fusions that differ in more than names. XLA's CPU compiler compiles equal ones once."""
    bodies, _ = _computations(text)

    def content(name: str) -> str:
        names: dict[str, str] = {}
        lines = []
        for line in bodies[name]:
            line = re.sub(r", metadata=\{[^}]*\}|, backend_config=.*|/\*index=\d+\*/", "", line)
            line = re.sub(r"(?:calls|to_apply)=%([\w.\-]+)", lambda called: f"<{content(called[1])}>", line)
            lines.append(re.sub(r"%[\w.\-]+", lambda found: names.setdefault(found[0], str(len(names))), line))
        return "\n".join(lines)

    return len({content(name) for name in _FUSED.findall(text)})


def _trips(line: str) -> int:
    known = _TRIPS.search(line)
    if known is None:
        raise ValueError(f"found a collective operation in a loop of unknown length: {line.strip()[:200]}")
    return int(known[1])


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation by name, and the name of the entry computation."""
    bodies: dict[str, list[str]] = {}
    entry, lines = None, []
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            lines = bodies[header[2]] = []
            entry = header[2] if header[1] else entry
        else:
            lines.append(line)
    if entry is None:
        raise ValueError("expected the HLO of a compiled program, found no ENTRY")
    return bodies, entry
