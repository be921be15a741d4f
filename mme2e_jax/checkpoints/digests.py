"""Digests that detect damage of a checkpoint; Orbax checks some files only."""

import hashlib
import json
from pathlib import Path

from mme2e_jax.runtime.files import write_text
from mme2e_jax.runtime.json_schema import parse_json

NAME = "digests.json"
# Holds times; written again after the digests, and nothing depends on it.
_WITHOUT_DIGEST = "_CHECKPOINT_METADATA"


def write_digests(directory: Path) -> None:
    """Writes the digests of all files of a directory into it."""
    excluded = {directory / NAME, directory / _WITHOUT_DIGEST}
    files = [path for path in directory.rglob("*") if path.is_file() and path not in excluded]
    digests = {str(file.relative_to(directory)): _digest(file) for file in files}
    # Without a final newline, so that no byte can be lost unnoticed.
    write_text(directory / NAME, json.dumps(digests, indent=1, sort_keys=True))


def find_damage(directory: Path) -> str | None:
    """Describes the first damage of a directory with digests; None if all files with a digest are unchanged."""
    try:
        expected = parse_json(dict[str, str], (directory / NAME).read_bytes())
    except FileNotFoundError:
        return f"{NAME} is missing"
    except (OSError, ValueError) as error:
        return f"{NAME} is unreadable ({error})"
    for name, digest in sorted(expected.items()):
        try:
            if _digest(directory / name) != digest:
                return f"{name} is not as it was written"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} is unreadable ({error.strerror})"
    return None


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
