"""Builds optimizer, training step and initial variables from a config."""

import optax

from mme2e_jax.config import schema
from mme2e_jax.config.preflight import pretrained_text
from mme2e_jax.config.schema import Config
from mme2e_jax.data.dataset import Dataset
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import Spec, Variables, initial_variables
from mme2e_jax.training import losses
from mme2e_jax.training.optimizer import learning_rate, optimizer
from mme2e_jax.training.step import TrainStep, make_train_step
from mme2e_jax.training.teaching import Teaching, logit_distance
from mme2e_jax.weights import pretrained, warm_start

# Length of the dense phase's schedule, in dense phases: a cosine ends it at a fifth of the rate. The taught phase
# trains the same weights on, and small corpora have not been learned when a shorter schedule reaches 0.
_DENSE_SCHEDULE = 1.4


def make_optimizer(config: Config, total_steps: int) -> optax.GradientTransformation:
    """The optimizer of a run of `total_steps`; raises `UserError` if the run ends before its first update."""
    o = config.optim
    if o.accumulate > total_steps:
        raise UserError(
            f"config.optim.accumulate: expected at most the {total_steps} steps of the run, found {o.accumulate}, so "
            "that no update would happen. Lower it, or raise config.optim.epochs."
        )
    updates, dense_updates = (n // o.accumulate for n in (total_steps, total_steps * config.dense_epochs // o.epochs))
    schedule = learning_rate(o.lr, o.schedule, updates - dense_updates)
    if dense_updates:
        first = learning_rate(o.lr, o.schedule, round(_DENSE_SCHEDULE * dense_updates))
        schedule = optax.join_schedules([first, schedule], [dense_updates])
    return optimizer(
        o.name,
        schedule,
        # The baselines have no pretrained text encoder.
        text_lr_factor=o.text_lr_factor if isinstance(o, schema.EndToEndOptimConfig) else 1.0,
        score_lr_factor=o.score_lr_factor if isinstance(o, schema.SparseOptimConfig) else 1.0,
        weight_decay=o.weight_decay,
        clip=o.clip,
        accumulate=o.accumulate,
    )


def make_step(config: Config, dataset: Dataset, tx: optax.GradientTransformation) -> TrainStep:
    """The training step that a config describes, for the labels of a dataset."""
    train, o, m = dataset.split("train"), config.optim, config.model
    teaching = None
    if isinstance(o, schema.SparseOptimConfig):
        teaching = Teaching(o.teacher_saliency, o.saliency_exponent, o.teacher_kd, logit_distance(o.loss))
    return make_train_step(
        tx,
        losses.make_loss(o.loss, losses.positive_weights(train.positives, len(train))),
        seed=config.seed,
        attention_entropy=m.attention_entropy if isinstance(m, schema.SparseModelConfig) else 0.0,
        teaching=teaching,
        skip_nonfinite=o.skip_nonfinite > 0,
    )


def start_variables(config: Config, spec: Spec) -> Variables:
    """Variables on the host, with a config's pretrained parts; raises `UserError` if they are missing or do not fit."""
    variables = initial_variables(spec, config.seed)
    if text := pretrained_text(config):
        variables = pretrained.with_albert(variables, pretrained.read_albert(text.dir, text.size))
    if config.teacher:
        variables = warm_start.start_from_teacher(variables, spec, config.teacher)
    if config.init.checkpoint:
        variables = warm_start.warm_start(variables, spec, config.init.checkpoint, config.init.modalities)
    return variables
