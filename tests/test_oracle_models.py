"""The models against arrays of the paper's code, packed with padding that holds NaN."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax import state
from mme2e_jax.batch import Batch
from mme2e_jax.models.albert import AlbertSize
from mme2e_jax.models.mme2e import ModelSpec, faces_input
from mme2e_jax.models.sparse import attention, select
from mme2e_jax.state import Variables, abstract_variables
from mme2e_jax.step import bce_loss
from mme2e_jax.torch_weights import convert, paper_rules
from tests import oracle

THRESHOLD = 0.8
both = pytest.mark.parametrize("name", ["dense", "sparse"])


def spec(name: str) -> ModelSpec:
    tiny = AlbertSize(embedding=32, hidden=64, layers=2, heads=4, feed_forward=128)
    return ModelSpec("tva", name == "sparse", 6, 1000, tiny, 1.0, 64, 4, 4, 0.0)


@functools.cache
def variables(name: str) -> Variables:
    rules = paper_rules(spec(name))
    return abstract_variables(spec(name)).with_arrays(convert(oracle.state_dict(name), rules, name))


def batch() -> Batch:
    given = {k.removeprefix("inputs/"): v for k, v in oracle.arrays("models").items() if k.startswith("inputs/")}

    def padded(x, rows, value):
        return np.concatenate([x, np.full((rows, *x.shape[1:]), value, x.dtype)])[None]

    def int32(x):
        return x[None].astype(np.int32)

    return Batch(
        token_ids=int32(given["input_ids"]),
        token_count=int32(given["attention_mask"].sum(1)),
        faces=padded(given["faces_u8"].transpose(0, 2, 3, 1), 2, 200),
        frame_count=int32(given["frame_lens"]),
        mel=padded(given["specs"][:, 0], 3, np.nan),
        chunk_count=int32(given["spec_lens"]),
        labels=given["labels"][None],
        example=np.arange(3, dtype=np.int32)[None],
    )


def expected(name: str, part: str) -> dict[str, np.ndarray]:
    prefix = f"{name}/{part}/"
    return {k.removeprefix(prefix): v for k, v in oracle.arrays("models").items() if k.startswith(prefix)}


@functools.cache
def evaluated(name: str):
    run = jax.jit(lambda v, b: state.apply(v, b, train=False, threshold=THRESHOLD, seed=None)[0])
    return jax.device_get(run(variables(name), batch()))


@functools.cache
def trained(name: str):
    """Loss, logits, gradients and statistics of one training step.

    In float64: sums of the batch normalisations' gradients nearly cancel, and XLA's float32 sums leave up to 0.3 % of
    noise on the smallest of them, which would hide a mistake of that size.
    """
    with jax.enable_x64(True):
        return _trained(name)


def _trained(name: str):
    pos_weight = jnp.asarray(oracle.arrays("models")["inputs/pos_weight"], jnp.float32)

    def loss(params, v: Variables, b: Batch):
        v = Variables(v.graphdef, params, v.batch_stats)
        outputs, stats = state.apply(v, b, train=True, threshold=THRESHOLD, seed=None)
        return bce_loss(outputs.logits, b.labels, b.example >= 0, pos_weight), (outputs, stats)

    def float64(tree):
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64 if x.dtype == np.float32 else x.dtype), tree)

    v = float64(variables(name))
    (value, (outputs, stats)), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(v.params, v, float64(batch()))
    arrays = Variables(v.graphdef, gradient, stats).arrays()
    return float(value), np.asarray(outputs.logits[0]), {k: np.asarray(x) for k, x in arrays.items()}


@both
def test_evaluation_gives_the_paper_codes_logits(name):
    found, want = evaluated(name), expected(name, "eval")
    np.testing.assert_allclose(found.logits[0], want["logits"], atol=1e-5)
    for m in "tva":
        np.testing.assert_allclose(found.by_modality[m][0], want[f"{m}_out"], atol=1e-5)


def test_the_sparse_towers_work_on_the_same_number_of_sites():
    for m in "va":
        want = expected("sparse", "eval")[f"{m}_active_per_frame"].sum(1)[::2]
        np.testing.assert_array_equal(evaluated("sparse").sites[m].active, want)


@pytest.mark.parametrize("m", ["v", "a"])
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_selection_gives_the_same_masks_from_the_same_attention(m, stage):
    want = expected("sparse", "eval")
    weight, mask = want[f"{m}_attn{stage}"], want[f"{m}_mask_in{stage}"].astype(bool)
    found = select(jnp.asarray(weight), jnp.asarray(weight) > 0, THRESHOLD)
    np.testing.assert_array_equal(np.asarray(found).reshape(mask.shape), mask)


@both
def test_a_training_step_gives_the_paper_codes_loss_and_logits(name):
    loss, logits, _ = trained(name)
    want = expected(name, "train")
    assert float(loss) == pytest.approx(float(want["loss"]), abs=1e-6)
    np.testing.assert_allclose(logits, want["logits"], atol=1e-5)


@both
def test_a_training_step_gives_the_paper_codes_gradients(name):
    found, want = trained(name)[2], expected(name, "train")
    rules = paper_rules(spec(name))
    without = set(want["grad_none_names"].tolist())
    checked = 0
    for key, norm in want.items():
        torch_name = key.removeprefix("gradnorm/")
        if torch_name == key or torch_name.startswith("T.albert.pooler"):
            continue
        gradient = found[rules[torch_name].path]
        # A bias before batch normalisation has no effect: its gradient is rounding noise.
        np.testing.assert_allclose(np.linalg.norm(gradient), norm, rtol=1e-4, atol=1e-5, err_msg=torch_name)
        checked += 1
    assert checked > 100
    for torch_name in without - {"T.albert.pooler.weight", "T.albert.pooler.bias"}:
        np.testing.assert_array_equal(found[rules[torch_name].path], 0.0, err_msg=torch_name)


@both
def test_a_training_step_updates_the_statistics_as_the_paper_code_does(name):
    found, want = trained(name)[2], expected(name, "train")
    rules = paper_rules(spec(name))
    checked = 0
    for key, value in want.items():
        torch_name = key.removeprefix("buf/")
        if torch_name in rules and torch_name.endswith(("running_mean", "running_var")):
            np.testing.assert_allclose(found[rules[torch_name].path], value, rtol=1e-4, atol=1e-6, err_msg=torch_name)
            checked += 1
    assert checked == 2 * 2 * 11


def test_every_parameter_has_one_rule_and_every_rule_a_parameter():
    for name in ("dense", "sparse"):
        paths = [rule.path for rule in paper_rules(spec(name)).values()]
        assert len(paths) == len(set(paths))
        assert set(paths) == set(abstract_variables(spec(name)).arrays())


def test_faces_are_centred_and_scaled_as_in_the_paper_code():
    found = faces_input(jnp.array([[[[159, 111, 102], [196, 144, 134]]]], jnp.uint8))
    np.testing.assert_allclose(found, [[[[0, 0, 0], [1, 1, 1]]]], atol=1e-6)


def test_attention_of_an_image_without_candidates_is_zero():
    weight = attention(jnp.zeros((1, 2, 2)), jnp.zeros((1, 2, 2), bool))
    np.testing.assert_array_equal(weight, 0.0)
