"""The hand-written gradient against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme2e_jax.models import convolution
from mme2e_jax.models.convolution import convolve, kernel_gradient
from tests.helpers.closeness import assert_close


def reference(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def drawn(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_a_single_tap_moves_the_image():
    x = jnp.arange(6.0).reshape(1, 2, 3, 1)
    kernel = jnp.zeros((3, 3, 1, 1)).at[1, 0].set(1.0)  # what lies to the left
    np.testing.assert_array_equal(convolve(x, kernel)[0, ..., 0], [[0, 0, 1], [0, 3, 4]])


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.sampled_from([(4, 4), (3, 7), (1, 1), (32, 40)]), st.sampled_from([1, 3, 5]))
def test_values_and_gradients_are_those_of_a_convolution(images, size, k):
    x, kernel = drawn((images, *size, 3), 0), drawn((k, k, 3, 4), 1)
    weight = drawn((images, *size, 4), 2)

    def run(f):
        return jax.value_and_grad(lambda x, kernel: jnp.sum(weight * jnp.tanh(f(x, kernel))), (0, 1))(x, kernel)

    # The value is one sum of terms of both signs, so that its scale is that of its terms and not its own.
    (value, found), (value_wanted, wanted) = run(convolve), run(reference)
    assert abs(value - value_wanted) <= 1e-5 * np.abs(weight).sum()
    jax.tree.map(assert_close, found, wanted)


@pytest.mark.parametrize("images", [1, 7, 8, 9])
def test_blocks_that_are_not_full_change_nothing(images, monkeypatch):
    monkeypatch.setattr(convolution, "BLOCK_POSITIONS", 4 * 4 * 4)
    x, kernel, g = drawn((images, 4, 4, 2), 0), drawn((3, 3, 2, 5), 1), drawn((images, 4, 4, 5), 2)
    wanted = jax.vjp(lambda kernel: reference(x, kernel), kernel)[1](g)[0]
    assert_close(kernel_gradient(x, g, 3), wanted)


def test_sums_of_bfloat16_are_float32():
    # 4096 ones: bfloat16 stops counting at 256.
    ones = jnp.ones((64, 8, 8, 1), jnp.bfloat16)
    assert kernel_gradient(ones, ones, 1).item() == 4096.0


def test_on_cpu_the_gradient_runs_over_blocks():
    x, kernel = drawn((2, 4, 4, 2), 0), drawn((3, 3, 2, 5), 1)
    assert "scan" in str(jax.make_jaxpr(jax.grad(lambda k: convolve(x, k).sum()))(kernel))
