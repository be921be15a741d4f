"""From a config and a dataset to a model: the one place that knows both."""

from collections.abc import Mapping
from typing import Any

import jax
import optax

from mme2e_jax import objective, step
from mme2e_jax.config import END_TO_END_MODELS, Config
from mme2e_jax.data.dataset import Dataset
from mme2e_jax.errors import UserError
from mme2e_jax.models.albert import POSITIONS, SIZES
from mme2e_jax.models.late_fusion import LateFusionSpec, TransformerSpec
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.recurrent import RecurrentSpec
from mme2e_jax.optimizer import learning_rate, optimizer
from mme2e_jax.prerequisites import needs_pretrained_text
from mme2e_jax.state import Spec, Variables, initial_variables
from mme2e_jax.step import TrainStep, make_train_step
from mme2e_jax.weights import pretrained, warm_start

# Threshold above which dense convolutions with masks are faster than rows of active sites, in training; see
# benchmarks/README.md. An H100 convolves at a speed that gathering rows in its memory cannot keep up with.
BREAK_EVEN = {"cpu": 0.85, "gpu": 0.4}


def model_spec(config: Config, labels: int, tokenizer: Mapping[str, Any]) -> Spec:
    """The architecture that a config describes.

    Args:
      config: validated.
      labels: number of emotions.
      tokenizer: of the dataset; its `vocab_size` fixes the embedding. The baselines have none.
    """
    if config.model.name in END_TO_END_MODELS:
        return _end_to_end_spec(config, labels, tokenizer)
    m = config.model
    return LateFusionSpec(
        modalities=m.modalities,
        labels=labels,
        feature_sizes=tuple(m.feature_sizes),
        encoder=(
            RecurrentSpec(m.rnn.cell, m.rnn.layers, m.rnn.hidden_size, m.rnn.bidirectional)
            if m.name == "lf_rnn"
            else TransformerSpec(m.trans_layers, tuple(m.trans_heads))
        ),
        parity_padding=m.parity_padding,
        dropout=m.dropout,
    )


def _end_to_end_spec(config: Config, labels: int, tokenizer: Mapping[str, Any]) -> ModelSpec:
    m = config.model
    assert config.data.text_max_len <= POSITIONS
    break_even = BREAK_EVEN.get(jax.default_backend(), BREAK_EVEN["gpu"])
    by_rows = m.sparse_impl == "rows" or (m.sparse_impl == "auto" and m.sparse_threshold <= break_even)
    return ModelSpec(
        modalities=m.modalities,
        sparse=m.name == "mme2e_sparse",
        labels=labels,
        vocabulary=int(tokenizer.get("vocab_size", 0)),  # imported weights without text know none
        text=SIZES[m.text.size],
        width=m.width,
        trans_dim=m.trans_dim,
        trans_layers=m.trans_layers,
        trans_heads=m.trans_heads,
        dropout=m.dropout,
        renormalize=m.attention_grad == "renormalized",
        rows_for=m.sparse_threshold if by_rows else 0.0,
        dtype=m.dtype,
        remat=m.remat,
    )


def make_optimizer(config: Config, total_steps: int) -> optax.GradientTransformation:
    """The optimiser that a config describes, for a run of `total_steps`.

    Raises:
      UserError: if the run ends before its first update.
    """
    o = config.optim
    if o.accumulate > total_steps:
        raise UserError(
            f"config.optim.accumulate: expected at most the {total_steps} steps of the run, found {o.accumulate}: "
            "nothing would be learned. Lower it, or raise config.optim.epochs."
        )
    schedule = learning_rate(o.lr, o.schedule, total_steps // o.accumulate)
    # The baselines have no pretrained text encoder that would have to learn more slowly.
    factor = o.text_lr_factor if config.model.name in END_TO_END_MODELS else 1.0
    return optimizer(
        o.name,
        schedule,
        text_lr_factor=factor,
        weight_decay=o.weight_decay,
        clip=o.clip,
        accumulate=o.accumulate,
    )


def make_step(config: Config, dataset: Dataset, tx: optax.GradientTransformation) -> TrainStep:
    """The training step that a config describes, for the labels of a dataset."""
    train = dataset.split("train")
    loss = objective.make_loss(config.optim.loss, objective.positive_weights(train.positives, len(train)))
    entropy = config.model.attention_entropy if config.model.name == "mme2e_sparse" else 0.0
    return make_train_step(
        tx,
        loss,
        seed=config.seed,
        attention_entropy=entropy,
        skip_nonfinite=config.optim.skip_nonfinite > 0,
    )


def compiler_options(config: Config) -> dict[str, str] | None:
    """What to compile the training step with."""
    remat = config.model.name in END_TO_END_MODELS and config.model.remat
    return step.compiler_options(jax.default_backend(), remat=remat)


def start_variables(config: Config, spec: Spec) -> Variables:
    """Variables at the start of training, on the host; parts from elsewhere where the config says so.

    Raises:
      UserError: if the weights to start from are missing or do not fit.
    """
    variables = initial_variables(spec, config.seed)
    if needs_pretrained_text(config):
        text = config.model.text
        variables = pretrained.with_albert(variables, pretrained.read_albert(text.dir, text.size))
    if config.init.checkpoint:
        variables = warm_start.with_parts(variables, spec, config.init.checkpoint, config.init.modalities)
    return variables
