"""Composes the sentences of the embedded corpus, written for this project.

Texts are sentences with one emotion, short fragments (two for an utterance with two emotions), and ambiguous sentences
that fit several emotions, so that words alone do not suffice. Sentences have up to about nine words, 2-3 s of speech.
"""

from collections.abc import Sequence

import numpy as np

from mme2e_jax.constants import LABEL_NAMES

EMOTIONS = LABEL_NAMES["mosei"]

WHO = (
    "my brother", "the manager", "our neighbour", "my sister", "the landlord",
    "a friend", "my teacher", "the driver", "my cousin", "the doctor",
)  # fmt: skip
WHAT = (
    "the meeting", "the delivery", "this movie", "the exam", "the trip",
    "the phone", "the party", "that letter", "the new job", "the car",
)  # fmt: skip
WHEN = ("today", "last night", "this morning", "again", "on Friday", "yesterday", "just now")

NEUTRAL = (
    "We talked about {what} {when}.",
    "The office opens at nine {when}.",
    "{who} put {what} on the list.",
    "I took the bus to work {when}.",
    "The form for {what} has three pages.",
    "He said {what} starts at noon.",
    "There are two chairs next to the window.",
    "{who} is reading about {what}.",
    "You can find {what} on page four.",
    "{who} sent a note about {what}.",
    "The second part is about {what}.",
    "They moved {what} to room twelve.",
)

# Each emotion has a few words that recur in its sentences, so that about a hundred training utterances suffice.
SENTENCES = {
    "anger": (
        "I am furious that {who} ruined {what}.",
        "How dare you lie about {what}!",
        "I am so angry about {what}!",
        "Being ignored makes me mad.",
        "I hate {what}, stop shouting at me!",
        "{who} insulted me, I am furious.",
        "I hate how unfair {what} was.",
        "Get out, I am mad at {who}!",
        "How dare you shout at {who}!",
        "{who} cheated {when}, I am angry.",
    ),
    "disgust": (
        "That was disgusting, {who} spat on {what}.",
        "The smell {when} was revolting.",
        "{what} is filthy and it stinks.",
        "There was rotten mold all over {what}.",
        "What {who} did is disgusting.",
        "I found rotten food under {what}.",
        "The whole place was filthy {when}.",
        "The taste was revolting, I gagged.",
        "It stinks like garbage in here.",
        "This is gross, {what} smells of dirt.",
    ),
    "fear": (
        "I am terrified that {who} vanished.",
        "Do not leave me, I am scared.",
        "I heard footsteps and was frightened.",
        "My hands are shaking, there is danger.",
        "I am afraid for {who} {when}.",
        "{who} is in danger, I am scared.",
        "I am afraid of {what}.",
        "Help, I am terrified of {what}!",
        "{what} left me scared and shaking.",
        "I was frightened {when}.",
    ),
    "happy": (
        "I am so happy {who} came!",
        "This is wonderful news, we won {when}!",
        "I love {what}, it makes me smile.",
        "{who} and I had fun {when}.",
        "I love this wonderful gift.",
        "I am happy with {what}.",
        "What a wonderful day, I must smile.",
        "We laughed a lot, it was great.",
        "It was great fun {when}.",
        "{what} was great, I loved it.",
    ),
    "sad": (
        "I miss {who} so much.",
        "I lost everything and feel alone.",
        "My heart is broken since {what}.",
        "It hurts to remember {what}.",
        "Nobody came, I cried alone.",
        "I miss {who}, I cried {when}.",
        "I am lonely, {who} died {when}.",
        "It hurts, I lost {who}.",
        "I am lonely and cried {when}.",
        "{what} left me with a broken heart.",
    ),
    "surprise": (
        "Wow, I never expected {what}!",
        "{who} suddenly showed up out of nowhere!",
        "Unbelievable, {what} was free!",
        "Really? {what} moved to the moon?",
        "I was shocked {when}.",
        "Wow, nobody told me about {what}!",
        "Really, {who} expected {what}?",
        "{who} suddenly jumped out, unbelievable!",
        "Suddenly {what} came from nowhere!",
        "I never expected it, I was shocked.",
    ),
}

FRAGMENTS = {
    "anger": ("I am furious.", "How dare you!", "That makes me mad.", "I hate it."),
    "disgust": ("That is disgusting.", "It stinks.", "How revolting.", "So filthy."),
    "fear": ("I am scared.", "I am afraid.", "There is danger.", "I am terrified."),
    "happy": ("I am so happy.", "I love it!", "How wonderful.", "What great fun."),
    "sad": ("I am so lonely.", "I cried a lot.", "My heart is broken.", "It hurts."),
    "surprise": ("I was shocked!", "Wow, really?", "Unbelievable!", "I never expected it."),
}

# (sentence, fitting emotions)
AMBIGUOUS = (
    ("I can not believe what {who} did.", ("anger", "disgust", "sad", "surprise")),
    ("Look at {what}!", ("anger", "disgust", "fear", "happy", "surprise")),
    ("{who} came back {when}.", ("anger", "fear", "happy", "surprise")),
    ("I will never forget {what}.", ("anger", "disgust", "fear", "happy", "sad")),
    ("Did you hear what happened {when}?", ("fear", "happy", "sad", "surprise")),
    ("I could not sleep after {what}.", ("anger", "disgust", "fear", "happy", "sad")),
    ("{who} left {when}.", ("anger", "happy", "sad", "surprise")),
    ("Have you ever seen anything like that?", ("anger", "disgust", "surprise")),
    ("So that is how {what} ends.", ("anger", "happy", "sad", "surprise")),
    ("Please do not say that {when}.", ("anger", "disgust", "fear", "sad")),
    ("I do not know what to say.", ("anger", "disgust", "fear", "happy", "sad", "surprise")),
    ("They called me about {what} {when}.", ("anger", "fear", "happy", "sad", "surprise")),
)


def write_text(rng: np.random.Generator, emotions: Sequence[str], *, ambiguous: bool = False) -> tuple[str, ...]:
    """Composes the text of one utterance, one piece for each emotion; raises ValueError for unknown emotions.

    No emotion gives a neutral sentence, one emotion a sentence (`ambiguous`: one that also fits other emotions),
    several a short fragment each.
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
        return (_fill(rng, tuple(text for text, fits in AMBIGUOUS if emotion in fits)),)
    return (_fill(rng, SENTENCES[emotion]),)


def _fill(rng: np.random.Generator, templates: Sequence[str]) -> str:
    text = templates[int(rng.integers(len(templates)))].format(
        who=WHO[rng.integers(len(WHO))], what=WHAT[rng.integers(len(WHAT))], when=WHEN[rng.integers(len(WHEN))]
    )
    return text[0].upper() + text[1:]
