"""The typed config: one frozen dataclass per section and model family.

`configs/*.py` return a `ConfigDict`, flags override it, and `parse.parse_config` turns it into a `Config`.
Comments in the files under `configs/` explain the values.
"""

import dataclasses
from typing import Any, Literal, NamedTuple, dataclass_transform

from mme2e_jax.config import rules
from mme2e_jax.config.rules import Rule, choice, integer, real, setting
from mme2e_jax.constants import DATASETS

END_TO_END_MODELS = ("mme2e", "mme2e_sparse")
FEATURE_MODELS = ("lf_rnn", "lf_transformer")


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Section:
    """A part of the config: every subclass is a frozen dataclass with keyword arguments."""

    def __init_subclass__(cls) -> None:
        dataclasses.dataclass(frozen=True, kw_only=True)(cls)


class MiniConfig(Section):
    """How the embedded corpus is generated."""

    utterances: int = setting(integer(24))
    seed: int = setting(integer(0, 2**31 - 1))


class DataConfig(Section):
    """Which records are read, and how they are batched."""

    dataset: str = setting(choice(*DATASETS))
    dir: str = setting(rules.TEXT)
    batch_size: int = setting(integer(1))
    text_max_len: int = setting(integer(4, 512))
    max_shapes: int = setting(integer(1, 64))
    skip_bad: int = setting(integer(0))


class FeatureDataConfig(DataConfig):
    """Records of hand-crafted features."""

    audio_feature_type: int = setting(integer(0, 6))


class ModelConfig(Section):
    """Keys of all models."""

    name: str = setting(choice(*END_TO_END_MODELS, *FEATURE_MODELS))
    modalities: str = setting(rules.MODALITIES)
    dropout: float = setting(rules.DROPOUT)


class TextConfig(Section):
    """The ALBERT text encoder."""

    size: str = setting(choice("tiny", "base", "large", "xlarge"))
    init: str = setting(choice("random", "pretrained"))
    dir: str = setting(rules.TEXT)


class EndToEndModelConfig(ModelConfig):
    """FE2E, the dense model; MESM has the same keys."""

    width: float = setting(real("a number above 0 and at most 4", lambda v: 0 < v <= 4))
    trans_dim: int = setting(integer(1))
    trans_layers: int = setting(integer(1))
    trans_heads: int = setting(integer(1))
    dtype: Literal["float32", "bfloat16"] = setting(choice("float32", "bfloat16"))
    remat: bool = setting(rules.BOOL)
    absent: Literal["mask", "paper"] = setting(choice("mask", "paper"))
    text: TextConfig


class SparseModelConfig(EndToEndModelConfig):
    """MESM, the sparse model."""

    sparse_threshold: float = setting(real("a number above 0 and at most 1", lambda v: 0 < v <= 1))
    sparse_rule: Literal["mass", "share"] = setting(choice("mass", "share"))
    sparse_region: int = setting(Rule("1 or 4", lambda v: v in (1, 4)))
    sparse_once: bool = setting(rules.BOOL)
    sparse_anneal: float = setting(real("a share of the epochs in [0, 1]", lambda v: 0 <= v <= 1))
    sparse_norm_momentum: float = setting(real("a number in [0, 1)", lambda v: 0 <= v < 1))
    sparse_impl: str = setting(choice("auto", "rows", "masked"))
    attention_grad: str = setting(choice("none", "renormalized"))
    attention_entropy: float = setting(rules.NOT_NEGATIVE)


class FeatureModelConfig(ModelConfig):
    """Keys of the baselines on hand-crafted features."""

    feature_sizes: tuple[int, int, int] = setting(rules.integer_per_modality(1))
    parity_padding: bool = setting(rules.BOOL)


class RnnConfig(Section):
    """The recurrent encoders of LF-LSTM."""

    cell: str = setting(choice("lstm", "gru"))
    layers: int = setting(integer(1))
    hidden_size: int = setting(integer(0))
    bidirectional: bool = setting(rules.BOOL)


class RnnModelConfig(FeatureModelConfig):
    """LF-LSTM."""

    rnn: RnnConfig


class TransformerModelConfig(FeatureModelConfig):
    """LF-TRANS."""

    trans_layers: int = setting(integer(1))
    trans_heads: tuple[int, int, int] = setting(rules.integer_per_modality(1))


class InitConfig(Section):
    """Weights that training starts from."""

    checkpoint: str = setting(rules.TEXT)
    modalities: str = setting(rules.MODALITIES)


class SparseInitConfig(InitConfig):
    """Also the dense run that starts and teaches a sparse model."""

    teacher: str = setting(rules.TEXT)


