"""The six emotions of the corpus, and the names MOSEI's label files use for them."""

from mme2e_jax.constants import LABEL_NAMES

EMOTIONS = LABEL_NAMES["mosei"]

# Two columns of the label files are nouns where the emotion's name is an adjective.
ANSWER_COLUMNS = {
    emotion: f"Answer.{ {'happy': 'happiness', 'sad': 'sadness'}.get(emotion, emotion) }" for emotion in EMOTIONS
}

# Sign of the sentiment (-3..3) a worker gives to a clip with this emotion.
SENTIMENT_SIGNS = {
    "anger": -1,
    "disgust": -1,
    "fear": -1,
    "happy": 1,
    "sad": -1,
    "surprise": 1,
}
