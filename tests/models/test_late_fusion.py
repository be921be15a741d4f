"""The baselines: padding, missing modalities, dropout, modalities."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from mme2e_jax.batch import FeatureBatch
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.dropout import step_seed
from mme2e_jax.models.late_fusion import LateFusionSpec, TransformerSpec
from mme2e_jax.models.recurrent import RecurrentSpec
from mme2e_jax.models.variables import Variables, abstract_variables, initial_variables
from mme2e_jax.training.losses import make_loss
from tests.helpers.closeness import assert_close

SIZES = (8, 6, 4)
ENCODERS = {
    "lf_rnn": RecurrentSpec("lstm", layers=2, hidden_size=0, bidirectional=True),
    "lf_rnn_gru": RecurrentSpec("gru", layers=1, hidden_size=5, bidirectional=False),
    "lf_transformer": TransformerSpec(layers=1, heads=(2, 3, 1)),
}
# Rows of text, audio and video.
LENGTHS = ((5, 4, 2), (3, 0, 6), (7, 2, 0), (0, 1, 1))
# One group of five; what differs from it in a test is in two groups of three with longer padding: two shapes in all.
ALL = [[0, 1, 2, 3, -1]]
every_model = pytest.mark.parametrize("name", list(ENCODERS))


def spec(name: str, parity_padding: bool = False) -> LateFusionSpec:
    return LateFusionSpec("tav", 6, SIZES, ENCODERS[name], parity_padding, dropout=0.2)


def batch_of(groups: list[list[int]], capacity: int = 7, fill: float = 0.0) -> FeatureBatch:
    """Utterances by number, -1 for padding rows, into groups; `fill` is what padding holds."""
    g, b = len(groups), len(groups[0])
    arrays = [np.full((g, b, capacity, d), fill, np.float32) for d in SIZES]
    counts = [np.zeros((g, b), np.int32) for _ in SIZES]
    labels = np.zeros((g, b, 6), np.float32)
    for i, members in enumerate(groups):
        for j, n in enumerate(members):
            if n < 0:
                continue
            rng = np.random.default_rng(n)
            for array, count, length, d in zip(arrays, counts, LENGTHS[n], SIZES, strict=True):
                array[i, j, :length] = rng.standard_normal((length, d))
                count[i, j] = length
            labels[i, j] = rng.random(6) < 0.4
    (text, audio, video), (text_count, audio_count, video_count) = arrays, counts
    example = np.array(groups, np.int32)
    return FeatureBatch(text, text_count, audio, audio_count, video, video_count, labels, example)


@functools.cache
def compiled(name: str, train: bool, parity_padding: bool = False):
    def run(v, b, run_seed=0):
        return model_variables.apply(v, b, train=train, threshold=1.0, seed=step_seed(run_seed, 3) if train else None)[
            0
        ]

    return initial_variables(spec(name, parity_padding), 0), jax.jit(run)


@functools.cache
def gradients(name: str):
    variables = initial_variables(spec(name), 0)

    def loss(params, b):
        v = Variables(variables.graphdef, params, variables.batch_stats)
        outputs, _ = model_variables.apply(v, b, train=True, threshold=1.0, seed=step_seed(0, 3))
        return make_loss("bce", np.ones(6, np.float32))(outputs.logits, b.labels, b.example >= 0)

    return variables, jax.jit(jax.value_and_grad(loss))


def by_utterance(outputs, batch: FeatureBatch) -> dict[int, np.ndarray]:
    rows = zip(batch.example.reshape(-1), np.asarray(outputs.logits).reshape(-1, 6), strict=True)
    return {int(n): row for n, row in rows if n >= 0}


@every_model
def test_neither_order_nor_grouping_nor_padding_changes_an_utterances_logits(name):
    # With dropout, which is a function of the utterance.
    variables, run = compiled(name, True)
    one = batch_of(ALL)
    other = batch_of([[3, 1, -1], [0, -1, 2]], capacity=9, fill=np.nan)
    a, b = (by_utterance(run(variables, x), x) for x in (one, other))
    assert set(a) == set(b) == {0, 1, 2, 3}
    for n in a:
        assert_close(b[n], a[n], err_msg=f"utterance {n}")


@every_model
def test_a_batch_gives_what_each_utterance_alone_gives(name):
    variables, run = compiled(name, False)
    together = by_utterance(run(variables, batch_of(ALL)), batch_of(ALL))
    for n in range(len(LENGTHS)):
        alone = batch_of([[n, -1, -1, -1, -1]], fill=np.nan)
        assert_close(by_utterance(run(variables, alone), alone)[n], together[n])


@every_model
def test_padding_as_in_the_paper_code_depends_on_the_longest_of_all_groups_and_on_nothing_else(name):
    variables, run = compiled(name, False, parity_padding=True)
    one, dirty = batch_of([[0, 1, 2, -1, -1]]), batch_of([[0, 1, -1], [2, -1, -1]], capacity=9, fill=np.nan)
    a, b = (by_utterance(run(variables, x), x) for x in (one, dirty))
    for n in a:
        assert_close(b[n], a[n])
    # Utterance 0 has 5 rows of text; beside utterance 2 it is padded to 7.
    alone = batch_of([[0, -1, -1, -1, -1]])
    assert not np.allclose(by_utterance(run(variables, alone), alone)[0], a[0], atol=1e-4)


@every_model
def test_padding_that_holds_nan_changes_no_gradient(name):
    variables, step = gradients(name)
    clean, dirty = batch_of(ALL), batch_of(ALL, fill=np.nan)
    found = zip(
        jax.tree.leaves(step(variables.params, clean)), jax.tree.leaves(step(variables.params, dirty)), strict=True
    )
    for a, b in found:
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()


@every_model
@pytest.mark.parametrize("parity_padding", [True, False])
def test_a_missing_modality_says_nothing(name, parity_padding):
    variables, run = compiled(name, False, parity_padding)
    outputs = run(variables, batch_of(ALL))
    for m, n in (("a", 1), ("v", 2), ("t", 3)):
        np.testing.assert_array_equal(outputs.by_modality[m][0, n], 0.0)
        assert np.count_nonzero(outputs.by_modality[m][0, 0]) == 6
    assert outputs.stages == {}


@every_model
def test_a_batch_of_padding_alone_is_finite(name):
    variables, step = gradients(name)
    loss, gradient = step(variables.params, batch_of([[-1] * 5]))
    assert float(loss) == 0.0
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(gradient))


@pytest.mark.parametrize("name", ["lf_rnn", "lf_transformer"])
def test_dropout_is_a_function_of_the_seed(name):
    variables, run = compiled(name, True)
    batch = batch_of(ALL)
    a, again, b = (run(variables, batch, run_seed).logits for run_seed in (0, 0, 1))
    np.testing.assert_array_equal(a, again)
    assert not np.allclose(a, b)


@pytest.mark.parametrize("modalities", ["", "x", "tt"])
def test_modalities_that_make_no_model_are_refused(modalities):
    with pytest.raises(ValueError, match="modalities"):
        abstract_variables(dataclasses.replace(spec("lf_rnn"), modalities=modalities))


def test_fusion_stacks_text_audio_video_in_whatever_order_they_are_given():
    _, run = compiled("lf_rnn_gru", False)
    variables = initial_variables(dataclasses.replace(spec("lf_rnn_gru"), modalities="vat"), 0)
    variables = variables.with_arrays(variables.arrays() | {"fusion": np.array([1.0, 10.0, 100.0], np.float32)})
    outputs = run(variables, batch_of(ALL))
    t, a, v = (outputs.by_modality[m] for m in "tav")
    np.testing.assert_allclose(outputs.logits, t + 10 * a + 100 * v, rtol=1e-5)


@pytest.mark.parametrize("modalities", ["t", "a", "v", "ta", "tv", "av"])
@every_model
def test_every_subset_of_modalities_is_a_model(name, modalities):
    variables = abstract_variables(dataclasses.replace(spec(name), modalities=modalities))
    outputs = jax.eval_shape(
        lambda v, b: model_variables.apply(v, b, train=False, threshold=1.0, seed=None)[0],
        variables,
        batch_of([[0, 1]]),
    )
    assert outputs.logits.shape == (1, 2, 6)
    assert set(outputs.by_modality) == set(modalities)
    assert ("fusion" in variables.arrays()) == (len(modalities) > 1)


def test_hidden_layers_are_half_as_wide_as_what_they_read():
    arrays = abstract_variables(spec("lf_rnn")).arrays()
    shapes = {path: x.shape for path, x in arrays.items() if path.startswith("heads/") and path.endswith("kernel")}
    assert shapes["heads/t/hidden/kernel"] == (16, 8)
    assert shapes["heads/a/hidden/kernel"] == (12, 6)
    assert shapes["heads/v/out/kernel"] == (4, 6)
    assert abstract_variables(spec("lf_rnn_gru")).arrays()["heads/t/hidden/kernel"].shape == (5, 2)
