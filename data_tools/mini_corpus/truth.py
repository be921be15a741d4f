"""`truth.json`: what every modality of a corpus was told to express, and where the awkward cases are.

Preparation must not read it; tests and people may.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TRUTH_FILE = "truth.json"


def write_truth_file(root: Path, truth: Mapping[str, Any]) -> None:
    """Writes `truth` into the directory of a corpus."""
    text = json.dumps(truth, indent=1, ensure_ascii=False) + "\n"
    (root / TRUTH_FILE).write_text(text, encoding="utf-8", newline="\n")
