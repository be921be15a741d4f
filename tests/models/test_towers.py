"""Scores that learn, against finite differences, and selections other than the paper's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mme2e_jax.models import initialization
from mme2e_jax.models.sparse import PAPER_RULE, Selection
from mme2e_jax.models.towers import SparseTower
from mme2e_jax.models.variables import Variables
from mme2e_jax.runtime import pytree
from tests.helpers.closeness import assert_close

IMAGES, SIZE, THRESHOLD = 3, 16, 0.6


@functools.cache
def tower(renormalize: bool, rows_threshold: float = 1.0, selection: Selection = PAPER_RULE) -> Variables:
    def make():
        module = SparseTower(
            (SIZE, SIZE, 3),
            5,
            6,
            0.0625,
            renormalize=renormalize,
            rows_threshold=rows_threshold,
            selection=selection,
            rngs=nnx.Rngs(0),
        )
        return Variables(*nnx.split(module, nnx.Param, nnx.BatchStat))

    abstract = jax.eval_shape(make)
    # Under the paths of a whole model, by which the rules draw.
    drawn = initialization.initial_values(
        {f"towers/v/{path}": leaf.shape for path, leaf in abstract.arrays().items()}, 0
    )
    drawn = {path.removeprefix("towers/v/"): value for path, value in drawn.items()}
    for path in drawn:
        if path.startswith("scores/") and "kernel" in path:
            drawn[path] = drawn[path] * 3  # peaky attention: scores matter
    return abstract.with_arrays(drawn)


def run(variables: Variables, params):
    rng = np.random.default_rng(0)
    dtype = jax.tree.leaves(params)[0].dtype
    x = jnp.asarray(rng.normal(size=(IMAGES, SIZE, SIZE, 3)), dtype)
    text = jnp.asarray(rng.normal(size=(1, 2, 6)), dtype)
    model = nnx.merge(variables.graphdef, params, variables.batch_stats, copy=True)
    valid, utterance = jnp.array([True, True, False]), jnp.array([[0, 1, 1]])
    vectors, stages = model(x, valid, text, utterance, THRESHOLD, train=True)
    weight = jnp.asarray(rng.normal(size=vectors.shape), dtype) * valid[:, None]
    return jnp.sum(weight * jnp.tanh(vectors)), stages


def float64(variables: Variables) -> Variables:
    return variables.with_arrays({k: jnp.asarray(v, jnp.float64) for k, v in variables.arrays().items()})


def score_gradients(renormalize: bool, of=lambda value, stages: value) -> dict[str, np.ndarray]:
    variables = float64(tower(renormalize))
    gradient = jax.jit(jax.grad(lambda params: of(*run(variables, params))))(variables.params)
    return {k: np.asarray(g) for k, g in pytree.flatten(gradient).items() if k.startswith("scores/")}


def test_scores_that_only_select_get_no_gradient():
    with jax.enable_x64(True):
        gradients = score_gradients(renormalize=False)
    assert len(gradients) == 3 * 5
    assert not any(g.any() for g in gradients.values())


def test_every_score_parameter_but_the_last_bias_learns_and_agrees_with_finite_differences():
    with jax.enable_x64(True):
        variables = float64(tower(True))
        gradients = score_gradients(renormalize=True)
        value = jax.jit(lambda params: run(variables, params))
        arrays, checked = pytree.flatten(variables.params), 0
        kept = [s.kept for s in value(variables.params)[1]]
        for path, gradient in gradients.items():
            if path.endswith("score/bias"):
                # Softmax does not see what is added to all scores alike.
                np.testing.assert_allclose(gradient, 0.0, atol=1e-12)
                continue
            assert np.abs(gradient).max() > 1e-6, path
            index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
            step, ends = 1e-6, []
            for sign in (1, -1):
                moved = arrays | {path: arrays[path].at[index].add(sign * step)}
                end, stages = value(pytree.unflatten(variables.params, moved))
                # Where the kept set changes, the loss jumps.
                assert all(np.array_equal(a, b.kept) for a, b in zip(kept, stages, strict=True))
                ends.append(float(end))
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(gradient[index]), rel=1e-4), path
            checked += 1
    assert checked == 3 * 4


def test_the_penalty_on_spread_attention_reaches_the_scores_without_multipliers_too():
    def spread(_, stages):
        return sum(stage.spread for stage in stages)

    with jax.enable_x64(True):
        gradients = score_gradients(renormalize=False, of=spread)
    assert all(g.any() for path, g in gradients.items() if not path.endswith("score/bias"))


def test_uniform_scores_make_both_ways_equal():
    values = []
    for renormalize in (False, True):
        variables = tower(renormalize)
        flat = {k: v * 0 if k.startswith("scores/") else v for k, v in variables.arrays().items()}
        even = variables.with_arrays(flat)
        values.append(jax.jit(lambda params, even=even: run(even, params)[0])(even.params))
    assert float(values[0]) == pytest.approx(float(values[1]), rel=1e-5)


SELECTIONS = [Selection("share", 4, once=True), Selection("share"), Selection("mass", 4)]


@pytest.mark.parametrize(
    "selection", [SELECTIONS[0], *(pytest.param(s, marks=pytest.mark.slow) for s in SELECTIONS[1:])]
)
def test_rows_and_masks_agree_for_every_selection(selection):
    found = []
    # In float64, where gradients that are 0 but for rounding stay below the tolerance.
    with jax.enable_x64(True):
        for rows_threshold in (THRESHOLD, 0.0):
            variables = float64(tower(True, rows_threshold, selection))
            step = jax.jit(jax.value_and_grad(lambda params, v=variables: run(v, params), has_aux=True))
            (value, stages), gradient = step(variables.params)
            limits = selection.limits([(8, 8), (4, 4), (2, 2)], THRESHOLD)
            counts = np.array([stage.kept.sum((1, 2)) for stage in stages])
            assert (counts.max(1) <= limits).all()
            assert selection.rule == "mass" or (counts[0] == limits[0]).all()
            # The third image is padding, of which rows compute nothing.
            found.append(([value, *(stage.output[:2] for stage in stages)], jax.tree.leaves(gradient)))
    (outputs, gradients), (wanted, wanted_gradients) = found
    for by_rows, masked in zip(outputs, wanted, strict=True):
        assert_close(by_rows, masked, 1e-9)
    largest = max(np.abs(g).max() for g in wanted_gradients)
    for by_rows, masked in zip(gradients, wanted_gradients, strict=True):
        assert np.abs(by_rows - masked).max() <= 1e-9 * largest


def test_a_tower_that_selects_once_has_one_score_and_keeps_the_same_regions_in_all_stages():
    variables = tower(False, selection=Selection("share", 4, once=True))
    assert {path.split("/")[1] for path in variables.arrays() if path.startswith("scores/")} == {"0"}
    stages = jax.jit(lambda params: run(variables, params)[1])(variables.params)
    first, second, third = (np.asarray(stage.kept) for stage in stages)
    np.testing.assert_array_equal(first[:, ::2, ::2], second)
    np.testing.assert_array_equal(second[:, ::2, ::2], third)
