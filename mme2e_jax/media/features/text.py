"""Computes text features: 300 hashed character n-grams of each word.

Words with common letters share columns, as in fastText, but without training or a download. Unlike GloVe, which the
paper's baselines read, the features carry no word meaning: a model learns it from its training transcripts.

Axes: `l` words.
"""

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

SIZE = 300
_SHORTEST, _LONGEST = 3, 6
# Any: its type stubs allow tuples as results.
_HASHER: Any = HashingVectorizer(
    analyzer="char_wb",  # the first and last n-grams of a word contain the adjacent blank
    ngram_range=(_SHORTEST, _LONGEST),
    n_features=SIZE,
    strip_accents="unicode",
    lowercase=True,
    alternate_sign=True,  # colliding n-grams cancel as often as they add up
    norm="l2",
)

DESCRIPTION: dict[str, Any] = {
    "columns": "hashed character n-grams of the word, signed, of length 1",
    "ngrams": [_SHORTEST, _LONGEST],
    "hash": "MurmurHash3",
    "normalized": ["lower case", "accents stripped"],
}


def text_features(transcript: str) -> np.ndarray:
    """A row of norm 1 for each word and its punctuation, float32 `[l, 300]`; 0 for a word of accents only."""
    words = transcript.split()
    if not words:
        return np.zeros((0, SIZE), np.float32)
    return _HASHER.transform(words).toarray().astype(np.float32)
