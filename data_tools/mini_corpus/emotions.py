"""Names the six emotions of the corpus, as in MOSEI's label files."""

from mme2e_jax.constants import LABEL_NAMES

EMOTIONS = LABEL_NAMES["mosei"]

# Two columns of the label files are named by nouns.
ANSWER_COLUMNS = {
    emotion: f"Answer.{ {'happy': 'happiness', 'sad': 'sadness'}.get(emotion, emotion) }" for emotion in EMOTIONS
}

# Sign of an annotator's sentiment (-3..3) for a clip with this emotion.
SENTIMENT_SIGNS = {emotion: 1 if emotion in ("happy", "surprise") else -1 for emotion in EMOTIONS}