class OptimConfig(Section):
    """The optimizer, its schedule and the loss."""

    name: str = setting(choice("adam", "adamw", "sgd"))
    lr: float = setting(rules.LEARNING_RATE)
    weight_decay: float = setting(rules.NOT_NEGATIVE)
    epochs: int = setting(integer(1))
    early_stop: int = setting(integer(0))
    clip: float = setting(rules.NOT_NEGATIVE)
    accumulate: int = setting(integer(1))
    skip_nonfinite: int = setting(integer(0))
    schedule: str = setting(choice("constant", "cosine"))
    loss: str = setting(choice("bce", "ce", "mse", "l1"))


class EndToEndOptimConfig(OptimConfig):
    """The optimizer with a lower learning rate for the text encoder."""

    text_lr_factor: float = setting(rules.POSITIVE)


class SparseOptimConfig(EndToEndOptimConfig):
    """The optimizer, and how a teacher trains the scores of the sparse model."""

    score_lr_factor: float = setting(rules.POSITIVE)
    dense_epochs: int = setting(integer(0))
    teacher_saliency: float = setting(rules.NOT_NEGATIVE)
    saliency_exponent: float = setting(rules.POSITIVE)
    teacher_kd: float = setting(real("a number in [0, 1]", lambda v: 0 <= v <= 1))


class EvaluationConfig(Section):
    """How decision thresholds are chosen."""

    threshold_smoothing: int = setting(integer(0, 9))


class CheckpointConfig(Section):
    """When checkpoints are saved and which are kept."""

    keep_last: int = setting(integer(1))
    every_steps: int = setting(integer(0))


class LogConfig(Section):
    """Logging."""

    every_steps: int = setting(integer(1))
    tensorboard: bool = setting(rules.BOOL)
    wandb: str = setting(rules.PROJECT)


class MeshConfig(Section):
    """Devices."""

    devices: int = setting(integer(0))


class Config(Section):
    """An experiment. `mini` is None unless it trains on the embedded corpus."""

    seed: int = setting(integer(0, 2**31 - 1))
    profile: str = setting(rules.STEPS)
    mini: MiniConfig | None = None
    data: DataConfig
    model: ModelConfig
    init: InitConfig
    optim: OptimConfig
    evaluation: EvaluationConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    mesh: MeshConfig

    def to_dict(self) -> dict[str, Any]:
        """Sections as plain dicts, as checkpoints store them."""
        values = dataclasses.asdict(self)
        if self.mini is None:
            del values["mini"]
        return values

    @property
    def records_kind(self) -> str:
        """Kind of records that the model reads: "media" (faces, mel, tokens) or "features" (hand-crafted)."""
        return "features" if isinstance(self.model, FeatureModelConfig) else "media"

    @property
    def records_directory(self) -> str:
        """Directory of the records; for the embedded corpus it may not exist yet."""
        if self.data.dir or self.mini is None:
            return self.data.dir
        name = self.data.dataset.replace("_", "-") + {"media": "", "features": "-features"}[self.records_kind]
        return f"records/{name}-{self.mini.utterances}-{self.mini.seed}"

    @property
    def site_selection(self) -> tuple[float, float]:
        """Final attention threshold, and share of the epochs after the dense phase over which it falls to that.

        (1, 0) for dense models.
        """
        m = self.model
        return (m.sparse_threshold, m.sparse_anneal) if isinstance(m, SparseModelConfig) else (1.0, 0.0)

    @property
    def masks_absent(self) -> bool:
        """Whether frames without a face, silent sound and empty text add nothing to the decision."""
        return isinstance(self.model, EndToEndModelConfig) and self.model.absent == "mask"

    @property
    def dense_epochs(self) -> int:
        """Number of first epochs in which a sparse model computes all sites; 0 for other models."""
        return self.optim.dense_epochs if isinstance(self.optim, SparseOptimConfig) else 0

    @property
    def teacher(self) -> str:
        """Dense run that starts and teaches the sparse model; empty for none."""
        return self.init.teacher if isinstance(self.init, SparseInitConfig) else ""


class Family(NamedTuple):
    """Section classes that depend on the model."""

    data: type[DataConfig]
    model: type[ModelConfig]
    init: type[InitConfig]
    optim: type[OptimConfig]


FAMILIES: dict[str, Family] = {
    "mme2e": Family(DataConfig, EndToEndModelConfig, InitConfig, EndToEndOptimConfig),
    "mme2e_sparse": Family(DataConfig, SparseModelConfig, SparseInitConfig, SparseOptimConfig),
    "lf_rnn": Family(FeatureDataConfig, RnnModelConfig, InitConfig, OptimConfig),
    "lf_transformer": Family(FeatureDataConfig, TransformerModelConfig, InitConfig, OptimConfig),
}
