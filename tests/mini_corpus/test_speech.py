"""Tests that speech synthesis is a pure function."""

import hashlib
import multiprocessing

import numpy as np
import pytest

from data_tools.mini_corpus.speech import SAMPLE_RATE, synthesize

# +f2, +f3, +f5 and whisper use espeak-ng's noise; all of them remember earlier speech.
VOICES = ("en-us", "en-us+f2", "en-us+f3", "en-us+f5", "en-us+whisper", "en-gb-scotland+m1")


def fingerprints(voices: list[str]) -> dict[str, str]:
    sounds = {v: synthesize("Nobody told me.", v, rate=180, pitch=60, pitch_range=60) for v in voices}
    return {voice: hashlib.sha256(sound.tobytes()).hexdigest() for voice, sound in sounds.items()}


def test_waveform_depends_neither_on_earlier_calls_nor_on_the_process():
    here = fingerprints(list(VOICES))
    assert fingerprints(list(reversed(VOICES))) == here
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (elsewhere,) = pool.map(fingerprints, [list(reversed(VOICES))])
    assert elsewhere == here
    assert len(set(here.values())) == len(VOICES)


def test_speech_is_audible_and_in_range():
    sound = synthesize("This is a test.")
    assert sound.dtype == np.float32
    assert 0.5 < len(sound) / SAMPLE_RATE < 3
    assert 0.01 < np.abs(sound).max() <= 1


def test_faster_speech_is_shorter():
    slow, fast = (len(synthesize("This is a test.", rate=rate)) for rate in (120, 240))
    assert fast < 0.7 * slow


def test_unknown_voice_is_refused():
    with pytest.raises(ValueError, match="no voice 'xx-none'"):
        synthesize("Hello.", "xx-none")


@pytest.mark.parametrize("bad", [{"rate": 20}, {"pitch": 101}, {"pitch_range": -1}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be between"):
        synthesize("Hello.", **bad)
