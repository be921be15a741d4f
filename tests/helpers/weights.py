"""A small model with weights of its own, as a state dict of the paper's code."""

from pathlib import Path

import numpy as np

from configs import mini_sparse
from mme2e_jax.config.parse import parse_config
from mme2e_jax.models.variables import Spec, Variables, initial_variables
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.weights.torch_weights import paper_rules
from tests.helpers.synthetic import VOCABULARY, shrink
from tests.helpers.torch_writer import as_torch, save, state_dict


def small_spec(records: Path, modalities: str = "tav", name: str = "mme2e_sparse", layers: int = 1) -> Spec:
    """Of the shrunk sparse model of the tests, or of one that differs from it."""
    config = shrink(mini_sparse.get_config(), records)
    config.model.name, config.model.modalities, config.model.trans_layers = name, modalities, layers
    return model_spec(parse_config(config), 6, {"vocab_size": VOCABULARY})


def random_variables(spec: Spec, seed: int) -> Variables:
    """Variables of which no array is constant, as after training."""
    start = initial_variables(spec, seed)
    rng = np.random.default_rng(seed)
    arrays = {path: x + rng.uniform(0.01, 0.1, x.shape).astype(np.float32) for path, x in start.arrays().items()}
    return start.with_arrays(arrays)


def paper_tensors(variables: Variables, spec: Spec) -> dict[str, np.ndarray]:
    """The state dict, with what else the paper's code has in it."""
    return as_torch(variables.arrays(), paper_rules(spec)) | {
        "T.albert.pooler.weight": np.zeros((2, 2), np.float32),
        "T.albert.embeddings.position_ids": np.arange(512)[None],
        "mtcnn.pnet.conv1.weight": np.zeros((10, 3, 3, 3), np.float32),
        "mtcnn.rnet.dense4.bias": np.zeros(128, np.float32),
        "V.low_level.1.num_batches_tracked": np.array(3),
    }


def save_paper(path: Path, variables: Variables, spec: Spec) -> Path:
    """Writes the state dict as torch.save does."""
    return save(path, state_dict(paper_tensors(variables, spec)))
