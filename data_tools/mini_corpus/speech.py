"""Synthesises speech with espeak-ng as a pure function.

espeak-ng keeps phases, noise and voice settings in static memory, so that a waveform depends on earlier utterances, and
seeds the noise of its voices from the clock. So every call reloads the library (4 ms), which clears that memory, and
sets the seed. It must not be called from several threads at once.
"""

import _ctypes
import ctypes

import espeakng_loader
import numpy as np

SAMPLE_RATE = 22050  # Hz; rate of espeak-ng's formant voices

_SYNCHRONOUS_OUTPUT = 2
_UTF8_TEXT = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_NOISE_SEED = 1
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def synthesize(
    text: str, voice: str = "en-us", *, rate: int = 175, pitch: int = 50, pitch_range: int = 50
) -> np.ndarray:
    """Synthesises `text`: float32 `[samples]` at `SAMPLE_RATE`, in [-1, 1].

    `voice` is one of espeak-ng with an optional variant, such as "en-us+f2". `rate` is words per minute, 80 to 450;
    `pitch` (50 is the voice's default) and `pitch_range` (0 is monotone) are 0 to 100. Raises ValueError for others, or
    if espeak-ng has no such voice, RuntimeError if it could not start or returned no sound.
    """
    limits = {"rate": (rate, 80, 450), "pitch": (pitch, 0, 100), "pitch_range": (pitch_range, 0, 100)}
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"{name} must be between {low} and {high}, found {value}")
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        return _synthesize(library, text, voice, {_RATE: rate, _VOLUME: 100, _PITCH: pitch, _RANGE: pitch_range})
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)


def _synthesize(library: ctypes.CDLL, text: str, voice: str, settings: dict[int, int]) -> np.ndarray:
    data_path = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS_OUTPUT, 0, data_path, 0)
    if rate != SAMPLE_RATE:
        raise RuntimeError(f"expected espeak-ng to start at {SAMPLE_RATE} Hz, found {rate}; reinstall espeakng-loader")
    library.espeak_ng_SetRandSeed(ctypes.c_long(_NOISE_SEED))
    chunks: list[np.ndarray] = []

    @_SYNTH_CALLBACK
    def keep(samples, count, _events):
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}; try 'en-us' or 'en-us+f2'")
    for parameter, value in settings.items():
        library.espeak_SetParameter(parameter, value, 0)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8_TEXT, None, None)
    library.espeak_Synchronize()
    if not chunks:
        raise RuntimeError(f"espeak-ng returned no sound for {text!r}")
    return np.concatenate(chunks).astype(np.float32) / 32768
