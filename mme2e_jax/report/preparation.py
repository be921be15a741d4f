"""What became of a data set's utterances when it was prepared: the records' own `report.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FILE = "report.json"  # in the directory of the records


class Reason(NamedTuple):
    """Why utterances were left out, or kept with something missing."""

    name: str
    effect: str
    meaning: str
    count: int
    utterances: Sequence[str]  # some may have no name


class Preparation(NamedTuple):
    """What preparation did."""

    counts: dict[str, int]  # utterances kept, kept_degraded, dropped, excluded
    reasons: Sequence[Reason]
    warnings: Sequence[str]


def read_preparation(directory: Path) -> Preparation | None:
    """What the records' report says; None where there is none that can be read."""
    try:
        found = json.loads((directory / FILE).read_bytes())
        return Preparation(
            {str(name): int(count) for name, count in found["utterances"].items()},
            [
                Reason(
                    str(name),
                    str(entry["effect"]),
                    str(entry["meaning"]),
                    int(entry["count"]),
                    [str(utterance["id"]) for utterance in entry["utterances"]],
                )
                for name, entry in found["reasons"].items()
            ],
            [str(warning) for warning in found["warnings"]],
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
