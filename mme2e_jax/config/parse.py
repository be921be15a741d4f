"""Checks config values and turns them into a typed `Config`."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from ml_collections import ConfigDict

from mme2e_jax.config import schema
from mme2e_jax.config.rules import Rule
from mme2e_jax.config.schema import FAMILIES, Config, Family, MiniConfig
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.errors import UserError

# For an unknown model name: only the keys of all models are checked.
_ANY_FAMILY = Family(schema.DataConfig, schema.ModelConfig, schema.InitConfig, schema.OptimConfig)
_SPARSE_KEYS = {
    f"{section}.{field.name}"
    for section, sparse, dense in zip(Family._fields, FAMILIES["mme2e_sparse"], FAMILIES["mme2e"], strict=True)
    for field in set(dataclasses.fields(sparse)) - set(dataclasses.fields(dense))
}
# Required values of sparse keys in a config of the dense model, if it has them.
_OFF = {"model.attention_grad": "none", "model.attention_entropy": 0.0, "init.teacher": ""}
_NO_TEACHER = "--config.optim.teacher_saliency=0 --config.optim.teacher_kd=0"
_PATHS = ("data.dir", "model.text.dir", "init.checkpoint", "init.teacher")
# Keys that stored configs of earlier versions lack, with the values that those versions used.
_ADDED_LATER: Mapping[str, Any] = {
    "log.wandb": "",
    "profile": "",
    "data.skip_bad": 0,
    "optim.skip_nonfinite": 0,
    "checkpoint.every_steps": 0,
}
_ADDED_TO_END_TO_END: Mapping[str, Any] = {"model.absent": "paper"}
_ADDED_TO_SPARSE: Mapping[str, Any] = {
    "model.sparse_rule": "mass",
    "model.sparse_region": 1,
    "model.sparse_once": False,
    "model.sparse_norm_momentum": 0.99,
    "init.teacher": "",
    "optim.score_lr_factor": 1.0,
    "optim.dense_epochs": 0,
    "optim.teacher_saliency": 0.0,
    "optim.saliency_exponent": 0.5,
    "optim.teacher_kd": 0.0,
}


def parse_config(values: ConfigDict | Mapping[str, Any]) -> Config:
    """Checks a whole config, nested sections as `get_config` of a config file returns them, and returns it typed.

    A config of the dense model may hold the keys of the sparse one, so that `--config.model.name=mme2e` works on a
    sparse config; they are dropped. Raises `UserError` with every problem.
    """
    flat = dict(flatten(values))
    rules = _rules(flat.get("model.name"), flat.get("data.dataset"))
    problems = [f"config.{key}: missing; expected {rules[key].expected}." for key in rules if key not in flat]
    for key, value in flat.items():
        if key not in rules:
            if flat.get("model.name") != "mme2e" or key not in _SPARSE_KEYS:
                problems.append(_unknown(key, rules))
            elif key in _OFF and value != (off := _OFF[key]):
                problems.append(f"config.{key}: expected {off!r} for the dense model (no attention), found {value!r}.")
        elif not rules[key].holds(value):
            problems.append(f"config.{key}: expected {rules[key].expected}, found {value!r}.")
    # Rules about several values need each of them to be valid.
    problems = problems or list(_combinations(flat))
    if problems:
        raise _refusal(problems)
    family = FAMILIES[flat["model.name"]]
    sections = family._asdict() | ({"mini": MiniConfig} if flat["data.dataset"] in EMBEDDED else {})
    return _build(Config, values, sections)


def read_stored_config(values: Mapping[str, Any]) -> Config:
    """The config of a checkpoint, which an earlier version may have written; raises `UserError` with every problem."""
    return parse_config(with_current_keys(values))


def with_current_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Stored config values with the keys of this version: later keys added, keys without effect dropped."""
    result = _copied(values)
    model = dict(flatten(result)).get("model.name")
    added = {**_ADDED_LATER}
    if model in schema.END_TO_END_MODELS:
        added |= _ADDED_TO_END_TO_END
    if model == "mme2e_sparse":
        added |= _ADDED_TO_SPARSE
    for key, value in added.items():
        section, name = _section(result, key)
        section.setdefault(name, value)
    for key in _SPARSE_KEYS if model == "mme2e" else ():
        section, name = _section(result, key)
        section.pop(name, None)
    return result


def without_directories(values: Mapping[str, Any]) -> dict[str, Any]:
    """Stored config values with the last name of each path only: the rest is private to the machine of a run."""
    result = _copied(values)
    for key in _PATHS:
        section, name = _section(result, key)
        if name in section:
            section[name] = Path(section[name]).name
    return result


def _copied(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in values.items()}


