"""Where parameters start."""

import numpy as np
import pytest

from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.initialization import initial_values
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import initial_variables

SPEC = ModelSpec("tav", True, 6, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.1)


def test_initial_values_depend_on_the_seed_and_the_name_alone():
    a, b, c = (initial_variables(SPEC, seed).arrays() for seed in (0, 0, 1))
    for path in a:
        np.testing.assert_array_equal(a[path], b[path])
    assert not np.array_equal(a["towers/v/head/out/kernel"], c["towers/v/head/out/kernel"])
    assert not np.array_equal(a["towers/v/blocks/0/kernel2"], a["towers/a/blocks/0/kernel2"])


def test_initial_values_are_in_the_range_that_torch_draws_from():
    arrays = initial_variables(SPEC, 0).arrays()
    kernel, bias = arrays["sequences/v/layers/0/down/kernel"], arrays["sequences/v/layers/0/down/bias"]
    bound = 2048**-0.5
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert 0 < np.abs(bias).max() <= bound
    np.testing.assert_array_equal(arrays["towers/a/low_level/norm/var"], 1.0)
    np.testing.assert_allclose(arrays["fusion"], 1 / 3)
    assert arrays["text/word"].std() == pytest.approx(0.02, rel=0.1)


def test_a_parameter_without_a_rule_is_refused_by_name():
    with pytest.raises(ValueError, match="new/thing"):
        initial_values({"new/thing": (3,)}, 0)
