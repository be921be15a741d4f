"""Rules for single config values: a description and a test each."""

import dataclasses
import numbers
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

_RANGE = re.compile(r"\d{1,9}:\d{1,9}")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What one value must be."""

    expected: str  # noun phrase for error messages
    holds: Callable[[Any], bool]  # whether a value follows the rule


def setting(rule: Rule) -> Any:
    """A dataclass field whose value must follow `rule`; it has no default."""
    return dataclasses.field(metadata={"rule": rule})


def integer(low: int, high: int | None = None) -> Rule:
    expected = f"a whole number of at least {low}" + (f" and at most {high}" if high is not None else "")
    return Rule(expected, lambda v: _is_int(v) and v >= low and (high is None or v <= high))


def real(expected: str, holds: Callable[[float], bool]) -> Rule:
    return Rule(expected, lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool) and holds(float(v)))


def choice(*names: str) -> Rule:
    return Rule("one of " + ", ".join(names), lambda v: v in names)


def integer_per_modality(low: int) -> Rule:
    def holds(v: Any) -> bool:
        return isinstance(v, Sequence) and len(v) == 3 and all(_is_int(x) and x >= low for x in v)

    return Rule(f"3 whole numbers of at least {low}, for text, audio and video", holds)


def _is_int(v: Any) -> bool:
    return isinstance(v, int) and not isinstance(v, bool)


# A checkpoint keeps the config as JSON, which holds valid Unicode only.
TEXT = Rule(
    "a string in UTF-8 without control characters",
    lambda v: isinstance(v, str) and not any(c < " " or "\ud800" <= c <= "\udfff" for c in v),
)
BOOL = Rule("True or False", lambda v: isinstance(v, bool))
POSITIVE = real("a number above 0", lambda v: 0 < v < float("inf"))
LEARNING_RATE = real("a number above 0 that float32 can hold", lambda v: 1e-37 < v < 3e38)
DROPOUT = real("a number of at least 0 and at most 0.99", lambda v: 0 <= v <= 0.99)
NOT_NEGATIVE = real("a number of at least 0", lambda v: 0 <= v < float("inf"))
MODALITIES = Rule(
    "a non-empty subset of the letters t (text), a (audio), v (video)",
    lambda v: isinstance(v, str) and 0 < len(v) == len(set(v)) and set(v) <= set("tav"),
)
STEPS = Rule(
    "START:STOP, the steps from START to STOP - 1, or nothing",
    lambda v: v == "" or (isinstance(v, str) and bool(_RANGE.fullmatch(v)) and operator.lt(*map(int, v.split(":")))),
)
PROJECT = Rule(
    "a Weights & Biases project's name, of at most 128 characters and without spaces and / \\ # ? % :, or nothing",
    lambda v: isinstance(v, str) and re.fullmatch(r"[^\s/\\#?%:]{0,128}", v) is not None,
)
