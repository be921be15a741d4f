"""Tests the sentences of the embedded corpus."""

import numpy as np
import pytest

from data_tools.mini_corpus.sentences import AMBIGUOUS, EMOTIONS, FRAGMENTS, NEUTRAL, SENTENCES, write_text


def texts(emotions, **options) -> set[tuple[str, ...]]:
    return {write_text(np.random.default_rng(seed), emotions, **options) for seed in range(100)}


def test_every_emotion_has_sentences_and_fragments():
    assert set(SENTENCES) == set(FRAGMENTS) == set(EMOTIONS)
    assert all(len(bank) >= 8 for bank in SENTENCES.values())


def test_no_sentence_is_in_two_banks():
    everything = [*NEUTRAL, *(text for text, _ in AMBIGUOUS)]
    everything += [text for bank in SENTENCES.values() for text in bank]
    assert len(set(everything)) == len(everything)


def test_ambiguous_sentences_fit_several_emotions_and_serve_all():
    assert all(len(set(fits)) >= 3 and set(fits) <= set(EMOTIONS) for _, fits in AMBIGUOUS)
    for emotion in EMOTIONS:
        assert sum(emotion in fits for _, fits in AMBIGUOUS) >= 4


def test_text_has_one_piece_per_emotion():
    assert {len(pieces) for pieces in texts(())} == {1}
    assert {len(pieces) for pieces in texts(("fear",))} == {1}
    assert {len(pieces) for pieces in texts(("fear", "happy"))} == {2}


def test_texts_vary_are_filled_and_begin_with_a_capital():
    for emotion in EMOTIONS:
        written = texts((emotion,))
        assert len(written) > 15
        for (text,) in written:
            assert text[0].isupper()
            assert "{" not in text
            assert len(text.split()) <= 10


def test_ambiguous_text_differs_from_plain_text():
    assert texts(("sad",)).isdisjoint(texts(("sad",), ambiguous=True))


def test_unknown_emotion_is_refused():
    with pytest.raises(ValueError, match=r"unknown emotions \['joy'\]"):
        write_text(np.random.default_rng(0), ("joy",))
