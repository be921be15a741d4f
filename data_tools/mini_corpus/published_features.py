"""Writes features of the embedded corpus in the published format (`releases.published_features`).

The values are this project's features in the authors' widths: 74 of MOSEI's sound; 763 of IEMOCAP's sound, with the
columns filled that the baselines read; 709 of a whole image instead of a face, with the last 35 filled.
"""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_tools.releases.splits import SPLITS
from mme2e_jax.constants import FACE_SIZE
from mme2e_jax.data.audio_columns import FULL_WIDTH, TYPES
from mme2e_jax.media.features.audio import audio_features
from mme2e_jax.media.features.text import text_features
from mme2e_jax.media.features.video import video_features
from mme2e_jax.media.image_sequence import image_numbers
from mme2e_jax.media.sound import read_wav
from mme2e_jax.media.utterance import ImageSequence

_MOSEI_AUDIO = 74
_OPENFACE = 709
_PROTOCOL = 4
_DECIMALS = 3  # further decimals depend on the number of cores


def write_mosei(root: Path, meta: Mapping[str, Mapping[str, Any]], split_numbers: Mapping[str, int]) -> None:
    """Writes `MOSEI_HCF_FEATURES` for the utterances of the splits.

    The last utterance of train is missing, the first of each split has an infinite value, and each file has an
    utterance that `meta.pkl` does not name.
    """
    folder = root / "MOSEI_HCF_FEATURES"
    folder.mkdir()
    for split, names in _by_split(split_numbers).items():
        kept = names[:-1] if split == "train" else names
        rows = {"text": [], "audio": [], "vision": []}
        for name in kept:
            media = root / "MOSEI_RAW_PROCESSED" / name
            rows["text"].append(text_features(meta[name]["text"]))
            rows["audio"].append(_sound(media / "audio.wav")[:, :_MOSEI_AUDIO])
            rows["vision"].append(np.array(list(_faces(media, "image_").values()), np.float32).reshape(-1, 35))
        if kept:
            rows["audio"][0][0, 0] = -np.inf
            for parts in rows.values():
                parts.append(parts[0])
        names = [*kept, f"unnamed_{split}"] if kept else []
        stored = {"id": np.array(names), **{kind: _padded(parts) for kind, parts in rows.items()}}
        (folder / f"mosei_senti_hcf_{split}.pkl").write_bytes(pickle.dumps(stored, _PROTOCOL))


def write_iemocap(root: Path, meta: Mapping[str, Mapping[str, Any]], split_numbers: Mapping[str, int]) -> None:
    """Writes `IEMOCAP_HCF_FEATURES` for the turns of the splits; the first turn of each lacks words and one image."""
    folder = root / "IEMOCAP_HCF_FEATURES"
    folder.mkdir()
    for split, names in _by_split(split_numbers).items():
        text, audio, video = {}, {}, {}
        for name in names:
            media = next((root / "IEMOCAP_RAW_PROCESSED").glob(f"*/{name}"))
            text[name] = list(text_features(meta[name]["text"]))
            audio[name] = {side: _full_width(_sound(media / f"audio_{side}.wav")).T for side in "LR"}
            images = _faces(media, "image_L_") | _faces(media, "image_R_")
            video[name] = {key: np.pad(row, (_OPENFACE - len(row), 0)) for key, row in images.items()}
        if names:
            text[names[0]] = []
            del video[names[0]]["image_L_1"], video[names[0]]["image_R_1"]
        for kind, stored in (("text", text), ("audio", audio), ("video", video)):
            (folder / f"{split}_{kind}_features.pt").write_bytes(pickle.dumps(stored, _PROTOCOL))


def _by_split(split_numbers: Mapping[str, int]) -> dict[str, list[str]]:
    return {split: [name for name, number in split_numbers.items() if number == i] for i, split in enumerate(SPLITS)}


def _sound(path: Path) -> np.ndarray:
    sound = read_wav(path)
    return np.round(audio_features(sound.wave, sound.sample_rate), _DECIMALS)


def _full_width(rows: np.ndarray) -> np.ndarray:
    full = np.zeros((len(rows), FULL_WIDTH), np.float32)
    full[:, TYPES[0]] = rows
    return full


def _faces(folder: Path, prefix: str) -> dict[str, np.ndarray]:
    names = [f"{prefix}{number}" for number in image_numbers(ImageSequence(folder, prefix, 1.0))]
    if not names:
        return {}
    faces = []
    for name in names:
        image = cv2.imread(str(folder / f"{name}.jpg"), cv2.IMREAD_COLOR)
        assert image is not None
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        faces.append(cv2.resize(image, (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_AREA))
    rows = np.round(video_features(np.array(faces), np.ones(len(faces), bool)), _DECIMALS)
    return dict(zip(names, rows, strict=True))


def _padded(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One array, with rows of zeros before shorter parts, as in the common features of CMU-MOSEI."""
    longest = max(map(len, parts), default=0)
    return np.array([np.pad(part, ((longest - len(part), 0), (0, 0))) for part in parts], np.float32)
