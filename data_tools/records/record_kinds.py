"""Defines the record kinds: how each stores words, and its metadata.

Workers compute the arrays of faces and sounds (`media.arrays`). Axes: `n` tokens of an utterance, `l` words.
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
class RecordKind:
    """One kind of records."""

    schema: records.Schema  # schema of an example
    encode_text: Callable[[str], dict[str, np.ndarray]]  # converts a transcript to the arrays of an example, by name
    metadata: dict[str, Any]  # how the arrays were computed
    encoder: TextEncoder | None = None  # tokenizer of the words, if they are stored as tokens


def media_kind(frame_interval_ms: int, face_choice: str, encoder: TextEncoder, labels: int) -> RecordKind:
    """Records for end-to-end models: `token_ids` int32 `[n]`, faces and mel chunks; `labels` is their number."""
    with tempfile.TemporaryDirectory() as scratch:
        tokenizer = encoder.save(Path(scratch))
    return RecordKind(
        schema=records.MEDIA.with_labels(labels),
        encode_text=lambda transcript: {"token_ids": encoder.encode(transcript)},
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
            "tokenizer": tokenizer,
        },
        encoder=encoder,
    )


def feature_kind(frame_interval_ms: int, face_choice: str, labels: int) -> RecordKind:
    """Records for baselines: `text` float32 `[l, 300]`, features of sounds and faces; `labels` is their number."""
    return RecordKind(
        schema=records.feature_schema(FEATURE_SIZES).with_labels(labels),
        encode_text=lambda transcript: {"text": text.text_features(transcript)},
        metadata={
            "features": {
                "frame_interval_ms": frame_interval_ms,
                "face_choice": face_choice,
                "sample_rate": acoustics.RATE,
                "libraries": {library.__name__: library.__version__ for library in (librosa, cv2, sklearn)},
                "text": text.DESCRIPTION,
                "audio": audio.DESCRIPTION,
                "video": video.DESCRIPTION,
            }
        },
    )


def published_kind(sizes: tuple[int, int, int], labels: int) -> RecordKind:
    """Records for baselines with published features; `sizes` are their widths, `labels` is the number of labels."""
    return RecordKind(
        schema=records.feature_schema(sizes).with_labels(labels),
        encode_text=lambda _: {},
        metadata={"features": {"origin": "published", "about": published_features.DESCRIPTION}},
    )
