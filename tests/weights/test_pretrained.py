"""ALBERT from a Hugging Face directory, against arrays that transformers computed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from mme2e_jax.errors import UserError
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.models import albert
from mme2e_jax.models.albert import Albert, AlbertSize
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.weights import pretrained
from tests.helpers import oracle
from tests.helpers.closeness import assert_close
from tests.helpers.torch_writer import save, state_dict

SIZE = AlbertSize(embedding=32, hidden=64, layers=2, heads=4, feed_forward=128)
CONFIG = {
    "embedding_size": 32,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "hidden_act": "gelu_new",
}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """A checkpoint as the hub has them, with the names of the masked-language model around the encoder."""
    monkeypatch.setitem(albert.SIZES, "base", SIZE)
    tensors = {k.removeprefix("param/"): v for k, v in oracle.arrays("albert").items() if k.startswith("param/")}
    tensors = {f"albert.{k}": v for k, v in tensors.items()} | {"predictions.bias": np.zeros(1000, np.float32)}
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return tmp_path


def spec(vocabulary=1000) -> ModelSpec:
    return ModelSpec("t", False, 6, vocabulary, SIZE, 0.0625, 16, 1, 2, 0.0)


def test_hidden_states_are_those_of_transformers(directory):
    weights = pretrained.read_albert(str(directory), "base")
    variables = jax.device_put(pretrained.with_albert(initial_variables(spec(), 0), weights))
    model = nnx.merge(variables.graphdef, variables.params, variables.batch_stats)
    given = oracle.arrays("albert")
    mask = given["attention_mask"]
    found = jax.jit(lambda ids, count: model.text(ids, count))(given["input_ids"], mask.sum(1))
    assert isinstance(model.text, Albert)
    assert_close(found[mask > 0], given["last_hidden_state"][mask > 0])


def test_every_layer_and_the_second_token_type_are_those_of_transformers(directory):
    weights = pretrained.read_albert(str(directory), "base")
    variables = jax.device_put(pretrained.with_albert(initial_variables(spec(), 0), weights))
    model = nnx.merge(variables.graphdef, variables.params, variables.batch_stats)
    given = oracle.arrays("albert")
    ids, mask = given["input_ids"], given["attention_mask"]
    second = jax.jit(lambda: model.text(ids, mask.sum(1), np.ones_like(ids)))()
    layer, model.text.layers = model.text.layer, 0
    bias = jnp.where(mask > 0, 0.0, jnp.finfo(jnp.float32).min)[:, None, None]

    def hidden_states():
        embedded = model.text(ids, mask.sum(1))
        _, outputs = jax.lax.scan(lambda x, _: (layer(x, bias),) * 2, embedded, length=SIZE.layers)
        return jnp.concatenate([embedded[None], outputs])

    layers = jax.jit(hidden_states)()
    assert layers.shape == given["hidden_states"].shape
    assert_close(layers[:, mask > 0], given["hidden_states"][:, mask > 0])
    assert_close(second[mask > 0], given["last_hidden_state_type1"][mask > 0])


def test_everything_but_the_encoder_stays_as_it_was(directory):
    start = initial_variables(spec(), 0)
    found = pretrained.with_albert(start, pretrained.read_albert(str(directory), "base")).arrays()
    np.testing.assert_array_equal(found["heads/t/kernel"], start.arrays()["heads/t/kernel"])


def test_a_missing_directory_says_what_to_download():
    with pytest.raises(UserError, match="albert/albert-large-v2"):
        pretrained.read_albert("", "large")
    with pytest.raises(UserError, match=r"nowhere.*--config\.model\.text\.init=random"):
        pretrained.read_albert("nowhere", "base")


def test_weights_of_another_size_are_refused(directory):
    with pytest.raises(UserError, match=r"(?s)hidden_size: expected 1024, found 64.*looks like size base: --config"):
        pretrained.read_albert(str(directory), "large")


def test_another_vocabulary_is_refused(directory):
    weights = pretrained.read_albert(str(directory), "base")
    with pytest.raises(UserError, match=r"text/word: expected \(77, 32\), found \(1000, 32\)"):
        pretrained.with_albert(initial_variables(spec(vocabulary=77), 0), weights)


def test_pytorch_model_bin_holds_the_same(directory):
    expected = pretrained.read_albert(str(directory), "base")
    tensors = load_file(directory / "model.safetensors")
    save(directory / "pytorch_model.bin", state_dict(tensors))
    (directory / "model.safetensors").unlink()

    found = pretrained.read_albert(str(directory), "base")

    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True)


@pytest.mark.parametrize(("dtype", "name"), [(np.float16, "float16"), (jnp.bfloat16, "bfloat16")])
def test_half_precision_is_refused(directory, dtype, name):
    tensors = load_file(directory / "model.safetensors")
    halved = {k: np.asarray(x).astype(dtype) for k, x in tensors.items()}
    save_file(halved, directory / "model.safetensors")
    with pytest.raises(UserError, match=rf"safetensors .*\n.*expected float32 or float64, found {name} in 23 tensors"):
        pretrained.read_albert(str(directory), "base")
    (directory / "model.safetensors").unlink()
    save(directory / "pytorch_model.bin", state_dict(halved))
    with pytest.raises(UserError, match=rf"model\.bin .*\n.*expected float32 or float64, found {name} in 23 tensors"):
        pretrained.read_albert(str(directory), "base")


def test_missing_and_damaged_files_are_named(directory):
    whole = (directory / "model.safetensors").read_bytes()
    for cut in (0, 5, 300, len(whole) - 1):
        (directory / "model.safetensors").write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
            pretrained.read_albert(str(directory), "base")
    for config in ("{", "", "\0", "[1, 2]"):
        (directory / "config.json").write_text(config)
        with pytest.raises(UserError, match=r"config\.json is damaged"):
            pretrained.read_albert(str(directory), "base")
    (directory / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json\. Download one .*albert/albert-base-v2"):
        pretrained.read_albert(str(directory), "base")
    (directory / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no config\.json and no weights\. Download one"):
        pretrained.read_albert(str(directory), "base")


def test_a_tokenizer_says_its_special_tokens(directory):
    train_mini(["what a day"]).save(directory)

    assert pretrained.read_tokenizer(str(directory), 1000) == {"pad_id": 0, "cls_id": 2, "sep_id": 3}
    with pytest.raises(UserError, match=r"tokens, the weights next to it have 5: they do not belong together"):
        pretrained.read_tokenizer(str(directory), 5)


def test_unmatched_names_are_listed_on_both_sides(directory):
    save_file(
        {"albert.embeddings.word_embeddings.weight": np.zeros((3, 2), np.float32), "odd": np.zeros(1, np.float32)},
        directory / "model.safetensors",
    )
    with pytest.raises(UserError, match=r"(?s)missing: .*embeddings\.LayerNorm\.bias.*unknown: odd"):
        pretrained.read_albert(str(directory), "base")
