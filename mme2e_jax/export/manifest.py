"""The manifest of an exported file, with every value checked."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, FiniteFloat, NonNegativeInt, StringConstraints, model_validator
from typing_extensions import TypedDict

from mme2e_jax.checkpoints.metadata import MeanAuc, Names, Preprocessing, Tokenizer, check_thresholds, different, one_of
from mme2e_jax.config.schema import END_TO_END_MODELS, FAMILIES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.evaluation.tasks import TASKS
from mme2e_jax.export.signature import LONGEST_TEXT, media_inputs
from mme2e_jax.runtime.json_schema import JsonObject


class Dimension(TypedDict, extra_items=Any):
    """What a letter in shapes stands for, and its limits."""

    at_least: NonNegativeInt
    at_most: NotRequired[NonNegativeInt | None]


class Array(TypedDict, extra_items=Any):
    """An input of the program."""

    shape: list[NonNegativeInt | str]  # letters are keys of `dimensions`
    dtype: str


class Provenance(TypedDict, extra_items=Any):
    """The checkpoint that was exported."""

    step: NonNegativeInt


class Manifest(JsonObject):
    """Everything in an exported file except program, weights and tokenizer files."""

    model: Annotated[str, one_of(FAMILIES)]  # name of the architecture
    # Modalities that the model reads, letters of "tva", in the order in which it mixes them.
    modalities: Annotated[str, StringConstraints(pattern="^[tva]+$"), AfterValidator(different)]
    label_names: Names  # labels in the order of the logits
    thresholds: dict[str, FiniteFloat]  # score threshold by label; empty if none were chosen
    loss: Annotated[str, one_of(TASKS)]  # training loss
    task: str  # meaning of the scores, see `metrics.Task`
    # Share of the attention that kept sites hold; None for a model that keeps all sites.
    sparse_threshold: Annotated[float, Field(gt=0, le=1)] | None
    sparse_impl: Literal["rows", "masked"] | None  # how the sparse stages compute; None for a model without any
    text_max_len: Annotated[int, Field(ge=1, le=LONGEST_TEXT)]  # number of tokens at which a text is cut
    # Whether frames without a face and silent sound must be left out of the inputs.
    mask_absent: bool = False
    preprocessing: Preprocessing  # how the data of the run were prepared
    tokenizer: Tokenizer | None  # what is known of the tokenizer; None for a model that reads no tokens
    dimensions: dict[str, Dimension]  # meaning and limits of the letters in shapes
    inputs: dict[str, Array]  # shape, dtype and meaning of each input of the program
    outputs: dict[str, Any]  # the same of its outputs
    platforms: Names  # platforms that the program runs on
    calling_convention_version: int  # version of `jax.export`
    jax_version: str  # version that exported the program
    test_auc: MeanAuc | None = None  # None if the run had no report, and in files of earlier versions
    provenance: Provenance  # step, config and data of the run

    @property
    def dataset(self) -> str:
        """Dataset of the training; empty if the file does not say it."""
        return str(self.provenance.get("config", {}).get("data", {}).get("dataset", ""))

    @property
    def reads_clips(self) -> bool:
        """Whether the model reads clips, not hand-crafted features."""
        return self.model in END_TO_END_MODELS

    @model_validator(mode="after")
    def _check_together(self) -> "Manifest":
        probabilities = self.task != Task.REGRESSION.value
        check_thresholds(self.thresholds, self.label_names, probabilities=probabilities)
        if self.task != TASKS[self.loss].value:
            raise ValueError(f"task: expected {TASKS[self.loss].value} for the loss {self.loss}, found {self.task}")
        letters = {size for array in self.inputs.values() for size in array["shape"] if isinstance(size, str)}
        if unknown := letters - set(self.dimensions):
            raise ValueError(f"inputs: expected sizes among {_listed(self.dimensions)}, found {_listed(unknown)}")
        if self.reads_clips:
            if "t" in self.modalities and self.tokenizer is None:
                raise ValueError("tokenizer: expected vocab_size, found nothing")
            expected = {name: (list(x.shape), x.dtype) for name, x in media_inputs(self.modalities).items()}
            if expected != {name: (x["shape"], x["dtype"]) for name, x in self.inputs.items()}:
                raise ValueError(f"inputs: expected those of clips ({_listed(expected)}), found {_listed(self.inputs)}")
        return self


def check_batch(manifest: Manifest, batch: Mapping[str, Any]) -> None:
    """Raises ValueError if arrays of a batch are missing, or their shapes or dtypes differ from the manifest."""
    if set(batch) != set(manifest.inputs):
        raise ValueError(f"Expected the arrays {', '.join(manifest.inputs)}, found {', '.join(batch) or 'none'}.")
    sizes: dict[str, int] = {}
    for name, array in manifest.inputs.items():
        found = [*batch[name].shape, batch[name].dtype.name]
        if len(found) == len(array["shape"]) + 1:
            # The first array with a letter in its shape fixes the size of the letter.
            for letter, size in zip(array["shape"], found, strict=False):
                if isinstance(letter, str):
                    sizes.setdefault(letter, size)
        expected = [*(sizes.get(str(size), size) for size in array["shape"]), array["dtype"]]
        if found != expected:
            raise ValueError(f"{name}: expected [{_listed(expected)}], found [{_listed(found)}].")
    for letter, size in sizes.items():
        least, most = manifest.dimensions[letter]["at_least"], manifest.dimensions[letter].get("at_most")
        if size < least or (most is not None and size > most):
            limits = f"at least {least}" if most is None else f"{least} to {most}"
            raise ValueError(f"{letter}: expected {limits}, found {size}.")


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values)) or "none"
