"""What a config must hold: every key, its type, its range. Checked before anything is loaded.

Configs themselves are plain files under `configs/`; this is the one place that knows which values make sense.
"""

import dataclasses
import numbers
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mme2e_jax.constants import DATASETS, EMBEDDED
from mme2e_jax.errors import UserError

# A validated ConfigDict. Its attributes have every type a value can have, which no type checker can follow.
Config = Any

END_TO_END_MODELS = ("mme2e", "mme2e_sparse")
FEATURE_MODELS = ("lf_rnn", "lf_transformer")
MODELS = (*END_TO_END_MODELS, *FEATURE_MODELS)
_RANGE = re.compile(r"\d{1,9}:\d{1,9}")
TEXT_SIZES = ("tiny", "base", "large", "xlarge")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One value: what it must be, in words and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def _integer(low: int, high: int | None = None) -> Rule:
    words = f"a whole number of at least {low}" + (f" and at most {high}" if high is not None else "")
    return Rule(words, lambda v: _is_int(v) and v >= low and (high is None or v <= high))


def _real(words: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(words, lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool) and holds(float(v)))


def _choice(*names: str) -> Rule:
    return Rule("one of " + ", ".join(names), lambda v: v in names)


def _integers(count: int, low: int) -> Rule:
    def holds(v: Any) -> bool:
        return isinstance(v, Sequence) and len(v) == count and all(_is_int(x) and x >= low for x in v)

    return Rule(f"{count} whole numbers of at least {low}, for text, audio and video", holds)


def _is_int(v: Any) -> bool:
    return isinstance(v, int) and not isinstance(v, bool)


_TEXT = Rule("a string", lambda v: isinstance(v, str))
_BOOL = Rule("True or False", lambda v: isinstance(v, bool))
_POSITIVE = _real("a number above 0", lambda v: 0 < v < float("inf"))
_NOT_NEGATIVE = _real("a number of at least 0", lambda v: 0 <= v < float("inf"))
_MODALITIES = Rule(
    "a non-empty subset of the letters t (text), a (audio), v (video)",
    lambda v: isinstance(v, str) and 0 < len(v) == len(set(v)) and set(v) <= set("tav"),
)

_STEPS = Rule(
    "START:STOP, the steps from START to STOP - 1, or nothing",
    lambda v: v == "" or (isinstance(v, str) and bool(_RANGE.fullmatch(v)) and operator.lt(*map(int, v.split(":")))),
)

_PROJECT = Rule(
    "a Weights & Biases project's name, of at most 128 characters and without spaces and / \\ # ? % :, or nothing",
    lambda v: isinstance(v, str) and re.fullmatch(r"[^\s/\\#?%:]{0,128}", v) is not None,
)

COMMON_RULES: Mapping[str, Rule] = {
    "seed": _integer(0, 2**31 - 1),
    "profile": _STEPS,
    "data.dataset": _choice(*DATASETS),
    "data.dir": _TEXT,
    "data.batch_size": _integer(1),
    "data.text_max_len": _integer(4, 512),
    "data.max_shapes": _integer(1, 64),
    "data.skip_bad": _integer(0),
    "model.name": _choice(*MODELS),
    "model.modalities": _MODALITIES,
    "model.dropout": _real("a number in [0, 1)", lambda v: 0 <= v < 1),
    "init.checkpoint": _TEXT,
    "init.modalities": _MODALITIES,
    "optim.name": _choice("adam", "adamw", "sgd"),
    "optim.lr": _POSITIVE,
    "optim.weight_decay": _NOT_NEGATIVE,
    "optim.epochs": _integer(1),
    "optim.early_stop": _integer(0),
    "optim.clip": _NOT_NEGATIVE,
    "optim.accumulate": _integer(1),
    "optim.skip_nonfinite": _integer(0),
    "optim.schedule": _choice("constant", "cosine"),
    "optim.loss": _choice("bce", "ce", "mse", "l1"),
    "evaluation.threshold_smoothing": _integer(0, 9),
    "checkpoint.keep_last": _integer(1),
    "checkpoint.every_steps": _integer(0),
    "log.every_steps": _integer(1),
    "log.tensorboard": _BOOL,
    "log.wandb": _PROJECT,
    "mesh.devices": _integer(0),
}
END_TO_END_RULES: Mapping[str, Rule] = {
    "model.width": _real("a number above 0 and at most 4", lambda v: 0 < v <= 4),
    "model.trans_dim": _integer(1),
    "model.trans_layers": _integer(1),
    "model.trans_heads": _integer(1),
    "model.dtype": _choice("float32", "bfloat16"),
    "model.remat": _BOOL,
    "model.sparse_threshold": _real("a number above 0 and at most 1", lambda v: 0 < v <= 1),
    "model.sparse_anneal": _real("a share of the epochs in [0, 1]", lambda v: 0 <= v <= 1),
    "model.sparse_impl": _choice("auto", "rows", "masked"),
    "model.attention_grad": _choice("none", "renormalized"),
    "model.attention_entropy": _NOT_NEGATIVE,
    "model.text.size": _choice(*TEXT_SIZES),
    "model.text.init": _choice("random", "pretrained"),
    "model.text.dir": _TEXT,
    "optim.text_lr_factor": _POSITIVE,
}
# The baselines on hand-crafted features.
FEATURE_RULES: Mapping[str, Rule] = {
    "data.audio_feature_type": _integer(0, 6),
    "model.feature_sizes": _integers(3, 1),
    "model.parity_padding": _BOOL,
}
RNN_RULES: Mapping[str, Rule] = {
    "model.rnn.cell": _choice("lstm", "gru"),
    "model.rnn.layers": _integer(1),
    "model.rnn.hidden_size": _integer(0),
    "model.rnn.bidirectional": _BOOL,
}
FEATURE_TRANSFORMER_RULES: Mapping[str, Rule] = {
    "model.trans_layers": _integer(1),
    "model.trans_heads": _integers(3, 1),
}
# Present in a config exactly if it trains on the embedded corpus.
MINI_RULES: Mapping[str, Rule] = {
    "mini.utterances": _integer(24),
    "mini.seed": _integer(0, 2**31 - 1),
}
MODEL_RULES: Mapping[str, Mapping[str, Rule]] = {
    "mme2e": END_TO_END_RULES,
    "mme2e_sparse": END_TO_END_RULES,
    "lf_rnn": {**FEATURE_RULES, **RNN_RULES},
    "lf_transformer": {**FEATURE_RULES, **FEATURE_TRANSFORMER_RULES},
}


