"""Damages files at random: bits, lengths, numbers, parts, members of a zip."""

import io
import random
import re
import warnings
import zipfile
from collections.abc import Callable

Mutation = Callable[[random.Random, bytes], bytes]

_TAG = re.compile(rb"[A-Za-z ]{4}")
_DIGITS = re.compile(rb"[0-9]+")
_SIZES = (
    0,
    1,
    0x7F,
    0xFF,
    0x3FFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
_NUMBERS = (b"0", b"-1", b"1e999", b"NaN", b"9" * 9, b"9" * 18, b"1" + b"0" * 400, b"4294967296", b'"1"', b"[1]")


def mutated(rng: random.Random, content: bytes) -> bytes:
    """Content with one to eight random damages."""
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        inside = content[:2] == b"PK" and rng.random() < 0.6
        content = rng.choice(IN_ZIP if inside else ANYWHERE)(rng, content)
    return content


def _position(rng: random.Random, content: bytes) -> int:
    """A random position: anywhere, in the header, or shortly after a name of four letters, as boxes and chunks have."""
    kind = rng.randrange(3)
    if kind == 2 and (tags := [found.end() for found in _TAG.finditer(content)]):
        return min(rng.choice(tags) + rng.randrange(24), len(content))
    return rng.randrange(min(len(content), 512) + 1 if kind == 1 else len(content) + 1)


def _flip(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        place = _position(rng, content)
        changed[place : place + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in content[place : place + 1])
    return bytes(changed)


def _truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _claim(rng: random.Random, content: bytes) -> bytes:
    """A huge or empty size where there may be one, or two, as width and height are."""
    place, width = _position(rng, content), rng.choice((1, 2, 3, 4, 8))
    size = (rng.choice(_SIZES) & (1 << 8 * width) - 1).to_bytes(width, rng.choice(("little", "big")))
    sizes = size * rng.choice((1, 2))
    return content[:place] + sizes + content[place + len(sizes) :]


def _number(rng: random.Random, content: bytes) -> bytes:
    """Another number where text holds one."""
    found = [match.span() for match in _DIGITS.finditer(content)]
    if not found:
        return _flip(rng, content)
    start, end = rng.choice(found)
    return content[:start] + rng.choice(_NUMBERS) + content[end:]


def _part(rng: random.Random, content: bytes) -> bytes:
    start = _position(rng, content)
    return content[start : start + rng.choice((1, 4, 32, 512, 8192))]


def _remove(rng: random.Random, content: bytes) -> bytes:
    start = _position(rng, content)
    return content[:start] + content[start + len(_part(rng, content)) :]


def _splice(rng: random.Random, content: bytes) -> bytes:
    """A part of the file in another place, in addition or instead."""
    part, place = _part(rng, content), _position(rng, content)
    return content[:place] + part + content[place + rng.choice((0, len(part))) :]


def _noise(rng: random.Random, content: bytes) -> bytes:
    place, noise = _position(rng, content), rng.randbytes(rng.choice((1, 4, 16, 256)))
    return content[:place] + noise + content[place + len(noise) :]


def members(content: bytes) -> list[tuple[str, bytes]]:
    """Names and contents of a zip, repeated names included; raises what zipfile raises for damaged ones."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return [(entry.filename, file.read(entry)) for entry in file.infolist()]


def zipped(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with the given members in order; names may be repeated."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as file:
        warnings.simplefilter("ignore")  # repeated names
        for name, held in entries:
            file.writestr(zipfile.ZipInfo(name), held, compression)
    return buffer.getvalue()


def _rezip(rng: random.Random, content: bytes) -> bytes:
    """A sound zip whose members are damaged, repeated, renamed, missing or compressed."""
    try:
        entries = members(content)
    except Exception:  # an earlier damage; zipfile raises many types
        return _flip(rng, content)
    if not entries:
        return content
    i, compression = rng.randrange(len(entries)), zipfile.ZIP_STORED
    name, held = entries[i]
    match rng.randrange(8):
        case 0:
            entries.append((name, mutated(rng, held)))
        case 1:
            entries[i] = (rng.choice(entries)[0], held)
        case 2:
            del entries[i]
        case 3:
            entries[i], compression = (name, bytes(1 << 18)), zipfile.ZIP_DEFLATED
        case _:
            entries[i] = (name, mutated(rng, held))
    return zipped(entries, compression)


def _claim_in_directory(rng: random.Random, content: bytes) -> bytes:
    """Another value in a field of the zip's directory: versions, flags, compression, time, CRC, sizes, lengths."""
    entries = [match.start() for match in re.finditer(b"PK\x01\x02|PK\x05\x06", content)]
    if not entries:
        return _flip(rng, content)
    place, width = rng.choice(entries) + rng.randrange(4, 46, 2), rng.choice((2, 4))
    size = (rng.choice(_SIZES) & (1 << 8 * width) - 1).to_bytes(width, "little")
    return content[:place] + size + content[place + width :]


ANYWHERE: tuple[Mutation, ...] = (_flip, _flip, _truncate, _claim, _claim, _number, _remove, _splice, _noise)
IN_ZIP: tuple[Mutation, ...] = (_rezip, _rezip, _rezip, _claim_in_directory)
