"""The PyTorch model computes what ours does."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks import paper_size
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.weights.torch_weights import convert, paper_rules
from tests.helpers.closeness import assert_close

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install -r requirements-rivals.txt")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_pytorch_model_gives_our_logits(layout: str) -> None:
    from benchmarks.rivals import torch_inputs
    from benchmarks.torch_model import TorchMME2E

    spec = model_spec(paper_size.experiment("dense", ["model.width=0.125"], "mini"), 6, {"vocab_size": 30_000})
    assert isinstance(spec, ModelSpec)
    torch.manual_seed(0)
    rival = TorchMME2E(spec).eval()
    with torch.no_grad():
        for module in rival.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(module.get_buffer("running_mean"))
                torch.nn.init.uniform_(module.get_buffer("running_var"), 0.5, 2)
    rules = paper_rules(spec)
    weights = {name: value.numpy() for name, value in rival.state_dict().items() if name in rules}
    ours = model_variables.abstract_variables(spec).with_arrays(convert(weights, rules, "the PyTorch model"))
    batch = paper_size.batch(12, 2)
    short = np.array([[12, 7]], np.int32)
    batch = batch._replace(token_count=short, frame_count=np.array([[20, 8]], np.int32))

    with torch.inference_mode():
        found = rival(*torch_inputs(batch, "cpu", layout)).numpy()
    outputs, _ = model_variables.apply(ours, batch, train=False, threshold=1.0, seed=None)

    assert_close(found, np.asarray(jax.device_get(outputs.logits))[0])


def test_a_training_step_lowers_the_loss() -> None:
    from benchmarks.rivals import torch_step
    from benchmarks.torch_model import TorchMME2E

    spec = model_spec(paper_size.experiment("dense", [], "mini"), 6, {"vocab_size": 30_000})
    assert isinstance(spec, ModelSpec)
    model = TorchMME2E(dataclasses.replace(spec, dropout=0.0))
    step = torch_step(model, paper_size.batch(12, 2), "train", "cpu", "NHWC")

    losses = [step() for _ in range(5)]

    assert losses[-1] < losses[0]
