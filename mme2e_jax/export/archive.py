"""Reads and writes exported files, zips of a few named members.

Members are stored uncompressed: weights hardly shrink, and no member is larger than the file. `manifest.json` lists the
others with their sizes and digests, which detect damage but not malice, so every reader of a member checks its content.
Only tokenizer files are written to disk, under names from a fixed list.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mme2e_jax.errors import UserError
from mme2e_jax.runtime.files import atomic_file
from mme2e_jax.runtime.json_schema import JsonObject, parse_json

FORMAT = "mme2e_jax exported model"
FORMAT_VERSION = 1
MANIFEST, PROGRAM, WEIGHTS = "manifest.json", "program.bin", "weights.safetensors"
TOKENIZER = "tokenizer/"
# Files that loading a tokenizer needs.
TOKENIZER_FILES = (
    "added_tokens.json",
    "config.json",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
)
_MEMBERS = {PROGRAM, WEIGHTS, *(TOKENIZER + name for name in TOKENIZER_FILES)}
_LARGEST_MANIFEST = 2**20
# The earliest time that a zip can store; a fixed time makes equal content equal bytes.
_TIME = (1980, 1, 1, 0, 0, 0)
# The errors of the standard library for files that are no zip, truncated, or of an unknown kind.
_ZIP_ERRORS = (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, LookupError)


class _Container(JsonObject):
    format: Any = None
    format_version: Any = None


class _Member(JsonObject):
    size: int
    sha256: str


class _Listing(JsonObject):
    members: dict[str, _Member]


def damaged(path: Path, found: object) -> UserError:
    """Returns the error for an invalid file."""
    return UserError(
        f"Expected a model as python launch.py --mode=export writes it; {path} is damaged, was edited, or is no such "
        f"model: {str(found)[:300]}. Export the model again."
    )


def tokenizer_members(directory: Path | None) -> dict[str, bytes]:
    """Reads the files of a tokenizer, by the names of members; none for None."""
    files = [directory / name for name in TOKENIZER_FILES] if directory else []
    return {TOKENIZER + file.name: file.read_bytes() for file in files if file.is_file()}


def write_archive(path: Path, manifest: Mapping[str, Any], members: Mapping[str, bytes]) -> None:
    """Writes a manifest of plain values and the members by name, atomically. The same content makes the same bytes.

    Format, version, and sizes and digests of the members are added to the manifest.
    """
    assert set(members) <= _MEMBERS
    listed = {name: {"size": len(content), "sha256": _digest(content)} for name, content in members.items()}
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, **manifest, "members": listed}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    assert len(text.encode()) <= _LARGEST_MANIFEST
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as file:
        for name, stored in {MANIFEST: text.encode(), **dict(sorted(members.items()))}.items():
            entry = zipfile.ZipInfo(name, _TIME)
            # The zip format records the writing system; a fixed value keeps the bytes the same everywhere.
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            file.writestr(entry, stored)


def read_archive(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """Reads the manifest and the other members by name, and checks format, version, sizes and digests.

    Raises `UserError` if it is missing, damaged, of another format or version, or has unknown members.
    """
    if not path.is_file():
        found = "a directory" if path.is_dir() else "nothing"
        raise UserError(f"Expected an exported model, found {found} at {str(path)!r}.")
    try:
        # Read once, so that the checked bytes are the used ones.
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
            names = file.namelist()
            if MANIFEST not in names:
                raise ValueError(f"it is a zip without {MANIFEST}")
            manifest = _stored(file, MANIFEST, _LARGEST_MANIFEST)
            listed = _listed(manifest, path)
            if sorted(names) != sorted([MANIFEST, *listed]):
                raise ValueError(f"expected the members {sorted([MANIFEST, *listed])}, found {sorted(names)}")
            return manifest, {name: _member(file, name, entry) for name, entry in listed.items()}
    except _ZIP_ERRORS as error:
        raise damaged(path, error or type(error).__name__) from error


def holds_something_else(path: Path) -> bool:
    """Whether the path is a directory, or a file that is not an exported model of any version."""
    if not path.exists():
        return False
    try:
        with zipfile.ZipFile(path) as file:
            return FORMAT not in _stored(file, MANIFEST, _LARGEST_MANIFEST).decode()
    except _ZIP_ERRORS:
        return True


def _listed(manifest: bytes, path: Path) -> dict[str, _Member]:
    container = parse_json(_Container, manifest)
    if container.format != FORMAT:
        raise ValueError(f"{MANIFEST} is not that of a {FORMAT}")
    if container.format_version != FORMAT_VERSION:
        raise UserError(
            f"{path} has format version {str(container.format_version)[:20]}, expected {FORMAT_VERSION}. Use the "
            "version of mme2e_jax that wrote it, or export the run again with this one."
        )
    listed = parse_json(_Listing, manifest).members
    if not {PROGRAM, WEIGHTS} <= set(listed) <= _MEMBERS:
        raise ValueError(f"{MANIFEST}: expected members of {sorted(_MEMBERS)}, found {sorted(listed)}")
    return listed


def _member(file: zipfile.ZipFile, name: str, member: _Member) -> bytes:
    content = _stored(file, name, member.size)
    if len(content) != member.size or _digest(content) != member.sha256:
        raise ValueError(f"{name} differs from what was written: its size or digest is not that of {MANIFEST}")
    return content


def _stored(file: zipfile.ZipFile, name: str, limit: int) -> bytes:
    entry = file.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size > limit:
        raise ValueError(f"expected {name} of at most {limit} bytes, uncompressed, found {entry.file_size} bytes")
    return file.read(entry)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
