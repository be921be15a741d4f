"""A sparse model with a dense model's weights computes what that does, at all sites."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from configs import mini_sparse
from mme2e_jax.checkpoints.reader import RunRecord
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config import preflight
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import Variables, apply, initial_variables
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.training import setup
from mme2e_jax.weights.dense_weights import SCORES, is_dense, sparse_from_dense
from tests.helpers.closeness import assert_close
from tests.helpers.synthetic import VOCABULARY, shrink
from tests.helpers.weights import random_variables, small_spec
from tests.models.test_saliency import make_batch

NOWHERE = Path("nowhere")


@pytest.fixture(scope="module")
def dense() -> Variables:
    return random_variables(small_spec(NOWHERE, name="mme2e"), 5)


def mapped(dense: Variables) -> Variables:
    spec: Any = dataclasses.replace(small_spec(NOWHERE), rows_threshold=0.0)
    start = initial_variables(spec, 0)
    return start.with_arrays(start.arrays() | sparse_from_dense(dense.arrays()))


def logits(variables: Variables) -> np.ndarray:
    outputs, _ = jax.jit(lambda v, batch: apply(v, batch, train=False, threshold=1.0, seed=None))(
        variables, make_batch()
    )
    return np.asarray(outputs.logits[0, :2])


def test_only_the_scores_are_not_of_the_dense_model(dense: Variables) -> None:
    start = initial_variables(small_spec(NOWHERE), 0).arrays()
    found = sparse_from_dense(dense.arrays())

    assert start.keys() - found.keys() == {path for path in start if SCORES.fullmatch(path)}
    assert found.keys() - start.keys() == set()
    assert is_dense(dense.arrays())
    assert not is_dense(start)


def test_the_bias_of_a_convolution_moves_into_the_running_mean(dense: Variables) -> None:
    arrays, found = dense.arrays(), sparse_from_dense(dense.arrays())

    block = "towers/a/blocks/1"
    np.testing.assert_array_equal(found[f"{block}/kernel2"], arrays[f"{block}/conv2/kernel"])
    np.testing.assert_array_equal(
        found[f"{block}/norm2/mean"], arrays[f"{block}/norm2/mean"] - arrays[f"{block}/conv2/bias"]
    )
    np.testing.assert_array_equal(found[f"{block}/norm2/scale"], arrays[f"{block}/norm2/scale"])


def test_at_all_sites_the_logits_are_the_dense_models(dense: Variables) -> None:
    assert_close(logits(mapped(dense)), logits(dense), 1e-4)


@pytest.fixture
def teacher_run(tmp_path: Path, dense: Variables) -> Path:
    writer = CheckpointWriter(tmp_path / "dense")
    writer.save_imported(dense, RunRecord({"model": {"name": "mme2e"}}, [], {}, {}, {}, []))
    writer.wait()
    return tmp_path / "dense"


def start(teacher: Path, **model: Any) -> dict[str, np.ndarray]:
    config: Any = shrink(mini_sparse.get_config(), NOWHERE)
    config.init.teacher, config.optim.dense_epochs, config.optim.teacher_saliency = str(teacher), 0, 0.1
    config.model.update(model)
    typed = parse_config(config)
    return setup.start_variables(typed, model_spec(typed, 6, {"vocab_size": VOCABULARY})).arrays()


def test_a_teacher_starts_the_sparse_model_and_the_scores_stay_new(teacher_run: Path, dense: Variables) -> None:
    found, fresh = start(teacher_run), initial_variables(small_spec(NOWHERE), 0).arrays()

    expected = fresh | sparse_from_dense(dense.arrays())
    assert found.keys() == expected.keys()
    for path, x in expected.items():
        np.testing.assert_array_equal(found[path], x, err_msg=path)


def test_a_teacher_that_does_not_fit_is_refused_by_name(teacher_run: Path) -> None:
    with pytest.raises(UserError, match=r"towers/v/blocks/0/kernel1: expected \(3, 3, 16, 32\), found \(3, 3, 4, 8\)"):
        start(teacher_run, width=0.25)
    with pytest.raises(UserError, match=r"missing: .*sequences/a/layers/1"):
        start(teacher_run, trans_layers=2)


def test_a_teacher_must_be_a_dense_run(tmp_path: Path, dense: Variables) -> None:
    writer = CheckpointWriter(tmp_path / "sparse")
    writer.save_imported(mapped(dense), RunRecord({"model": {"name": "mme2e_sparse"}}, [], {}, {}, {}, []))
    writer.wait()

    with pytest.raises(
        UserError, match=r"config\.init\.teacher: expected a run of the dense model mme2e, found mme2e_s"
    ):
        start(tmp_path / "sparse")
    config: Any = shrink(mini_sparse.get_config(), NOWHERE)
    config.init.teacher, config.optim.dense_epochs, config.optim.teacher_saliency = str(tmp_path), 0, 0.1
    with pytest.raises(UserError, match=r"config\.init\.teacher: .* holds no checkpoints/"):
        preflight.check(parse_config(config))
