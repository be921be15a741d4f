"""Checks JSON that other programs may have written or edited."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

_SHOWN_PROBLEMS, _SHOWN_CHARACTERS = 3, 100
T = TypeVar("T")


class JsonObject(BaseModel):
    """A JSON object with declared keys; further keys are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)


def parse_json(schema: type[T], content: bytes | str) -> T:
    """Parses JSON in UTF-8 whose values must have exactly the types of `schema`, a type that pydantic knows.

    Raises ValueError, which names each wrong value by its keys, what was expected and what was found.
    """
    try:
        return TypeAdapter(schema).validate_json(content, strict=True)
    except ValidationError as error:
        raise ValueError(describe(error)) from error


def describe(error: ValidationError) -> str:
    """Describes the first problems, as in `thresholds.anger: expected a valid number, found 'high'`."""
    problems = []
    for problem in error.errors(include_url=False)[:_SHOWN_PROBLEMS]:
        keys = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ").replace("Input should", "expected to")
        message = message.replace("expected to be", "expected")
        if problem["type"] == "missing":
            problems.append(f"{keys} is missing")
        elif problem["type"] == "json_invalid" or not keys:
            problems.append(message)
        else:
            problems.append(f"{keys}: {message}, found {problem['input']!r:.{_SHOWN_CHARACTERS}}")
    more = error.error_count() - len(problems)
    return "; ".join(problems) + (f"; and {more} more" if more > 0 else "")
