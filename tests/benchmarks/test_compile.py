"""The figures of a compiled program are those of its texts."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.compile import figures, traced


def test_sizes_are_those_of_the_programs_texts() -> None:
    def trace() -> jax.stages.Traced:
        return jax.jit(lambda x: jnp.sin(x) * 2 + 1).trace(jax.ShapeDtypeStruct((8,), jnp.float32))

    found = figures(trace)

    lowered = trace().lower()
    assert found["stablehlo_lines"] == len(lowered.as_text().splitlines())
    # In the fusion: parameter, two constants, two broadcasts, sine, product, sum. Not the tables of source files.
    assert 8 <= found["hlo_instructions"] <= 12
    assert found["fusions"] == 1
    assert found["trace_cpu_seconds"] > 0
    assert found["compile_cpu_seconds"] > 0


@pytest.mark.parametrize("step", [pytest.param("train", marks=pytest.mark.slow), "eval"])
def test_the_three_programs_differ(step: str) -> None:
    small = ["model.modalities=tv", "model.trans_layers=1"]
    texts = {program: traced(program, step, small).lower().as_text() for program in ("dense", "rows", "masked")}

    # Batches have 8 utterances of 14 frames; submanifold convolutions gather rows, all others take images.
    assert all("tensor<1x112x48x48x3xui8>" in text for text in texts.values())
    convolutions = {program: text.count("stablehlo.convolution") for program, text in texts.items()}
    assert convolutions["rows"] < convolutions["masked"] == convolutions["dense"]
