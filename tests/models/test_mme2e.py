"""The whole model: packing, padding, missing modalities, dropout, modalities."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.batch import Batch, segments
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.dropout import step_seed
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.training.losses import make_loss
from tests.helpers.closeness import assert_close, float64

SPEC = ModelSpec("tav", True, 6, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.2)
TOKENS = (5, 3, 8, 2)
FRAMES = (2, 0, 1, 3)
CHUNKS = (1, 2, 0, 2)


def utterances() -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {
            "ids": rng.integers(0, 50, t).astype(np.int32),
            "faces": rng.integers(0, 255, (f, 48, 48, 3)).astype(np.uint8),
            "mel": rng.random((c, 128, 32)).astype(np.float32),
            "label": (rng.random(6) < 0.4).astype(np.float32),
        }
        for t, f, c in zip(TOKENS, FRAMES, CHUNKS, strict=True)
    ]


def packed(groups: list[list[int]], frames=7, chunks=6, tokens=10, fill=0.0) -> Batch:
    """Utterances by number, -1 for padding rows, into groups; `fill` is what padding holds."""
    every = utterances()
    g, b = len(groups), len(groups[0])
    batch = Batch(
        token_ids=np.full((g, b, tokens), 49, np.int32),
        token_count=np.zeros((g, b), np.int32),
        faces=np.full((g, frames, 48, 48, 3), 255, np.uint8),
        frame_count=np.zeros((g, b), np.int32),
        mel=np.full((g, chunks, 128, 32), fill, np.float32),
        chunk_count=np.zeros((g, b), np.int32),
        labels=np.zeros((g, b, 6), np.float32),
        example=np.array(groups, np.int32),
    )
    for i, members in enumerate(groups):
        f = c = 0
        for j, n in enumerate(members):
            if n < 0:
                continue
            u = every[n]
            batch.token_ids[i, j, : len(u["ids"])] = u["ids"]
            batch.token_count[i, j] = len(u["ids"])
            batch.faces[i, f : f + len(u["faces"])] = u["faces"]
            batch.mel[i, c : c + len(u["mel"])] = u["mel"]
            batch.frame_count[i, j], batch.chunk_count[i, j] = len(u["faces"]), len(u["mel"])
            batch.labels[i, j] = u["label"]
            f, c = f + len(u["faces"]), c + len(u["mel"])
    return batch


# In two groups of three, in another order and grouping, and the same with other padding: two shapes in all.
ONE = [[0, 1, 2], [3, -1, -1]]
AGAIN = [[3, 1, -1], [0, -1, 2]]
OTHER = {"frames": 5, "chunks": 8, "tokens": 16}


@functools.cache
def compiled(sparse: bool, train: bool):
    """Variables, and the model as a function of them, a batch and the seed of the run.

    In float64: in float32 rounding decides whether a site at the edge of the threshold is kept.
    """
    spec = dataclasses.replace(SPEC, sparse=sparse)

    @jax.jit
    def apply(v, b, run_seed):
        seed = step_seed(run_seed, 3) if train else None
        return model_variables.apply(v, b, train=train, threshold=0.6, seed=seed)

    def run(v, b, run_seed=0):
        with jax.enable_x64(True):
            return apply(float64(v), float64(b), run_seed)

    return initial_variables(spec, 0), run


@functools.cache
def gradients():
    """Variables of the sparse model, and loss, outputs, statistics and gradient as a function like `compiled`'s.

    The outputs in training come from here, so that no program is made for them alone.
    """

    def loss(params, v, b, run_seed):
        v = model_variables.Variables(v.graphdef, params, v.batch_stats)
        outputs, stats = model_variables.apply(v, b, train=True, threshold=0.6, seed=step_seed(run_seed, 3))
        return make_loss("bce", np.ones(6))(outputs.logits, b.labels, b.example >= 0), (outputs, stats)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def run(v, b, run_seed=0):
        with jax.enable_x64(True):
            v = float64(v)
            (value, (outputs, stats)), gradient = step(v.params, v, float64(b), run_seed)
        return value, outputs, stats, gradient

    return initial_variables(SPEC, 0), run


def training_outputs(batch: Batch, run_seed: int = 0):
    variables, run = gradients()
    return run(variables, batch, run_seed)[1]


def logits_by_utterance(outputs, batch: Batch) -> dict[int, np.ndarray]:
    rows = zip(batch.example.reshape(-1), np.asarray(outputs.logits).reshape(-1, 6), strict=True)
    return {int(n): row for n, row in rows if n >= 0}


def assert_same_logits(a: dict[int, np.ndarray], b: dict[int, np.ndarray]) -> None:
    assert set(a) == set(b) == {0, 1, 2, 3}
    for n in a:
        # Weights moved by 1e-7 change the logits by 6e-7 at most: float64's rounding comes to 1e-15.
        assert_close(b[n], a[n], 1e-12, err_msg=f"utterance {n}")


def test_neither_order_nor_grouping_nor_content_of_padding_changes_an_utterances_logits():
    one, again = packed(ONE), packed(AGAIN, fill=np.nan)
    assert_same_logits(*(logits_by_utterance(training_outputs(batch), batch) for batch in (one, again)))


@pytest.mark.slow
@pytest.mark.parametrize(("sparse", "train"), [(True, True), (False, True), (True, False)])
def test_the_sizes_of_padding_change_no_utterances_logits(sparse, train):
    variables, run = compiled(sparse, train)
    one, other = packed(ONE), packed(AGAIN, fill=np.nan, **OTHER)
    assert_same_logits(*(logits_by_utterance(run(variables, batch)[0], batch) for batch in (one, other)))


def test_padding_that_holds_nan_changes_no_gradient_and_no_statistic():
    variables, step = gradients()
    clean, dirty = (step(variables, packed(ONE, fill=fill)) for fill in (0.0, np.nan))
    for found, wanted in ((dirty[0], clean[0]), (dirty[3], clean[3]), (dirty[2], clean[2])):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.isfinite(a).all()


def test_a_missing_modality_says_nothing():
    outputs = training_outputs(packed(ONE))
    np.testing.assert_array_equal(outputs.by_modality["v"][0, 1], 0.0)
    np.testing.assert_array_equal(outputs.by_modality["a"][0, 2], 0.0)
    assert np.count_nonzero(outputs.by_modality["v"][0, 0]) == 6


def test_a_batch_of_padding_alone_is_finite():
    variables, step = gradients()
    loss, _, _, gradient = step(variables, packed([[-1] * 3] * 2))
    assert float(loss) == 0.0
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(gradient))


def test_dropout_is_a_function_of_the_seed():
    a, again, b = (training_outputs(packed(ONE), run_seed).logits for run_seed in (0, 0, 1))
    np.testing.assert_array_equal(a, again)
    assert not np.allclose(a, b)


def test_the_scores_of_attention_get_no_gradient():
    variables, step = gradients()
    _, _, _, gradient = step(variables, packed(ONE))
    for path, value in model_variables.Variables(variables.graphdef, gradient, variables.batch_stats).arrays().items():
        if "/scores/" in path:
            np.testing.assert_array_equal(value, 0.0, err_msg=path)


@pytest.mark.parametrize(("modalities", "sparse"), [("", False), ("x", False), ("tt", False), ("av", True)])
def test_modalities_that_make_no_model_are_refused(modalities, sparse):
    with pytest.raises(ValueError, match="modalities"):
        model_variables.abstract_variables(dataclasses.replace(SPEC, modalities=modalities, sparse=sparse))


@pytest.mark.parametrize("modalities", ["t", "a", "v", "ta", "tv", "av"])
def test_every_subset_of_modalities_is_a_dense_model(modalities):
    spec = dataclasses.replace(SPEC, modalities=modalities, sparse=False)
    variables = model_variables.abstract_variables(spec)
    outputs = jax.eval_shape(
        lambda v, b: model_variables.apply(v, b, train=False, threshold=1.0, seed=None)[0], variables, packed([[0, 1]])
    )
    assert outputs.logits.shape == (1, 2, 6)
    assert set(outputs.by_modality) == set(modalities)
    assert ("fusion" in variables.arrays()) == (len(modalities) > 1)


def test_segments_name_utterance_place_and_padding():
    found = segments(jnp.array([[2, 0, 1], [0, 3, 0]]), 4)
    np.testing.assert_array_equal(found.segment, [[0, 0, 2, 3], [1, 1, 1, 3]])
    np.testing.assert_array_equal(found.position[0, :3], [0, 1, 0])
    np.testing.assert_array_equal(found.position[1, :3], [0, 1, 2])
    np.testing.assert_array_equal(found.valid, [[True, True, True, False]] * 2)


def test_text_without_words_adds_nothing_where_absence_is_masked():
    def text_logits(mask: bool) -> np.ndarray:
        spec = dataclasses.replace(SPEC, modalities="t", sparse=False, mask_empty_text=mask)
        variables = initial_variables(spec, 0)
        outputs, _ = model_variables.apply(variables, packed([[1, 3]]), train=False, threshold=1.0, seed=None)
        return np.asarray(outputs.logits[0])

    read, masked = text_logits(False), text_logits(True)

    # Three tokens, and two: [CLS] and [SEP].
    np.testing.assert_array_equal(masked[0], read[0])
    assert read[1].all()
    np.testing.assert_array_equal(masked[1], 0.0)
