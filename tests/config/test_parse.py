"""Parsing configs: each kind of bad value is refused with its key, what was expected and what was found."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from configs import lf_rnn, lf_transformer, mini_dense, mini_sparse
from mme2e_jax.config.parse import parse_config, read_stored_config, refuse_unknown_overrides, refuse_value
from mme2e_jax.errors import UserError


@pytest.mark.parametrize("name", sorted(p.stem for p in Path("configs").glob("[!_]*.py")))
def test_every_config_is_valid(name: str) -> None:
    parse_config(importlib.import_module(f"configs.{name}").get_config())


def set_value(config: Any, key: str, value: object) -> None:
    with config.ignore_type():
        config.update_from_flattened_dict({key: value})


BAD_VALUES = [
    ("seed", -1, "a whole number of at least 0 and at most 2147483647", "-1"),
    ("profile", "3", "START:STOP, the steps from START to STOP - 1, or nothing", "'3'"),
    ("profile", "3:3", "START:STOP", "'3:3'"),
    ("profile", "4:3", "START:STOP", "'4:3'"),
    ("profile", "-1:3", "START:STOP", "'-1:3'"),
    ("profile", "a:b", "START:STOP", "'a:b'"),
    ("optim.skip_nonfinite", -1, "a whole number of at least 0", "-1"),
    ("checkpoint.every_steps", -1, "a whole number of at least 0", "-1"),
    ("data.batch_size", 0, "a whole number of at least 1", "0"),
    ("data.batch_size", 2.0, "a whole number of at least 1", "2.0"),
    ("data.dataset", "moseii", "one of mini, mosei, mini_iemocap, iemocap, clips", "'moseii'"),
    ("data.text_max_len", 513, "a whole number of at least 4 and at most 512", "513"),
    ("model.name", "mesm", "one of mme2e, mme2e_sparse", "'mesm'"),
    ("model.modalities", "x", "a non-empty subset of the letters", "'x'"),
    ("model.modalities", "", "a non-empty subset of the letters", "''"),
    ("model.modalities", "tt", "a non-empty subset of the letters", "'tt'"),
    ("model.width", 0.0, "a number above 0", "0.0"),
    ("model.dropout", 1.0, "a number of at least 0 and at most 0.99", "1.0"),
    ("model.sparse_threshold", 0.0, "a number above 0 and at most 1", "0.0"),
    ("model.sparse_threshold", 1.5, "a number above 0 and at most 1", "1.5"),
    ("model.sparse_threshold", float("nan"), "a number above 0 and at most 1", "nan"),
    ("optim.lr", 1e300, "a number above 0 that float32 can hold", "1e+300"),
    ("data.dir", "a\0b", "a string in UTF-8 without control characters", r"'a\x00b'"),
    ("init.checkpoint", "caf\udce9", "a string in UTF-8 without control characters", r"'caf\udce9'"),
    ("model.sparse_rule", "top", "one of mass, share", "'top'"),
    ("model.sparse_region", 2, "1 or 4", "2"),
    ("model.sparse_anneal", -0.1, "a share of the epochs in [0, 1]", "-0.1"),
    ("model.text.size", "huge", "one of tiny, base, large, xlarge", "'huge'"),
    ("optim.lr", "abc", "a number above 0", "'abc'"),
    ("optim.dense_epochs", -1, "a whole number of at least 0", "-1"),
    ("optim.teacher_saliency", -0.1, "a number of at least 0", "-0.1"),
    ("optim.saliency_exponent", 0.0, "a number above 0", "0.0"),
    ("optim.teacher_kd", 1.5, "a number in [0, 1]", "1.5"),
    ("optim.score_lr_factor", 0.0, "a number above 0", "0.0"),
    ("optim.lr", float("inf"), "a number above 0", "inf"),
    ("optim.schedule", "linear", "one of constant, cosine", "'linear'"),
    ("optim.accumulate", 0, "a whole number of at least 1", "0"),
    ("model.dtype", "float16", "one of float32, bfloat16", "'float16'"),
    ("model.remat", 1, "True or False", "1"),
    ("log.tensorboard", 1, "True or False", "1"),
    ("log.wandb", "a/b", "a Weights & Biases project's name", "'a/b'"),
    ("log.wandb", True, "a Weights & Biases project's name", "True"),
    ("mini.utterances", 3, "a whole number of at least 24", "3"),
]


_THREE = "3 whole numbers of at least 1, for text, audio and video"


BAD_VALUES_OF_BASELINES = [
    (lf_rnn, "data.audio_feature_type", 7, "a whole number of at least 0 and at most 6", "7"),
    (lf_rnn, "model.feature_sizes", (300, 144), _THREE, "(300, 144)"),
    (lf_rnn, "model.feature_sizes", (300, 144, 0), _THREE, "(300, 144, 0)"),
    (lf_rnn, "model.parity_padding", 1, "True or False", "1"),
    (lf_rnn, "model.rnn.cell", "rnn", "one of lstm, gru", "'rnn'"),
    (lf_rnn, "model.rnn.layers", 0, "a whole number of at least 1", "0"),
    (lf_rnn, "model.rnn.hidden_size", -1, "a whole number of at least 0", "-1"),
    (lf_transformer, "model.trans_heads", 4, _THREE, "4"),
    (lf_transformer, "model.trans_layers", 0, "a whole number of at least 1", "0"),
]


@pytest.mark.parametrize(
    ("experiment", "key", "value", "expected", "found"),
    [(mini_sparse, *values) for values in BAD_VALUES] + BAD_VALUES_OF_BASELINES,
)
def test_an_impossible_value_is_refused(experiment: Any, key: str, value: object, expected: str, found: str) -> None:
    config: Any = experiment.get_config()
    set_value(config, key, value)

    with pytest.raises(UserError, match=rf"config\.{re.escape(key)}: expected {re.escape(expected)}") as error:
        parse_config(config)

    assert f"found {found}." in str(error.value)


def test_an_unknown_key_is_refused_with_the_valid_ones_of_its_section() -> None:
    config: Any = mini_sparse.get_config()
    config.checkpoint.keep_first = 1

    message = (
        r"config\.checkpoint\.keep_first: no such key\. Valid keys: checkpoint\.every_steps, checkpoint\.keep_last\."
    )
    with pytest.raises(UserError, match=message):
        parse_config(config)


def test_a_missing_key_is_named_with_what_it_must_be() -> None:
    config: Any = mini_sparse.get_config()
    del config.optim["clip"]

    with pytest.raises(UserError, match=r"config\.optim\.clip: missing; expected a number of at least 0\."):
        parse_config(config)


def test_a_config_of_an_earlier_version_gets_the_keys_that_came_later() -> None:
    earlier, now = (mini_sparse.get_config().to_dict() for _ in range(2))
    del earlier["log"]["wandb"], earlier["profile"]
    for key in ("sparse_rule", "sparse_region", "sparse_once"):
        del earlier["model"][key]
    earlier["checkpoint"]["every_steps"] = 7

    for key in ("dense_epochs", "teacher_saliency", "saliency_exponent", "teacher_kd", "score_lr_factor"):
        del earlier["optim"][key]
    del earlier["init"]["teacher"], earlier["model"]["sparse_norm_momentum"], earlier["model"]["absent"]

    config = read_stored_config(earlier)

    now["checkpoint"]["every_steps"] = 7
    # As it was without a teacher, and in the paper's code.
    now["model"] |= {"sparse_region": 1, "sparse_once": False, "sparse_norm_momentum": 0.99, "absent": "paper"}
    now["optim"] |= {"dense_epochs": 0, "teacher_saliency": 0.0, "saliency_exponent": 0.5}
    now["optim"] |= {"teacher_kd": 0.0, "score_lr_factor": 1.0}
    assert config == parse_config(now)
    for earlier_dense in (mini_dense, lf_rnn):
        values = earlier_dense.get_config().to_dict()
        assert read_stored_config(values) == parse_config(values)


def test_all_problems_are_in_one_message() -> None:
    config: Any = mini_sparse.get_config()
    config.model.sparse_threshold = 0.0
    config.optim.nope = 1
    del config.model["dropout"]

    with pytest.raises(UserError) as error:
        parse_config(config)

    for key in ("model.sparse_threshold", "optim.nope", "model.dropout"):
        assert f"config.{key}" in str(error.value)
    assert str(error.value).count("\n  - ") == 3


def test_a_sparse_model_without_text_is_refused_and_a_dense_one_is_not() -> None:
    sparse: Any = mini_sparse.get_config()
    dense: Any = mini_dense.get_config()
    sparse.model.modalities = dense.model.modalities = "av"

    parse_config(dense)
    with pytest.raises(UserError, match=r"config\.model\.modalities: .* expected t among them, found 'av'"):
        parse_config(sparse)


TAUGHT = {"optim.dense_epochs": 0, "init.teacher": "", "optim.teacher_saliency": 0.1, "optim.teacher_kd": 0.0}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"optim.dense_epochs": 30}, r"dense_epochs: expected fewer than the 30 epochs of the run, found 30"),
        ({}, r"init\.teacher: expected a dense run to learn from with .* found none"),
        (
            {"optim.teacher_saliency": 0.0, "optim.teacher_kd": 0.5},
            r"init\.teacher: expected a dense run to learn from",
        ),
        ({"init.teacher": "RUN", "optim.teacher_saliency": 0.0}, r"teacher_saliency: expected a number above 0 with"),
        (
            {"init.teacher": "RUN", "optim.dense_epochs": 2},
            r"init\.teacher: .* expected --config\.optim\.dense_epochs=0",
        ),
        ({"init.teacher": "RUN", "init.checkpoint": "RUN"}, r"init\.teacher: .* expected --config\.init\.checkpoint="),
        ({"optim.dense_epochs": 2, "model.attention_grad": "renormalized"}, r"attention_grad: expected none with a t"),
    ],
)
def test_values_that_make_no_teacher_are_refused(values: dict[str, object], said: str) -> None:
    config: Any = mini_sparse.get_config()
    config.optim.epochs = 30
    for key, value in (TAUGHT | values).items():
        set_value(config, key, value)

    with pytest.raises(UserError, match=said):
        parse_config(config)


def test_a_config_of_the_sparse_model_serves_the_dense_one_but_not_its_teacher() -> None:
    config: Any = mini_sparse.get_config()
    config.model.name = "mme2e"
    config.optim.dense_epochs = 5

    assert parse_config(config).dense_epochs == 0
    config.init.teacher = "RUN"
    with pytest.raises(UserError, match=r"config\.init\.teacher: expected '' for the dense model"):
        parse_config(config)


def test_heads_must_divide_the_width() -> None:
    config: Any = mini_dense.get_config()
    config.model.trans_heads = 5

    with pytest.raises(UserError, match=r"trans_heads: expected a divisor of trans_dim \(64\), found 5"):
        parse_config(config)


def test_heads_of_each_modality_must_divide_its_features() -> None:
    config: Any = lf_transformer.get_config()
    config.model.trans_heads = (7, 2, 4)

    with pytest.raises(UserError, match=r"trans_heads: expected a divisor of the feature size 300 for t, found 7") as e:
        parse_config(config)
    assert "expected a divisor of the feature size 35 for v, found 4" in str(e.value)
    config.model.modalities = "a"
    parse_config(config)


@pytest.mark.parametrize("key", ["optim.text_lr_factor", "model.sparse_threshold", "model.trans_dim", "model.remat"])
def test_a_key_of_the_end_to_end_models_is_unknown_to_a_baseline(key: str) -> None:
    config: Any = lf_rnn.get_config()
    set_value(config, key, 1)

    with pytest.raises(UserError, match=rf"config\.{re.escape(key)}: no such key"):
        parse_config(config)


def test_there_is_no_pretrained_tiny_encoder() -> None:
    config: Any = mini_dense.get_config()
    config.model.text.init = "pretrained"

    with pytest.raises(UserError, match="no pretrained ALBERT of size tiny"):
        parse_config(config)


def test_an_override_of_an_unknown_key_is_refused() -> None:
    refuse_unknown_overrides({"optim.lr": "1", "mini.seed": "1", "model.text": "{}"})
    with pytest.raises(UserError, match=r"config\.optim\.lrr: no such key\. Valid keys: .*optim\.lr,"):
        refuse_unknown_overrides({"optim.lrr": "1"})
    with pytest.raises(UserError, match=r"config\.nope: no such key\. Valid keys: .*seed"):
        refuse_unknown_overrides({"nope": "1"})


def test_an_override_of_the_wrong_type_is_refused() -> None:
    message = r"config\.optim\.lr: expected a number above 0 that float32 can hold, found 'abc'"
    with pytest.raises(UserError, match=message):
        refuse_value("optim.lr", "abc")
