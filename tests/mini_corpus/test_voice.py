"""Tests that emotions are audible in the waveform."""

import numpy as np
import pytest

from data_tools.mini_corpus.sentences import EMOTIONS
from data_tools.mini_corpus.voice import SAMPLE_RATE, STYLES, VOICES, add_room, speak

PIECES = ("They called me about the trip this morning.",)


def say(emotions, pieces=PIECES, max_seconds=3.0, seed=0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return speak(rng, pieces, emotions, voice=VOICES[0], max_seconds=max_seconds)


def brightness(sound: np.ndarray) -> float:
    """Centre of the power spectrum, Hz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)).sum() / power.sum())


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def test_every_emotion_has_a_style():
    assert set(STYLES) == set(EMOTIONS)


def test_speech_is_a_function_of_its_arguments():
    np.testing.assert_array_equal(say(("fear",)), say(("fear",)))
    assert not np.array_equal(say(("fear",))[:8000], say(("fear",), seed=1)[:8000])


def test_sadness_is_dark_and_slow_anger_bright_and_loud_disgust_breathy():
    sound = {emotion: say((emotion,)) for emotion in ("anger", "disgust", "sad")} | {"": say(())}
    assert brightness(sound["sad"]) < 0.7 * brightness(sound[""])
    assert brightness(sound["anger"]) > 1.5 * brightness(sound[""])
    assert brightness(sound["disgust"]) > 3 * brightness(sound[""])
    assert rms(sound["anger"]) > 1.4 * rms(sound[""]) > 1.4 * rms(sound["sad"])
    assert len(sound["sad"]) > 1.1 * len(sound[""])


def test_fear_trembles():
    """The loudness of a fearful voice moves at about 11 Hz more than that of a neutral one."""

    def tremble(sound: np.ndarray) -> float:
        blocks = sound[: len(sound) // 160 * 160].reshape(-1, 160)
        spectrum = np.abs(np.fft.rfft(np.sqrt((blocks**2).mean(1))))
        frequencies = np.fft.rfftfreq(len(blocks), 0.01)
        near = (frequencies > 9.5) & (frequencies < 12.5)
        return float(spectrum[near].max() / spectrum[0])

    assert tremble(say(("fear",))) > 1.8 * tremble(say(()))


@pytest.mark.parametrize("emotions", [("sad",), ("anger", "sad")])
def test_long_text_is_spoken_in_time(emotions):
    text = ("This sentence is far too long to be spoken in the little time that there is here.",)
    assert 1.5 < len(say(emotions, text, max_seconds=2.5)) / SAMPLE_RATE <= 2.5


def test_two_emotions_are_heard_one_after_the_other():
    sound = say(("disgust", "sad"), ("How revolting.", "It hurts a lot."))
    middle = len(sound) // 2
    assert brightness(sound[:middle]) > 3 * brightness(sound[middle:])


def test_room_noise_fills_silence_without_clipping():
    noisy = add_room(np.random.default_rng(0), np.array([0.0] * 1000 + [1.0] * 1000))
    assert 0.001 < noisy[:1000].std() < 0.004
    assert noisy.max() <= 1
