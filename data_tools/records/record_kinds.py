"""The two kinds of records: how each stores words, and what its metadata says.

What they hold of faces and sounds is the workers' part (`arrays`).

Axes: `n` tokens of an utterance, `l` words.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import librosa
import numpy as np
import sklearn

from data_tools.records import records
from data_tools.releases import published_features
from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.media import mel
from mme2e_jax.media.features import acoustics, audio, text, video
from mme2e_jax.media.tokens import TextEncoder

KINDS = ("media", "features")
FEATURE_SIZES = (text.SIZE, audio.SIZE, video.SIZE)


@dataclass(frozen=True)
class Kind:
    """One kind of records.

    Attributes:
      schema: of an example.
      words: from a transcript to what an example holds of it, by name.
      media: the names of what an example holds of faces and sounds.
      metadata: how the arrays were made.
      encoder: of the words, if they are stored as tokens.
    """

    schema: records.Schema
    words: Callable[[str], dict[str, np.ndarray]]
    media: tuple[str, ...]
    metadata: dict[str, Any]
    encoder: TextEncoder | None = None


def media_kind(frame_interval_ms: int, face_choice: str, encoder: TextEncoder, labels: int) -> Kind:
    """Records for the end-to-end models: `token_ids` int32 `[n]`, faces and mel chunks; so many `labels`."""
    with tempfile.TemporaryDirectory() as scratch:
        about_tokenizer = encoder.save(Path(scratch))
    return Kind(
        schema=records.MEDIA.with_labels(labels),
        words=lambda transcript: {"token_ids": encoder.encode(transcript)},
        media=("faces", "face_found", "frame_ms", "mel"),
        metadata={
            "frame_interval_ms": frame_interval_ms,
            "face_choice": face_choice,
            "face_size": FACE_SIZE,
            "sample_rate": mel.REFERENCE_RATE,
            "mel": {
                "n_fft": mel.REFERENCE_WINDOW,
                "win_length": mel.REFERENCE_WINDOW,
                "hop_length": mel.REFERENCE_WINDOW // 2,
                "n_mels": MEL_BANDS,
                "chunk_frames": CHUNK_FRAMES,
                "power": mel.POWER,
            },
            "tokenizer": about_tokenizer,
        },
        encoder=encoder,
    )


def feature_kind(frame_interval_ms: int, face_choice: str, labels: int) -> Kind:
    """Records for the baselines: `text` float32 `[l, 300]`, features of sounds and faces; so many `labels`."""
    return Kind(
        schema=records.feature_schema(FEATURE_SIZES).with_labels(labels),
        words=lambda transcript: {"text": text.text_features(transcript)},
        media=("audio", "video"),
        metadata={
            "features": {
                "frame_interval_ms": frame_interval_ms,
                "face_choice": face_choice,
                "sample_rate": acoustics.RATE,
                "libraries": {library.__name__: library.__version__ for library in (librosa, cv2, sklearn)},
                "text": text.DESCRIPTION,
                "audio": audio.DESCRIPTION,
                "video": video.DESCRIPTION,
            },
        },
    )


def published_kind(sizes: tuple[int, int, int], labels: int) -> Kind:
    """Records for the baselines of features that the paper's authors published, as wide as they are."""
    return Kind(
        schema=records.feature_schema(sizes).with_labels(labels),
        words=lambda _: {},
        media=published_features.NAMES,
        metadata={"features": {"origin": "published", "about": published_features.DESCRIPTION}},
    )
