"""A word as 300 numbers: its character n-grams, hashed.

Words that share letters share columns, much as in fastText without its training. This is not
GloVe or word2vec, which the paper's baselines read: nothing here knows what a word means, and a
model learns that from its training transcripts alone. Nothing has to be downloaded for it.

Axes: `l` words.
"""

from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

SIZE = 300
_SHORTEST, _LONGEST = 3, 6
# Any: the types say that it may return tuples.
_HASHER: Any = HashingVectorizer(
    analyzer="char_wb",  # a word's first and last n-grams hold the blank beside it
    ngram_range=(_SHORTEST, _LONGEST),
    n_features=SIZE,
    strip_accents="unicode",
    lowercase=True,
    alternate_sign=True,  # n-grams that meet in a column cancel as often as they add up
    norm="l2",
)

DESCRIPTION: dict[str, Any] = {
    "columns": "hashed character n-grams of the word, signed, of length 1",
    "ngrams": [_SHORTEST, _LONGEST],
    "hash": "MurmurHash3",
    "normalized": ["lower case", "accents stripped"],
}


def text_features(transcript: str) -> np.ndarray:
    """Computes the features of what is said.

    Args:
      transcript: any text; its words are what white space separates, punctuation included.

    Returns:
      float32 `[l, 300]`, one row for a word, of length 1 (0 for a word of accents alone); `l` is 0
      for a text without words.
    """
    words = transcript.split()
    if not words:
        return np.zeros((0, SIZE), np.float32)
    return _HASHER.transform(words).toarray().astype(np.float32)
