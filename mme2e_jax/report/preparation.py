"""Reads what preparation reported about a dataset: `report.json` of the records."""

from pathlib import Path

from mme2e_jax.runtime.json_schema import JsonObject, parse_json

FILE = "report.json"  # in the directory of the records


class ReportedUtterance(JsonObject):
    """One utterance of a reason."""

    id: str


class Reason(JsonObject):
    """Why utterances were left out, or kept with something missing."""

    effect: str
    meaning: str
    count: int
    utterances: list[ReportedUtterance]  # may be fewer than `count`


class Preparation(JsonObject):
    """The result of preparation."""

    utterances: dict[str, int]  # counts: kept, kept_degraded, dropped, excluded
    reasons: dict[str, Reason]  # by name
    warnings: list[str]


def read_preparation(directory: Path) -> Preparation | None:
    """Reads the report; None if it is missing or invalid."""
    try:
        return parse_json(Preparation, (directory / FILE).read_bytes())
    except (OSError, ValueError):
        return None
