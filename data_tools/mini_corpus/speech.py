"""Synthesises speech with espeak-ng as a pure function.

espeak-ng keeps phases, noise and voice settings in static memory, so that a waveform depends on earlier utterances, and
seeds the noise of its voices from the clock. So every call reloads the library (4 ms), which clears that memory, and
sets the seed. It must not be called from several threads at once.
"""

import _ctypes
import ctypes
from dataclasses import dataclass

import espeakng_loader
import numpy as np

SAMPLE_RATE = 22050  # Hz; rate of espeak-ng's formant voices

_SYNCHRONOUS_OUTPUT = 2
_UTF8_TEXT = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_NOISE_SEED = 1
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Speaking:
    """Parameters of speech."""

    voice: str = "en-us"  # espeak-ng voice with an optional variant, such as "en-us+f2"
    rate: int = 175  # words per minute, 80 to 450
    pitch: int = 50  # base pitch, 0 to 100; 50 is the voice's default
    pitch_range: int = 50  # variation of the pitch, 0 (monotone) to 100

    def __post_init__(self):
        limits = {"rate": (80, 450), "pitch": (0, 100), "pitch_range": (0, 100)}
        for name, (low, high) in limits.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise ValueError(f"{name} must be between {low} and {high}, found {value}")


def synthesize(text: str, speaking: Speaking) -> np.ndarray:
    """Synthesises `text`: float32 `[samples]` at `SAMPLE_RATE`, in [-1, 1].

    Raises ValueError if espeak-ng has no such voice, RuntimeError if it could not start or returned no sound.
    """
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        return _synthesize(library, text, speaking)
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _synthesize(library: ctypes.CDLL, text: str, speaking: Speaking) -> np.ndarray:
    data_path = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS_OUTPUT, 0, data_path, 0)
    if rate != SAMPLE_RATE:
        raise RuntimeError(
            f"expected espeak-ng to start at {SAMPLE_RATE} Hz, found {rate}; reinstall the espeakng-loader wheel"
        )
    library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
    chunks: list[np.ndarray] = []

    @_SYNTH_CALLBACK
    def keep(samples, count, _events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    if library.espeak_SetVoiceByName(speaking.voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {speaking.voice!r}; try 'en-us' or 'en-us+f2'")
    settings = {_RATE: speaking.rate, _VOLUME: 100, _PITCH: speaking.pitch, _RANGE: speaking.pitch_range}
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8_TEXT, None, None)
    library.espeak_Synchronize()
    if not chunks:
        raise RuntimeError(f"espeak-ng returned no sound for {text!r}")
    return np.concatenate(chunks).astype(np.float32) / 32768
