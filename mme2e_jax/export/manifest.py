"""What an exported file says of its model: plain values, each checked when they are read."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mme2e_jax.config.schema import END_TO_END_MODELS, FAMILIES
from mme2e_jax.evaluation.tasks import TASKS
from mme2e_jax.export.signature import LONGEST_TEXT, media_inputs
from mme2e_jax.media.face_choice import CHOICES

# What no model of ours comes near, and what would fill screens.
_MOST_LABELS, _LONGEST_NAME = 1000, 200


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Everything beside program, weights and tokenizer files.

    Attributes:
      model: name of the architecture.
      modalities: that it reads, letters of "tva", in the order in which it mixes them.
      label_names: in the order of the logits.
      thresholds: by label, of the scores; empty where none were chosen.
      loss: what it was trained on.
      task: what its scores mean, see `metrics.Task`.
      sparse_threshold: share of the attention that kept sites hold; None for a model that keeps all.
      sparse_impl: how the sparse stages compute: "rows" or "masked", None for a model that has none.
      text_max_len: tokens at which a text is cut.
      preprocessing: how its data were prepared.
      tokenizer: what is known of it, with `vocab_size`; None for a model that reads no token numbers.
      dimensions: what the letters in shapes stand for: meaning, least and most (None where there is none).
      inputs, outputs: of the program, by name: shape, dtype, meaning.
      platforms: that the program runs on.
      calling_convention_version: of `jax.export`.
      jax_version: that exported it.
      provenance: the run's step, config and data.
    """

    model: str
    modalities: str
    label_names: Sequence[str]
    thresholds: Mapping[str, float]
    loss: str
    task: str
    sparse_threshold: float | None
    sparse_impl: str | None
    text_max_len: int
    preprocessing: Mapping[str, Any]
    tokenizer: Mapping[str, Any] | None
    dimensions: Mapping[str, Mapping[str, Any]]
    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Any]
    platforms: Sequence[str]
    calling_convention_version: int
    jax_version: str
    provenance: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @property
    def reads_clips(self) -> bool:
        """Whether its inputs are what is read of a clip, and not hand-crafted features."""
        return self.model in END_TO_END_MODELS


def from_json(values: Mapping[str, Any]) -> Manifest:
    """Reads what `Manifest.to_json` gave; keys of the container that are none of its fields are left out.

    Raises:
      ValueError: saying which value was expected to be what.
    """
    fields = [field.name for field in dataclasses.fields(Manifest)]
    missing = [name for name in fields if name not in values]
    if missing:
        raise ValueError(f"the manifest lacks {', '.join(missing)}")
    manifest = Manifest(**{name: values[name] for name in fields})
    for what, holds in _rules(manifest):
        if not holds:
            raise ValueError(f"the manifest's {what}, found {str(getattr(manifest, what.split()[0]))[:100]}")
    return manifest


