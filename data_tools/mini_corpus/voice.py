"""Synthesises an utterance at 16 kHz in the style of its emotions.

espeak-ng sets rate, pitch and pitch range; spectral tilt, tremolo, breath, overdrive and glides are applied to the
waveform. The model reads a mel power spectrogram without a logarithm, in chunks of 0.4 s, where parts that are 20 dB
weaker are invisible. So emotions differ in spectrum and fast modulation, not only in loudness.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import lfilter, resample_poly

from data_tools.mini_corpus.speech import SAMPLE_RATE as SPEECH_RATE
from data_tools.mini_corpus.speech import synthesize

SAMPLE_RATE = 16000  # Hz; rate of the corpus

# Base voices of the speakers: few and similar, so that pitch indicates emotion.
VOICES = ("en-us+f1", "en-us+f2", "en-us+f3", "en-us+f4")

_LEAD_S, _PAUSE_S = 0.10, 0.06
_ROOM_NOISE = 0.002  # standard deviation, of full scale


@dataclass(frozen=True)
class Style:
    """The sound of one emotion."""

    rate: int  # words per minute
    pitch: int  # as in `synthesize`, 0 to 100
    pitch_range: int  # the same
    level: float  # root mean square relative to full scale
    tilt: float = 0.0  # spectral tilt in [-1, 1]; positive is bright, negative is muffled
    tremolo_hz: float = 0.0  # amplitude modulation
    tremolo_depth: float = 0.0  # [0, 1]
    vibrato_hz: float = 0.0  # pitch modulation
    vibrato_depth: float = 0.0  # relative to the pitch
    breath: float = 0.0  # share of the voice replaced by breath, [0, 1]
    drive: float = 0.0  # overdrive, 0 or more
    shift: float = 1.0  # factor of pitch and resonances, as for a smaller head
    glide: float = 0.0  # relative change of pitch over an utterance; positive rises


NEUTRAL = Style(rate=175, pitch=42, pitch_range=35, level=0.09)

STYLES = {
    "anger": Style(rate=205, pitch=25, pitch_range=70, level=0.16, tilt=0.5, drive=6.0),
    "disgust": Style(rate=150, pitch=10, pitch_range=20, level=0.10, tilt=0.3, breath=0.85),
    "fear": Style(rate=215, pitch=80, pitch_range=25, level=0.08, tremolo_hz=11.0, tremolo_depth=0.9),
    "happy": Style(
        rate=190, pitch=70, pitch_range=90, level=0.12, tilt=0.35,
        tremolo_hz=5.0, tremolo_depth=0.6, vibrato_hz=5.0, vibrato_depth=0.14,
    ),
    "sad": Style(rate=140, pitch=15, pitch_range=5, level=0.07, tilt=-0.85, glide=-0.15),
    "surprise": Style(rate=180, pitch=98, pitch_range=99, level=0.13, shift=1.25, glide=0.5),
}  # fmt: skip


def speak(
    rng: np.random.Generator, pieces: Sequence[str], emotions: Sequence[str], *, voice: str, max_seconds: float
) -> np.ndarray:
    """Synthesises an utterance: float32 `[samples]` at `SAMPLE_RATE`, in [-1, 1], without room noise.

    Of two emotions, the first half expresses one, the second half the other. Speech is accelerated to `max_seconds`.
    """
    parts = _parts(pieces, max(1, len(emotions)))
    styles = [STYLES[emotion] for emotion in emotions] or [NEUTRAL]
    styles = [_jitter(rng, style) for style in styles]
    noise_seed = int(rng.integers(2**31))
    faster = 1.0
    while True:
        sounds = [
            _synthesize_style(part, style, voice, faster, np.random.default_rng(noise_seed))
            for part, style in zip(parts, styles, strict=True)
        ]
        silences = [_silence(_LEAD_S), *[_silence(_PAUSE_S)] * len(sounds)]
        joined = [array for pair in zip(silences, sounds, strict=False) for array in pair]
        speech = np.concatenate(joined)
        seconds = len(speech) / SAMPLE_RATE
        if seconds <= max_seconds or faster > 2:
            return speech[: int(max_seconds * SAMPLE_RATE)]
        faster *= 1.05 * seconds / max_seconds


def add_room(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Adds room noise to `sound`; float32, clipped to [-1, 1]."""
    noisy = sound + rng.normal(0, _ROOM_NOISE, len(sound))
    return np.clip(noisy, -1, 1).astype(np.float32)


def _parts(pieces: Sequence[str], count: int) -> list[str]:
    # One for each emotion of the voice.
    if len(pieces) == count:
        return list(pieces)
    words = " ".join(pieces).split()
    bounds = [round(i * len(words) / count) for i in range(count + 1)]
    return [" ".join(words[bounds[i] : bounds[i + 1]]) for i in range(count)]


def _jitter(rng: np.random.Generator, style: Style) -> Style:
    pitch, pitch_range = np.clip([style.pitch + rng.normal(0, 4), style.pitch_range + rng.normal(0, 4)], 0, 100)
    return replace(
        style,
        rate=int(style.rate * np.exp(rng.normal(0, 0.04))),
        pitch=int(pitch),
        pitch_range=int(pitch_range),
        level=style.level * float(np.exp(rng.normal(0, 0.12))),
    )


def _synthesize_style(text: str, style: Style, voice: str, faster: float, rng: np.random.Generator) -> np.ndarray:
    rate = min(450, int(style.rate * faster))
    speech = synthesize(text, voice, rate=rate, pitch=style.pitch, pitch_range=style.pitch_range)
    sound = resample_poly(speech, 320, 441)
    assert SPEECH_RATE * 320 == SAMPLE_RATE * 441
    sound = _bend_pitch(sound.astype(np.float64), style)
    sound = _breathe(rng, sound, style.breath)
    sound = _tilt(sound, style.tilt)
    time_s = np.arange(len(sound)) / SAMPLE_RATE
    phase = rng.uniform(0, 2 * np.pi)
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * style.tremolo_hz * time_s + phase)
    sound = sound * (1 - style.tremolo_depth * wave)
    sound = sound / _rms(sound)
    if style.drive:
        sound = np.tanh(style.drive * sound)
    return np.tanh(sound * style.level / _rms(sound)).astype(np.float32)


def _bend_pitch(sound: np.ndarray, style: Style) -> np.ndarray:
    time_s = np.arange(len(sound)) / SAMPLE_RATE
    speed = style.shift + style.glide * (time_s / time_s[-1] - 0.5)
    speed = speed + style.vibrato_depth * np.sin(2 * np.pi * style.vibrato_hz * time_s)
    position = np.cumsum(speed) - speed[0]
    return np.interp(np.arange(int(position[-1])), position, sound)


def _breathe(rng: np.random.Generator, sound: np.ndarray, share: float) -> np.ndarray:
    """Replaces a share of the voice by noise with the voice's envelope."""
    envelope = _filter([0.02], [1, -0.98], np.abs(sound))
    noise = _filter([1, -0.7], [1], rng.normal(0, 1, len(sound))) * envelope
    return (1 - share) * sound + share * noise * _rms(sound) / _rms(noise)


def _tilt(sound: np.ndarray, tilt: float) -> np.ndarray:
    if tilt >= 0:
        return _filter([1, -0.97 * tilt], [1], sound)
    return _filter([1 + tilt], [1, tilt], sound)


def _filter(numerator: list[float], denominator: list[float], sound: np.ndarray) -> np.ndarray:
    return np.asarray(lfilter(numerator, denominator, sound))


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2))) + 1e-9


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * SAMPLE_RATE), np.float32)
