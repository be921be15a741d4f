"""Converts the faces and the sound of an utterance to stored arrays.

Axes: `t` frames of an utterance, `x` samples, `s` mel chunks or rows of audio features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import av
import numpy as np

from mme2e_jax.media.features.audio import audio_features
from mme2e_jax.media.features.video import video_features
from mme2e_jax.media.mel import mel_chunks

SPEECH_RATE = 16_000  # samples per second that speech recognition reads


@dataclass(frozen=True)
class Footage:
    """The faces and the sound of an utterance."""

    faces: np.ndarray  # uint8 RGB `[t, 48, 48, 3]`
    face_found: np.ndarray  # bool `[t]`; False where the centre of the frame replaces a face
    frame_ms: np.ndarray  # float32 `[t]`, milliseconds from the utterance's start
    boxes: np.ndarray  # float32 `[t, 4]`, left, top, right, bottom of the face as shares of the picture; NaN without
    wave: np.ndarray  # float32 `[x]`, full scale [-1, 1]; `x` is 0 without sound
    sample_rate: int  # samples per second


Arrays = dict[str, np.ndarray]


def media_arrays(footage: Footage) -> Arrays:
    """What end-to-end models read: the faces of the footage, and `mel` float32 `[s, 128, 32]`."""
    mel = mel_chunks(footage.wave, footage.sample_rate)
    return {"faces": footage.faces, "face_found": footage.face_found, "frame_ms": footage.frame_ms, "mel": mel}


def clip_arrays(footage: Footage) -> Arrays:
    """What prediction reads: `media_arrays`, and `boxes` float32 `[t, 4]` of the footage."""
    return media_arrays(footage) | {"boxes": footage.boxes}


def feature_arrays(footage: Footage) -> Arrays:
    """What baselines read: hand-crafted features, `audio` float32 `[s, 144]` and `video` float32 `[t, 35]`."""
    video = video_features(footage.faces, footage.face_found)
    return {"audio": audio_features(footage.wave, footage.sample_rate), "video": video}


def speech_arrays(footage: Footage) -> Arrays:
    """What speech recognition reads: the sound of the footage, `wave` float32 `[x]` at `SPEECH_RATE`."""
    return {"wave": _resample(footage.wave, footage.sample_rate, SPEECH_RATE)}


def _resample(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    if rate == new_rate or not len(wave):
        return wave
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None], np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=new_rate)
    pieces = [piece.to_ndarray()[0] for piece in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)


# By record kind.
TO_ARRAYS: Mapping[str, Callable[[Footage], Arrays]] = {"media": media_arrays, "features": feature_arrays}