def _section(values: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """The section that holds a key, and the key's name in it; an empty section if there is none."""
    *sections, name = key.split(".")
    for section in sections:
        found = values.get(section)
        values = found if isinstance(found, dict) else {}
    return values, name


def refuse_unknown_overrides(overrides: Iterable[str]) -> None:
    """Raises `UserError` with all override keys that no config has; keys are written without `--config.`."""
    rules = _all_rules()
    problems = [_unknown(key, rules) for key in overrides if not any(f"{r}.".startswith(f"{key}.") for r in rules)]
    if problems:
        raise _refusal(problems)


def refuse_value(key: str, value: str) -> None:
    """Raises `UserError` for a command-line value that is not of its key's type."""
    rules = _all_rules().get(key, ())
    expected = " or ".join(r.expected for r in rules) or "a section's keys one by one, as in --config.optim.lr=1e-4"
    raise _refusal([f"config.{key}: expected {expected}, found {value!r}."])


def flatten(values: ConfigDict | Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs such as ("optim.lr", 1e-3)."""
    for key, value in values.items():
        if isinstance(value, ConfigDict | Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _rules(model: Any, dataset: Any) -> dict[str, Rule]:
    """Rules by key for a model and a dataset; for an unknown model, those that all models share."""
    family = FAMILIES.get(model, _ANY_FAMILY) if isinstance(model, str) else _ANY_FAMILY
    sections: dict[str, type] = family._asdict()
    if isinstance(dataset, str) and dataset in EMBEDDED:
        sections["mini"] = MiniConfig
    return dict(_class_rules(Config, sections))


def _class_rules(section: type, replaced: Mapping[str, type], prefix: str = "") -> Iterator[tuple[str, Rule]]:
    hints = get_type_hints(section)
    for field in dataclasses.fields(section):
        kind = replaced.get(field.name, hints[field.name])
        if dataclasses.is_dataclass(kind):
            yield from _class_rules(kind, {}, f"{prefix}{field.name}.")
        elif "rule" in field.metadata:
            yield prefix + field.name, field.metadata["rule"]


@functools.cache
def _all_rules() -> dict[str, tuple[Rule, ...]]:
    """Rules of any config by key; a key may have one for each model."""
    rules: dict[str, tuple[Rule, ...]] = {}
    for model in FAMILIES:
        for key, rule in _rules(model, "mini").items():
            known = rules.get(key, ())
            rules[key] = known if rule in known else (*known, rule)
    return rules


def _build(section: Any, values: Any, replaced: Mapping[str, type]) -> Any:
    hints = get_type_hints(section)
    arguments = {}
    for field in dataclasses.fields(section):
        if field.name not in values:
            continue
        kind, value = replaced.get(field.name, hints[field.name]), values[field.name]
        if dataclasses.is_dataclass(kind):
            value = _build(kind, value, {})
        elif kind is float:
            value = float(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            value = tuple(value)
        arguments[field.name] = value
    return section(**arguments)


def _combinations(values: Mapping[str, Any]) -> Iterator[str]:
    if values["model.name"] in schema.END_TO_END_MODELS:
        yield from _end_to_end_combinations(values)
    if values["model.name"] == "lf_transformer":
        pairs = zip("tav", values["model.feature_sizes"], values["model.trans_heads"], strict=True)
        for m, size, heads in pairs:
            if m in values["model.modalities"] and size % heads:
                yield f"config.model.trans_heads: expected a divisor of the feature size {size} for {m}, found {heads}."


def _end_to_end_combinations(values: Mapping[str, Any]) -> Iterator[str]:
    if values["model.name"] == "mme2e_sparse" and "t" not in values["model.modalities"]:
        yield (
            "config.model.modalities: text guides the sparse model's attention, so expected t among them, found "
            f"{values['model.modalities']!r}. Add t, or use the dense model (config.model.name='mme2e')."
        )
    if values["model.name"] == "mme2e_sparse":
        yield from _teaching_combinations(values)
    if values["model.trans_dim"] % values["model.trans_heads"]:
        yield (
            f"config.model.trans_heads: expected a divisor of trans_dim ({values['model.trans_dim']}), found "
            f"{values['model.trans_heads']}."
        )
    if values["model.text.init"] == "pretrained" and values["model.text.size"] == "tiny":
        yield "config.model.text.size: there is no pretrained ALBERT of size tiny; use base, large or xlarge."


def _teaching_combinations(values: Mapping[str, Any]) -> Iterator[str]:
    dense, teacher = values["optim.dense_epochs"], values["init.teacher"]
    taught = values["optim.teacher_saliency"] > 0 or values["optim.teacher_kd"] > 0
    if dense >= values["optim.epochs"]:
        yield (
            f"config.optim.dense_epochs: expected fewer than the {values['optim.epochs']} epochs of the run, "
            f"found {dense}. Sites are left out in the epochs after them. Give both, for example "
            f"--config.optim.epochs={values['optim.epochs']} --config.optim.dense_epochs={values['optim.epochs'] // 2}."
        )
    if taught and not dense and not teacher:
        yield (
            "config.init.teacher: expected a dense run to learn from with config.optim.teacher_saliency or teacher_kd "
            "above 0, found none. Name one, let the run teach itself with --config.optim.dense_epochs=N, or train "
            f"without a teacher: {_NO_TEACHER}."
        )
    if teacher and not taught:
        yield (
            "config.optim.teacher_saliency: expected a number above 0 with config.init.teacher, found 0. To start "
            "from a run without learning from it, use config.init.checkpoint."
        )
    if teacher and (dense or values["init.checkpoint"]):
        other = "optim.dense_epochs=0" if dense else "init.checkpoint="
        yield f"config.init.teacher: the dense run starts the model, so expected --config.{other} with it."
    if taught and values["model.attention_grad"] != "none":
        yield (
            "config.model.attention_grad: expected none with a teacher, which trains the scores, found "
            f"{values['model.attention_grad']!r}. To train without a teacher: "
            f"{_NO_TEACHER} --config.optim.dense_epochs=0 --config.init.teacher=."
        )


def _refusal(problems: Sequence[str]) -> UserError:
    return UserError("The config is not valid:\n" + "\n".join(f"  - {p}" for p in problems))


def _unknown(key: str, rules: Iterable[str]) -> str:
    section = key.rpartition(".")[0]
    valid = [k for k in rules if section and k.rpartition(".")[0] == section] or rules
    return f"config.{key}: no such key. Valid keys: {', '.join(sorted(valid))}."
