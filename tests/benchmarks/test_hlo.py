"""Collective operations are read from HLO with their bytes and repetitions, and fusions are counted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from benchmarks.collectives import Link, efficiency, measured, ring_seconds
from benchmarks.hlo import Collective, collectives, distinct_fusions

HLO = """HloModule jit_f, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%body.1 (param: (s32[], bf16[2,3])) -> (s32[], bf16[2,3]) {
  %all-reduce.2 = (bf16[2,3]{1,0}, /*index=1*/f32[]) all-reduce(%a, %b), channel_id=1, to_apply=%add
}

%branch (param: s32[4]) -> s32[4] {
  ROOT %gather = s32[4]{0} all-gather(%param), dimensions={0}
}

ENTRY %main.7 (p: f32[5]) -> f32[5] {
  %all-reduce.9 = f32[5]{0} all-reduce(%p), channel_id=2, to_apply=%add
  %while.1 = (s32[], bf16[2,3]) while(%t), condition=%cond, body=%body.1, backend_config={"known_trip_count":{"n":"12"}}
  ROOT %c = s32[4] conditional(%i, %x, %y), branch_computations={%branch, %other}
}
"""


def test_shapes_bytes_and_repetitions() -> None:
    first, second, third = collectives(HLO)

    assert first == Collective("all-reduce", (("f32", (5,)),), 1)
    assert second == Collective("all-reduce", (("bf16", (2, 3)), ("f32", ())), 12)
    assert third == Collective("all-gather", (("s32", (4,)),), 1)
    assert [first.bytes, second.bytes, third.bytes] == [20, 2 * 6 + 4, 16]


def test_a_collective_in_a_loop_of_unknown_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="loop of unknown length"):
        collectives(HLO.replace("known_trip_count", "unknown"))
    nothing_sent = HLO.replace("known_trip_count", "unknown").replace("body=%body.1", "body=%add")
    assert len(collectives(nothing_sent)) == 2


def test_text_without_a_program_is_an_error() -> None:
    with pytest.raises(ValueError, match="found no ENTRY"):
        collectives("nothing")


def test_a_program_of_this_compiler_is_read() -> None:
    mesh = Mesh(np.array(jax.devices()[:4]), ("data",))

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec("data"), check_vma=False)
    def program(x):
        def body(carry, _):
            return carry + jax.lax.psum(jnp.sin(carry), "data"), None

        repeated, _ = jax.lax.scan(body, x, length=7)
        return repeated * jax.lax.psum(jnp.sum(x), "data")

    text = program.lower(jax.ShapeDtypeStruct((4, 3), jnp.float32)).compile().as_text()

    assert sorted((c.kind, c.bytes, c.times) for c in collectives(str(text))) == [
        ("all-reduce", 4, 1),
        ("all-reduce", 12, 7),
    ]


def test_time_of_a_ring_and_efficiency() -> None:
    link = Link(bytes_per_second=1e9, seconds_per_operation=1e-3)

    # Four operations of 1 ms; 3/4 of the bytes twice, 1.5 GB, at 1 GB/s.
    assert ring_seconds(4, 10**9, 4, link) == pytest.approx(0.004 + 1.5)
    assert ring_seconds(4, 10**9, 1, link) == 0.0
    assert efficiency(1.0, 0.25) == 0.8


def test_a_step_sums_gradients_over_devices_and_nothing_on_one_device() -> None:
    small = ["model.width=0.0625", "model.text.size=tiny", "model.modalities=t"]

    assert measured("dense", 1, 8, small) == {}
    found = measured("dense", 2, 8, small)
    assert set(found) == {"all-reduce"}
    sums = found["all-reduce"]
    # At least the word embeddings.
    assert sums["bytes"] > 30_000 * 4


def test_fusions_that_differ_in_names_alone_count_once() -> None:
    fusion = """
%%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %%sum.%(n)d = f32[] add(%%x, %%y)
}

%%fused_computation.%(n)d (p.%(n)d: f32[4]) -> f32[] {
  %%p.%(n)d = f32[4]{0} parameter(0)
  ROOT %%r = f32[] reduce(%%p.%(n)d), to_apply=%%add, metadata={op_name="%(n)d"}
}
"""
    entry = """
ENTRY %main (a: f32[4]) -> f32[] {
  %f.1 = f32[] fusion(%a), kind=kLoop, calls=%fused_computation.1, metadata={op_name="x"}
  ROOT %f.2 = f32[] fusion(%a), kind=kLoop, calls=%fused_computation.2
}
"""
    texts = [fusion % {"n": n} for n in (1, 2)]

    assert distinct_fusions(texts[0] + texts[1] + entry) == 1
    assert distinct_fusions(texts[0] + texts[1].replace("f32[4]", "f32[5]") + entry) == 2
