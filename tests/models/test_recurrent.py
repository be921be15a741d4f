"""LSTM and GRU: hand-made cases, and what padding, layers and directions do."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mme2e_jax.models.dropout import step_seed
from mme2e_jax.models.initialization import initial_values
from mme2e_jax.models.recurrent import CELLS, RecurrentEncoder, RecurrentSpec
from mme2e_jax.runtime.pytree import flatten, unflatten
from tests.helpers.closeness import assert_close


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def encoder(d: int = 3, rate: float = 0.0, **changes: Any) -> RecurrentEncoder:
    """An encoder with drawn weights."""
    settings: dict[str, Any] = {"cell": "lstm", "layers": 1, "hidden_size": 0, "bidirectional": True}
    graph, params = nnx.split(RecurrentEncoder(d, RecurrentSpec(**(settings | changes)), rate, nnx.Rngs(0)))
    shapes = {f"sequences/t/{path}": x.shape for path, x in flatten(params).items()}
    values = {path.removeprefix("sequences/t/"): jnp.asarray(v) for path, v in initial_values(shapes, 0).items()}
    return nnx.merge(graph, unflatten(params, values))


def rows(u: int, n: int, d: int = 3) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((u, n, d)).astype(np.float32)


def encode(model: RecurrentEncoder, x: np.ndarray, lengths: list[int], seed=None, example=None):
    names = np.arange(len(x)) if example is None else np.array(example)
    return model(jnp.asarray(x), jnp.array(lengths), jnp.asarray(names), seed)


def test_an_lstm_takes_its_gates_in_the_order_input_forget_cell_output() -> None:
    # One hidden unit; gates from the row 0.1, 0.2, 0.3, 0.4, and 0.5, 0.6, 0.7, 0.8 from the last output.
    row, last = jnp.array([[0.1, 0.2, 0.3, 0.4]]), jnp.array([[0.5, 0.6, 0.7, 0.8]])
    h, c = CELLS["lstm"].step(row, last, (jnp.array([[9.0]]), jnp.array([[2.0]])))

    want = sigmoid(0.8) * 2.0 + sigmoid(0.6) * math.tanh(1.0)
    assert float(c[0, 0]) == pytest.approx(want, abs=1e-6)
    assert float(h[0, 0]) == pytest.approx(sigmoid(1.2) * math.tanh(want), abs=1e-6)


def test_a_gru_resets_what_the_last_output_says_with_its_bias() -> None:
    row, last = jnp.array([[0.1, 0.2, 0.3]]), jnp.array([[0.5, 0.6, 0.7]])
    (h,) = CELLS["gru"].step(row, last, (jnp.array([[2.0]]),))

    r, z = sigmoid(0.6), sigmoid(0.8)
    want = (1 - z) * math.tanh(0.3 + r * 0.7) + z * 2.0
    assert float(h[0, 0]) == pytest.approx(want, abs=1e-6)


def by_hand(cell: str, x: np.ndarray, weights: dict[str, np.ndarray], direction: str) -> list[np.ndarray]:
    """Outputs over the rows of one utterance, row by row in the order of reading."""
    w = {k.removeprefix(f"layers/0/{direction}/"): v for k, v in weights.items() if f"/{direction}/" in k}
    state = (jnp.zeros((1, 3)),) * CELLS[cell].states
    outputs = []
    for row in x if direction == "forward" else x[::-1]:
        from_row = row[None] @ w["input/kernel"] + w["input/bias"][None]
        from_last = state[0] @ w["hidden/kernel"] + w["hidden/bias"][None]
        state = CELLS[cell].step(from_row, from_last, state)
        outputs.append(np.asarray(state[0][0]))
    return outputs


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_each_direction_reads_all_rows_and_padding_changes_nothing(cell: str) -> None:
    model = encoder(cell=cell)
    x, lengths = rows(3, 6), [4, 6, 1]
    for i, length in enumerate(lengths):
        x[i, length:] = 100.0
    found = encode(model, x, lengths)

    weights = {k: np.asarray(v) for k, v in flatten(nnx.state(model)).items()}
    for i, length in enumerate(lengths):
        forward, backward = (by_hand(cell, x[i, :length], weights, d) for d in ("forward", "backward"))
        assert_close(found.final[i], [*forward[-1], *backward[-1]])
        # At the last row the backward direction has read that row alone.
        assert_close(found.last[i], [*forward[-1], *backward[0]])


def test_one_direction_gives_half_the_width_and_the_same_twice() -> None:
    found = encode(encoder(bidirectional=False, hidden_size=5), rows(2, 4), [4, 2])

    assert found.final.shape == (2, 5)
    np.testing.assert_array_equal(found.final, found.last)


def test_a_second_layer_reads_the_first_ones_outputs_without_their_padding() -> None:
    model, x = encoder(layers=2, cell="gru"), rows(2, 7)
    padded = encode(model, x, [7, 3])
    alone = encode(model, x[1:, :3], [3])

    assert {k.split("/")[1] for k in flatten(nnx.state(model))} == {"0", "1"}
    assert_close(padded.final[1], alone.final[0])
    assert_close(padded.last[1], alone.last[0])


def test_dropout_acts_between_layers_only_and_by_utterance() -> None:
    seed, x = step_seed(0, 1), rows(2, 4)
    one, two = encoder(rate=0.5), encoder(rate=0.5, layers=2)

    assert_close(encode(one, x, [4, 4], seed).final, encode(one, x, [4, 4]).final)
    dropped = encode(two, x, [4, 4], seed).final
    assert not np.allclose(dropped, encode(two, x, [4, 4]).final)
    # The same utterances in another order, in a longer batch.
    longer = np.concatenate([x[::-1], np.zeros((2, 3, 3), np.float32)], axis=1)
    other = encode(two, longer, [4, 4], seed, example=[1, 0]).final
    assert_close(other[::-1], dropped)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_all_weights_start_within_one_over_the_root_of_the_hidden_size(cell: str) -> None:
    weights = flatten(nnx.state(encoder(d=40, cell=cell, layers=2, hidden_size=16)))

    assert weights["layers/0/forward/input/kernel"].shape == (40, 16 * CELLS[cell].gates)
    assert len(weights) == 2 * 2 * 4
    for path, value in weights.items():
        assert 0.8 * 16**-0.5 < np.abs(value).max() <= 16**-0.5, path


def test_rows_that_are_not_read_get_no_gradient() -> None:
    model, x = encoder(), rows(1, 5)
    gradient = jax.grad(lambda v: encode(model, v, [3]).last.sum() + encode(model, v, [3]).final.sum())(x)

    assert np.all(np.asarray(gradient)[0, :3] != 0)
    np.testing.assert_array_equal(gradient[0, 3:], 0.0)
