"""One training step and one evaluation of every config, shrunk."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.schema import FEATURE_MODELS
from mme2e_jax.data.dataset import open_dataset
from tests.helpers.steps import run_steps
from tests.helpers.synthetic import SIZES, shrink

DATASETS = ("iemocap", "mini", "mosei")
BASELINES = ("lf_rnn", "lf_transformer")
OWN = ("clips_dense", "clips_sparse")
NAMES = [*OWN, *(f"{dataset}_{model}" for dataset in DATASETS for model in ("dense", "sparse", *BASELINES))]
RESOLVED = Path(__file__).parent / "config" / "resolved.json"


def load(name: str) -> Any:
    dataset, _, model = name.partition("_")
    if model in BASELINES:
        return importlib.import_module(f"configs.{model}").get_config(dataset)
    return importlib.import_module(f"configs.{name}").get_config()


def test_all_configs_are_here() -> None:
    end_to_end = [f"{dataset}_{model}" for dataset in DATASETS for model in ("dense", "sparse")]
    assert sorted(p.stem for p in Path("configs").glob("[!_]*.py")) == sorted([*OWN, *end_to_end, *BASELINES])


def test_every_config_has_the_values_that_it_had() -> None:
    """After an intended change, write the file again: it is the typed values of all configs, as JSON."""
    found = {name: parse_config(load(name)).to_dict() for name in NAMES}

    assert json.loads(json.dumps(found)) == json.loads(RESOLVED.read_text())


def test_the_embedded_corpus_in_the_layout_of_iemocap_is_an_override() -> None:
    config = load("mini_sparse")
    config.data.dataset = "mini_iemocap"

    assert parse_config(config).mini is not None


def test_a_baseline_on_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of mini, mosei, iemocap after the colon, found 'moseii'"):
        importlib.import_module("configs.lf_rnn").get_config("moseii")


@pytest.mark.parametrize("model", ["dense", "sparse"])
def test_own_clips_train_the_small_model_of_the_embedded_corpus(model: str) -> None:
    found, mini = (parse_config(load(f"{data}_{model}")).to_dict() for data in ("clips", "mini"))

    assert found["data"] == mini["data"] | {"dataset": "clips", "dir": "records/clips"}
    assert found["data"]["max_shapes"] == 1
    assert found["optim"]["clip"] > 0
    del mini["mini"]
    assert found | {"data": mini["data"]} == mini


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_config_trains_a_step_and_evaluates(name: str, records: Path, feature_records: Path) -> None:
    config = load(name)
    kind = parse_config(config).records_kind
    directory = {"media": records, "features": feature_records}[kind]
    shrink(config, directory)
    if kind == "media" and not name.startswith("mini"):
        # One tower: two take twice as long to compile.
        config.model.modalities = "tv"

    trained = run_steps(config, open_dataset(directory, kind=kind), steps=1)

    assert np.isfinite(trained.losses).all()
    assert trained.score.shape == (SIZES["valid"], 6)
    assert np.all((trained.score > 0) & (trained.score < 1))
    # Every parameter that the loss depends on has moved, in every part of the model.
    moved = {path for path, before in trained.start.items() if not np.array_equal(before, trained.end[path])}
    parts = {path.split("/")[0] for path in trained.start}
    encoders = set() if config.model.name in FEATURE_MODELS else {"text", "towers"}
    assert {path.split("/")[0] for path in moved} == parts == encoders | {"sequences", "heads", "fusion"}
    # The paper's attention selects only: its scores stay as they start. Untouched besides: word vectors that no
    # batch has, the second token type, and biases that batch normalisation or softmax cancels.
    scores = {path for path in trained.start if "/scores/" in path}
    assert bool(scores) == (config.model.name == "mme2e_sparse")
    assert not scores & moved


@pytest.mark.parametrize("name", NAMES)
def test_a_config_with_the_papers_values_has_them(name: str) -> None:
    config = load(name)
    if config.model.name in FEATURE_MODELS:
        assert config.model.feature_sizes == (300, 144, 35)
        if config.model.name == "lf_transformer":
            assert config.model.trans_heads == (4, 2, 5)
        if not name.startswith("mini"):
            _assert_recipe_of_baselines(config)
        return
    if name.startswith(("mini", "clips")):
        assert config.model.width < 1
        assert config.model.text.init == "random"
        return
    assert config.model.width == 1.0
    assert (config.model.trans_dim, config.model.trans_layers, config.model.trans_heads) == (64, 4, 4)
    assert (config.model.text.size, config.model.text.init) == ("base", "pretrained")
    assert (config.optim.lr, config.optim.text_lr_factor, config.optim.early_stop) == (5e-5, 10.0, 6)
    assert config.data.batch_size == (2 if name.endswith("sparse") else 8)
    assert config.data.text_max_len == 100


def _assert_recipe_of_baselines(config: Any) -> None:
    optim = config.optim
    assert (optim.name, optim.lr, optim.epochs, optim.early_stop, optim.clip) == ("adam", 5e-4, 60, 8, 2.0)
    assert (config.data.batch_size, config.data.text_max_len) == (32, 100)
    if config.model.name == "lf_transformer":
        assert config.model.trans_layers == 4
    else:
        rnn = config.model.rnn
        assert (rnn.cell, rnn.layers, rnn.hidden_size, rnn.bidirectional) == ("lstm", 1, 0, True)
