"""Types that check the metadata of models from other people."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, Field, PositiveInt, StringConstraints
from typing_extensions import TypedDict

from mme2e_jax.media.face_choice import CHOICES
from mme2e_jax.runtime.json_schema import JsonObject


def one_of(names: Collection[str]) -> AfterValidator:
    """A check that a value is one of the names."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return value

    return AfterValidator(check)


def different(values: Any) -> Any:
    """The values; raises ValueError if two are equal."""
    if len(set(values)) < len(values):
        raise ValueError("expected different values")
    return values


# The upper limits keep messages short; our models stay far below them.
Names = Annotated[
    list[Annotated[str, StringConstraints(min_length=1, max_length=200)]],
    Field(min_length=1, max_length=1000),
    AfterValidator(different),
]


Share = Annotated[float, Field(ge=0, le=1)]


class Preprocessing(TypedDict, extra_items=Any):
    """How the data of the run were prepared. Readers of clips depend on these keys."""

    frame_interval_ms: NotRequired[Annotated[int, Field(gt=0, lt=2**31)]]
    face_choice: NotRequired[Annotated[str, one_of(CHOICES)]]


class Tokenizer(TypedDict, extra_items=Any):
    """What is known of the tokenizer."""

    vocab_size: PositiveInt


class MeanAuc(JsonObject):
    """The mean ROC-AUC of a model on its test split, with a confidence interval if it is known."""

    value: Share
    low: Share | None
    high: Share | None


def check_thresholds(thresholds: Mapping[str, float], label_names: Collection[str], *, probabilities: bool) -> None:
    """Raises ValueError unless the decision thresholds are those of the labels, or none, and probabilities if asked."""
    if thresholds and set(thresholds) != set(label_names):
        raise ValueError(f"thresholds: expected none, or those of the labels, found {', '.join(thresholds)}")
    if probabilities and (wrong := [t for t in thresholds.values() if not 0 <= t <= 1]):
        raise ValueError(f"thresholds: expected probabilities from 0 to 1, found {', '.join(map(str, wrong))}")