def rules_of(model: Any, dataset: Any) -> dict[str, Rule]:
    """What the config of a model and a dataset must hold; where a name is unknown, what all have in common."""
    rules = dict(COMMON_RULES) | dict(MODEL_RULES.get(model, {}))
    return rules | dict(MINI_RULES if dataset in EMBEDDED else {})


def all_rules() -> dict[str, tuple[Rule, ...]]:
    """What any config may hold, by key; models may differ in what a key holds."""
    rules: dict[str, tuple[Rule, ...]] = {}
    for part in (COMMON_RULES, MINI_RULES, *MODEL_RULES.values()):
        for key, rule in part.items():
            known = rules.get(key, ())
            rules[key] = known if rule in known else (*known, rule)
    return rules


def validate(config: Config) -> None:
    """Checks a whole config.

    Raises:
      UserError: with every problem in one message.
    """
    values = dict(_flatten(config))
    rules = rules_of(values.get("model.name"), values.get("data.dataset"))
    problems = [f"config.{key}: missing; expected {rules[key].expected}." for key in rules if key not in values]
    for key, value in values.items():
        if key not in rules:
            problems.append(_unknown(key, rules))
        elif not rules[key].holds(value):
            problems.append(f"config.{key}: expected {rules[key].expected}, found {value!r}.")
    # Rules about several values make sense only once each of them does.
    problems = problems or list(_across(values))
    if problems:
        raise _refusal(problems)


def refuse_overrides(overrides: Mapping[str, str]) -> None:
    """Refuses keys that no config has, before a config is loaded to be overridden.

    Args:
      overrides: key -> value as on the command line, `--config.KEY=VALUE`.

    Raises:
      UserError: with every problem in one message.
    """
    rules = all_rules()
    problems = [_unknown(key, rules) for key in overrides if not any(f"{r}.".startswith(f"{key}.") for r in rules)]
    if problems:
        raise _refusal(problems)


def refuse_value(key: str, value: str) -> None:
    """Refuses a command line's value that is not of its key's type.

    Raises:
      UserError: saying what the key must hold.
    """
    rules = all_rules().get(key, ())
    expected = " or ".join(r.expected for r in rules) or "a section's keys one by one, as in --config.optim.lr=1e-4"
    raise _refusal([f"config.{key}: expected {expected}, found {value!r}."])


def records_kind(config: Config) -> str:
    """The kind of records that the config's model reads.

    "media" (faces, sound and tokens) for the end-to-end models, "features" (hand-crafted ones) for the baselines.
    """
    return "features" if config.model.name in FEATURE_MODELS else "media"


def site_selection(config: Config) -> tuple[float, float]:
    """The threshold of the sparse attention in the end, and the share of the epochs over which it falls to that.

    A model that selects no sites keeps all of them: (1, 0).
    """
    if config.model.name != "mme2e_sparse":
        return 1.0, 0.0
    return config.model.sparse_threshold, config.model.sparse_anneal


def fitting_devices(batch_size: int, available: int) -> int:
    """The most devices that divide a batch."""
    return max(n for n in range(1, available + 1) if batch_size % n == 0)


