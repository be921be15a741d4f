"""Describes the inputs and outputs of exported programs.

Axis legend: `b` utterances, `t` tokens, `f` packed frames, `c` packed mel chunks, `n`, `m`, `k` rows of text, audio and
video features.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS

LONGEST_TEXT = 512  # number of positions of the text encoder


class Input(NamedTuple):
    """One input array."""

    shape: tuple[str | int, ...]  # letters of the legend stand for sizes that differ between batches
    dtype: str
    meaning: str


class Size(NamedTuple):
    """Meaning and limits of a letter."""

    meaning: str
    at_least: int = 1
    at_most: int | None = None


SIZES = {
    "b": Size("utterances"),
    "t": Size("tokens that texts are padded to", at_most=LONGEST_TEXT),
    "f": Size("frames of all utterances, and padding"),
    "c": Size(f"mel chunks (of {CHUNK_FRAMES} mel frames) of all utterances, and padding"),
    "n": Size("rows that text features are padded to"),
    "m": Size("rows that audio features are padded to"),
    "k": Size("rows that video features are padded to"),
}
_MEDIA = {
    "t": {
        "token_ids": Input(("b", "t"), "int32", "token numbers, [CLS] first; values after token_count are padding"),
        "token_count": Input(("b",), "int32", "tokens of each utterance"),
    },
    "v": {
        "faces": Input(
            ("f", FACE_SIZE, FACE_SIZE, 3),
            "uint8",
            "RGB face crops of the first utterance, of the second, and so on, end to end; then padding",
        ),
        "frame_count": Input(("b",), "int32", "face crops of each utterance, may be 0"),
    },
    "a": {
        "mel": Input(
            ("c", MEL_BANDS, CHUNK_FRAMES), "float32", "mel power spectrograms in chunks, end to end as the faces are"
        ),
        "chunk_count": Input(("b",), "int32", "mel chunks of each utterance, may be 0"),
    },
}


def media_inputs(modalities: str) -> dict[str, Input]:
    """Returns the inputs of an end-to-end model with the given modalities."""
    return {name: array for m, arrays in _MEDIA.items() if m in modalities for name, array in arrays.items()}


def feature_inputs(modalities: str, sizes: tuple[int, int, int]) -> dict[str, Input]:
    """Returns the inputs of a baseline; `sizes` are the widths of text, audio and video features."""
    arrays = {}
    for m, name, rows, size in zip("tav", ("text", "audio", "video"), "nmk", sizes, strict=True):
        if m in modalities:
            meaning = f"rows of {name} features; rows after {name}_count are padding"
            arrays[name] = Input(("b", rows, size), "float32", meaning)
            arrays[f"{name}_count"] = Input(("b",), "int32", f"rows of each utterance's {name}, may be 0")
    return arrays


def letters(inputs: Iterable[Input]) -> list[str]:
    """Returns the letters in the shapes of inputs."""
    return sorted({size for array in inputs for size in array.shape if isinstance(size, str)})


def signature(inputs: Mapping[str, Input]) -> dict[str, Any]:
    """Returns the entries of a manifest that describe the inputs and outputs of its program."""
    return {
        "dimensions": {letter: SIZES[letter]._asdict() for letter in letters(inputs.values())},
        "inputs": {name: array._asdict() for name, array in inputs.items()},
        "outputs": {
            "logits": "float32 [b, labels]",
            "contributions": "by modality, float32 [b, labels]; they sum to the logits",
        },
    }
