"""The arrays of a batch as exported programs take them.

Axis legend: `b` utterances, `t` tokens, `f` packed frames, `c` packed mel chunks, `n`, `m`, `k` rows of text, audio and
video features.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS

# Where the text encoder ends.
LONGEST_TEXT = 512


class Input(NamedTuple):
    """One array of a batch."""

    shape: tuple[str | int, ...]  # letters of the legend stand for sizes that each batch chooses
    dtype: str
    meaning: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"shape": list(self.shape), "dtype": self.dtype, "meaning": self.meaning}


class Size(NamedTuple):
    """What a letter stands for."""

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
        "token_ids": Input(("b", "t"), "int32", "token numbers, [CLS] first; what lies behind token_count is padding"),
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
    """What an end-to-end model of some modalities reads."""
    return {name: one for m, arrays in _MEDIA.items() if m in modalities for name, one in arrays.items()}


def feature_inputs(modalities: str, sizes: tuple[int, int, int]) -> dict[str, Input]:
    """What a baseline of some modalities reads, of features of text, audio and video of the given widths."""
    arrays = {}
    for m, name, rows, size in zip("tav", ("text", "audio", "video"), "nmk", sizes, strict=True):
        if m in modalities:
            what = f"rows of {name} features; what lies behind {name}_count is padding"
            arrays[name] = Input(("b", rows, size), "float32", what)
            arrays[f"{name}_count"] = Input(("b",), "int32", f"rows of each utterance's {name}, may be 0")
    return arrays


def letters(inputs: Iterable[Input]) -> list[str]:
    """The sizes that a batch chooses."""
    return sorted({size for one in inputs for size in one.shape if isinstance(size, str)})


def signature(inputs: Mapping[str, Input]) -> dict[str, Any]:
    """What a manifest says of a program's batch and results."""
    return {
        "dimensions": {letter: SIZES[letter]._asdict() for letter in letters(inputs.values())},
        "inputs": {name: one.to_json() for name, one in inputs.items()},
        "outputs": {
            "logits": "float32 [b, labels]",
            "contributions": "by modality, float32 [b, labels]: what it adds to the logits, which are their sum",
        },
    }