def validate_devices(config: Config, available: int) -> int:
    """How many devices the config uses of those `available`.

    Raises:
      UserError: if there are fewer than asked for, or they do not divide the batch.
    """
    devices = config.mesh.devices or available
    if devices > available:
        raise UserError(f"config.mesh.devices: expected at most {available} (the devices JAX finds), found {devices}.")
    if config.data.batch_size % devices:
        fewer = fitting_devices(config.data.batch_size, devices)
        raise UserError(
            f"config.data.batch_size: expected a multiple of the {devices} devices in use, found "
            f"{config.data.batch_size}. Change it, or use fewer devices with --config.mesh.devices={fewer}."
        )
    return devices


# What may change while a run goes on: where things lie, what is shown, by which way it is computed, and how long;
# nothing that the numbers of a step depend on beyond the order of sums. A run that stopped at a bad record may go on
# without it.
_FREE = (
    "data.dir",
    "data.skip_bad",
    "model.text.dir",
    "model.remat",
    "model.sparse_impl",
    "optim.epochs",
    "optim.early_stop",
    "optim.skip_nonfinite",
    "checkpoint.",
    "log.",
    "mesh.",
    "profile",
)


# Keys that were added after runs had been made, with what those runs did.
_LATER = {
    "log.wandb": "",
    "profile": "",
    "data.skip_bad": 0,
    "optim.skip_nonfinite": 0,
    "checkpoint.every_steps": 0,
}


def with_later_keys(values: Mapping[str, Any]) -> Config:
    """The config of a checkpoint, as one of this version: with the keys that did not exist when it was written."""
    config: Config = ConfigDict(values)
    for key, value in _LATER.items():
        section, _, name = key.rpartition(".")
        place = config[section] if section else config
        if name not in place:
            place[name] = value
    return config


def refuse_changes(config: Config, started_with: Mapping[str, Any], workdir: object) -> None:
    """Refuses to go on with a run under another config than the one it started with.

    Raises:
      UserError: listing every difference.
    """
    # A checkpoint gives tuples back as lists.
    now, then = (
        {key: list(value) if isinstance(value, tuple) else value for key, value in _flatten(values)}
        for values in (config, started_with)
    )
    keys = [k for k in now | then if not k.startswith(_FREE) and now.get(k) != then.get(k)]
    if keys:
        changes = "\n".join(f"  - config.{k}: started with {then.get(k)!r}, found {now.get(k)!r}." for k in keys)
        raise UserError(
            f"{workdir} holds a run with another config:\n{changes}\n"
            "Give the same values to go on with it, or start a new run with another --workdir."
        )


def _across(values: Mapping[str, Any]) -> Iterator[str]:
    if values["model.name"] in END_TO_END_MODELS:
        yield from _across_end_to_end(values)
    if values["model.name"] == "lf_transformer":
        pairs = zip("tav", values["model.feature_sizes"], values["model.trans_heads"], strict=True)
        for m, size, heads in pairs:
            if m in values["model.modalities"] and size % heads:
                yield f"config.model.trans_heads: expected a divisor of the feature size {size} for {m}, found {heads}."


def _across_end_to_end(values: Mapping[str, Any]) -> Iterator[str]:
    if values["model.name"] == "mme2e_sparse" and "t" not in values["model.modalities"]:
        yield (
            "config.model.modalities: the sparse model's attention is guided by text, so expected t among them, found "
            f"{values['model.modalities']!r}. Add t, or use the dense model (config.model.name='mme2e')."
        )
    if values["model.trans_dim"] % values["model.trans_heads"]:
        yield (
            f"config.model.trans_heads: expected a divisor of trans_dim ({values['model.trans_dim']}), found "
            f"{values['model.trans_heads']}."
        )
    if values["model.name"] != "mme2e_sparse":
        for key, off in (("attention_grad", "none"), ("attention_entropy", 0.0)):
            if values[f"model.{key}"] != off:
                yield f"config.model.{key}: only the sparse model has attention; expected {off!r} for the dense one."
    if values["model.text.init"] == "pretrained" and values["model.text.size"] == "tiny":
        yield "config.model.text.size: there is no pretrained ALBERT of size tiny; use base, large or xlarge."


def _flatten(config: Mapping[str, Any] | ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _refusal(problems: Sequence[str]) -> UserError:
    return UserError("The config does not make sense:\n" + "\n".join(f"  - {p}" for p in problems))


def _unknown(key: str, rules: Iterable[str]) -> str:
    return f"config.{key}: no such key. Valid keys: {', '.join(_siblings(key, rules))}."


def _siblings(key: str, rules: Iterable[str]) -> list[str]:
    """The keys of the same section; all where there is no such section."""
    section = key.rpartition(".")[0]
    return sorted(k for k in rules if section and k.rpartition(".")[0] == section) or sorted(rules)