def check_batch(manifest: Manifest, batch: Mapping[str, Any]) -> None:
    """Refuses what is no batch for a model.

    Args:
      manifest: of the model.
      batch: numpy arrays by name.

    Raises:
      ValueError: if arrays are missing, or of other shapes or dtypes than the manifest has it.
    """
    if set(batch) != set(manifest.inputs):
        raise ValueError(f"Expected the arrays {', '.join(manifest.inputs)}, found {', '.join(batch) or 'none'}.")
    sizes: dict[str, int] = {}
    for name, one in manifest.inputs.items():
        found = [*batch[name].shape, batch[name].dtype.name]
        if len(found) == len(one["shape"]) + 1:
            # The first array that has a size says what it is.
            sizes |= {s: n for s, n in zip(one["shape"], found, strict=False) if isinstance(s, str) and s not in sizes}
        wanted = [*(sizes.get(size, size) for size in one["shape"]), one["dtype"]]
        if found != wanted:
            raise ValueError(f"{name}: expected [{_listed(wanted)}], found [{_listed(found)}].")
    for letter, size in sizes.items():
        least, most = manifest.dimensions[letter]["at_least"], manifest.dimensions[letter].get("at_most")
        if size < least or (most is not None and size > most):
            expected = f"at least {least}" if most is None else f"{least} to {most}"
            raise ValueError(f"{letter}: expected {expected}, found {size}.")


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _rules(m: Manifest) -> Iterator[tuple[str, bool]]:
    """Whether each value that something depends on is as it should be; later rules count on earlier ones."""
    yield f"model must be one of {', '.join(FAMILIES)}", m.model in FAMILIES
    yield "modalities must be different letters of tva", _is_subset(m.modalities)
    yield "label_names must be different names", _are_names(m.label_names)
    yield "thresholds must be a number for each label, or nothing", _are_thresholds(m.thresholds, m.label_names)
    yield f"loss must be one of {', '.join(TASKS)}", isinstance(m.loss, str) and m.loss in TASKS
    yield "task must be that of its loss", m.task == TASKS[m.loss].value
    threshold = m.sparse_threshold
    yield "sparse_threshold must be in (0, 1]", threshold is None or (_is_number(threshold) and 0 < threshold <= 1)
    yield "sparse_impl must be rows or masked", m.sparse_impl in (None, "rows", "masked")
    yield f"text_max_len must be 1 to {LONGEST_TEXT}", _is_integer(m.text_max_len, 1, LONGEST_TEXT)
    yield "preprocessing must be known to readers of clips", not m.reads_clips or _is_readable(m.preprocessing)
    words = "t" in m.modalities and m.reads_clips
    yield "tokenizer must state vocab_size", not words or _is_tokenizer(m.tokenizer)
    sizes = m.dimensions
    yield "dimensions must have a least size", isinstance(sizes, dict) and all(map(_is_dimension, sizes.values()))
    inputs = m.inputs
    yield "inputs must be arrays", isinstance(inputs, dict) and all(_is_array(one, sizes) for one in inputs.values())
    yield (
        "inputs must be what is read of clips",
        not m.reads_clips
        or _shapes(inputs) == _shapes({name: one.to_json() for name, one in media_inputs(m.modalities).items()}),
    )
    yield "platforms must be names", _are_names(m.platforms)
    yield "provenance must state the step", isinstance(m.provenance, dict) and _is_integer(m.provenance.get("step"), 0)


def _shapes(inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: (one["shape"], one["dtype"]) for name, one in inputs.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any, low: int, high: int = 2**62) -> bool:
    return type(value) is int and low <= value <= high


def _is_subset(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) == len(set(value)) and set(value) <= set("tva")


def _are_names(value: Any) -> bool:
    texts = isinstance(value, list) and all(isinstance(v, str) and 0 < len(v) <= _LONGEST_NAME for v in value)
    return texts and 0 < len(value) == len(set(value)) <= _MOST_LABELS


def _are_thresholds(value: Any, labels: Sequence[str]) -> bool:
    return isinstance(value, dict) and set(value) in (set(), set(labels)) and all(map(_is_number, value.values()))


def _is_readable(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_integer(value.get("frame_interval_ms", 1), 1):
        return False
    choice = value.get("face_choice", next(iter(CHOICES)))
    return isinstance(choice, str) and choice in CHOICES


def _is_tokenizer(value: Any) -> bool:
    return isinstance(value, dict) and _is_integer(value.get("vocab_size"), 1)


def _is_dimension(value: Any) -> bool:
    if not isinstance(value, dict) or not _is_integer(value.get("at_least"), 0):
        return False
    return value.get("at_most") is None or _is_integer(value["at_most"], 0)


def _is_array(value: Any, dimensions: Mapping[str, Any]) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("dtype"), str):
        return False
    shape = value.get("shape")
    return isinstance(shape, list) and all(_is_integer(s, 0) or (isinstance(s, str) and s in dimensions) for s in shape)
