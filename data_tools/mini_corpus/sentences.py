"""Composes the sentences of the embedded corpus from `sentences.toml`.

Texts are sentences with one emotion, short fragments (two for an utterance with two emotions), and ambiguous sentences
that fit several emotions, so that words alone do not suffice. Sentences have up to about nine words, 2-3 s of speech.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mme2e_jax.constants import LABEL_NAMES

EMOTIONS = LABEL_NAMES["mosei"]

_BANKS = tomllib.loads(Path(__file__).with_name("sentences.toml").read_text(encoding="utf-8"))
NEUTRAL: list[str] = _BANKS["neutral"]
SENTENCES: dict[str, list[str]] = _BANKS["sentences"]  # by emotion
FRAGMENTS: dict[str, list[str]] = _BANKS["fragments"]  # by emotion
AMBIGUOUS: list[tuple[str, list[str]]] = _BANKS["ambiguous"]  # (sentence, fitting emotions)


def write_text(rng: np.random.Generator, emotions: Sequence[str], *, ambiguous: bool = False) -> tuple[str, ...]:
    """Composes the text of one utterance, one piece for each emotion; raises ValueError for unknown emotions.

    No emotion gives a neutral sentence, one emotion a sentence (`ambiguous`: it fits others too), several a fragment.
    """
    unknown = [emotion for emotion in emotions if emotion not in EMOTIONS]
    if unknown:
        raise ValueError(f"unknown emotions {unknown}; expected some of {list(EMOTIONS)}")
    if not emotions:
        return (_fill(rng, NEUTRAL),)
    if len(emotions) > 1:
        return tuple(_fill(rng, FRAGMENTS[emotion]) for emotion in emotions)
    (emotion,) = emotions
    if ambiguous:
        return (_fill(rng, [text for text, fits in AMBIGUOUS if emotion in fits]),)
    return (_fill(rng, SENTENCES[emotion]),)


def _fill(rng: np.random.Generator, templates: Sequence[str]) -> str:
    text = templates[int(rng.integers(len(templates)))]
    words = {slot: _BANKS[slot][rng.integers(len(_BANKS[slot]))] for slot in ("who", "what", "when")}
    filled = text.format(**words)
    return filled[0].upper() + filled[1:]
