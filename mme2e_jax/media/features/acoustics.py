"""Measures a sound every 10 ms: band energies, cepstral coefficients, descriptors.

Energies and frequencies are logarithmic. All values are centred and scaled by round constants that are not fitted to a
data set: speech lies about in [-3, 3], digital silence at about -4.

Axes: `x` samples, `k` bins of the spectrum, `f` frames of 10 ms, `w` samples around a frame.
"""

import functools

import librosa
import numpy as np

from mme2e_jax.media.features.librosa_cache import load_librosa

RATE = 16_000
HOP = 160
BANDS = 22
CEPSTRA = 12
# For each descriptor the offset and the scale: (value - offset) / scale.
DESCRIPTORS = {
    "level": (-3.0, 1.5),  # log10 of the mean square, 0 at full scale
    "level change": (0.0, 0.3),  # slope over five frames, as all changes
    "pitch": (0.0, 0.5),  # octaves above 200 Hz, interpolated between voiced frames
    "pitch change": (0.0, 0.15),
    "periodicity": (0.5, 0.3),  # correlation with the sound one period later, at most 1
    "zero crossings": (0.3, 0.2),  # share of samples with a sign change before them
    "crest": (1.5, 0.5),  # log2 of peak over root mean square; 0.5 for a sine
    "flux": (0.2, 0.4),  # mean rise of the band energies, in log10
    "centroid": (1.0, 0.6),  # octaves above 1 kHz
    "bandwidth": (1.0, 0.3),  # octaves above 1 kHz
    "rolloff": (2.0, 0.7),  # octaves above 1 kHz; 85 % of the magnitude lies below it
    "flatness": (-1.2, 0.6),  # log10 of geometric over arithmetic mean
    "contrast": (1.2, 0.4),  # log10 of peaks over valleys, mean over octaves
    "alpha ratio": (0.0, 0.8),  # log10 of the energy at 1-5 kHz over that at 50 Hz-1 kHz
    "hammarberg index": (1.0, 0.8),  # log10 of the peak below 2 kHz over that at 2-5 kHz
    "cepstrum 1 change": (0.0, 1.0),
    "cepstrum 2 change": (0.0, 1.0),
    "cepstrum 3 change": (0.0, 1.0),
}

_FRAME, _WINDOW = 512, 400  # samples of a spectrum, and of its window: 25 ms
_FLOOR = 1e-9  # power of the threshold of hearing: -90 dB of full scale
_BAND_CENTRE, _BAND_UNIT = -4.0, 1.5
# Hz; edges of critical bands 1 to 22 (Zwicker 1961). The last edge is above half the sampling rate.
_BAND_EDGES = (
    20, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700, 3150, 3700, 4400, 5300,
    6400, 7700, 9500,
)  # fmt: skip
_MEL_BANDS = 40
# Liftering raises the higher coefficients to the magnitude of the lower ones.
_LIFTER, _CEPSTRUM_UNIT = 22, 4.0
_PITCH_FRAME = 1024
_LOWEST_PITCH, _HIGHEST_PITCH = 65.0, 600.0  # Hz
_REFERENCE_PITCH = 200.0
_LONGEST_PERIOD = 256  # samples; a period of 65 Hz and a margin for interpolation
_VOICED = 0.5  # minimum periodicity of voiced speech
_FAINT = 1e-4  # amplitude of noise


def measure(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures a sound, finite float32 `[x]` at 16 kHz, full scale [-1, 1], `x` at least 1.

    Returns finite floats: energies of the critical bands `[22, f]`, cepstral coefficients 1 to 12 `[12, f]`, and
    `DESCRIPTORS` `[18, f]`, with f = ceil(x / 160). Frame i is centred at sample 160 i, in a wave padded with silence.
    """
    load_librosa()
    count = -(-len(wave) // HOP)
    # librosa warns of sounds shorter than a frame; the padding is silence, as everywhere outside the wave.
    wave = np.pad(wave, (0, max(_PITCH_FRAME - len(wave), 0)))
    spectrum = librosa.stft(wave, n_fft=_FRAME, win_length=_WINDOW, hop_length=HOP)[:, :count]
    # Scaled so that a full-scale sine has power 1 in its bin: the window's sum is half its length.
    power = (np.abs(spectrum) / (_WINDOW / 4)) ** 2
    energies = np.log10(_band_filters() @ power + _FLOOR)
    mel = np.log10(_mel_filters() @ power + _FLOOR)
    cepstra = librosa.feature.mfcc(S=mel, n_mfcc=1 + CEPSTRA, lifter=_LIFTER)[1:] / _CEPSTRUM_UNIT

    tracks = {
        **_waveform_descriptors(_around_frames(wave, count, _FRAME)),
        **_pitch_descriptors(wave, count),
        **_spectrum_descriptors(power),
        "flux": np.maximum(np.diff(energies, axis=1, prepend=energies[:, :1]), 0).mean(0),
        **{f"cepstrum {i + 1} change": _change(cepstra[i]) for i in range(3)},
    }
    descriptors = np.stack([(tracks[name] - centre) / unit for name, (centre, unit) in DESCRIPTORS.items()])
    return (energies - _BAND_CENTRE) / _BAND_UNIT, cepstra, descriptors


@functools.cache
def _band_filters() -> np.ndarray:
    """Whether a bin belongs to a critical band, float32 0 or 1 `[22, k]`."""
    band = np.digitize(_hertz(), _BAND_EDGES) - 1
    return (band == np.arange(BANDS)[:, None]).astype(np.float32)


@functools.cache
def _mel_filters() -> np.ndarray:
    return librosa.filters.mel(sr=RATE, n_fft=_FRAME, n_mels=_MEL_BANDS)


@functools.cache
def _hertz() -> np.ndarray:
    return librosa.fft_frequencies(sr=RATE, n_fft=_FRAME)


def _around_frames(wave: np.ndarray, count: int, length: int) -> np.ndarray:
    """The samples around the centre of each frame, `[f, w]`."""
    padded = np.pad(wave, (length // 2, length))
    return librosa.util.frame(padded, frame_length=length, hop_length=HOP, axis=0)[:count]


def _change(track: np.ndarray) -> np.ndarray:
    """The slope of a sequence `[f]`, fitted to five frames."""
    return librosa.feature.delta(track, width=5, mode="nearest")


def _waveform_descriptors(frames: np.ndarray) -> dict[str, np.ndarray]:
    square = np.square(frames).mean(1)
    level = np.log10(square + _FLOOR)
    return {
        "level": level,
        "level change": _change(level),
        "zero crossings": np.diff(np.signbit(frames), axis=1).mean(1),
        "crest": np.log2((np.abs(frames).max(1) + _FAINT) / (np.sqrt(square) + _FAINT)),
    }


def _pitch_descriptors(wave: np.ndarray, count: int) -> dict[str, np.ndarray]:
    hertz = librosa.yin(
        wave, fmin=_LOWEST_PITCH, fmax=_HIGHEST_PITCH, sr=RATE, frame_length=_PITCH_FRAME, hop_length=HOP
    )[:count]
    # yin estimates a pitch for every frame; the correlation at that period identifies voiced frames.
    frames = _around_frames(wave, count, _PITCH_FRAME)
    length = _PITCH_FRAME - _LONGEST_PERIOD
    period = np.minimum(np.round(RATE / hertz).astype(int), _LONGEST_PERIOD)
    now = frames[:, :length]
    later = np.take_along_axis(frames, period[:, None] + np.arange(length), axis=1)
    scale = np.linalg.norm(now, axis=1) * np.linalg.norm(later, axis=1)
    periodicity = (now * later).sum(1) / (scale + length * _FAINT**2)

    voiced = np.flatnonzero(periodicity > _VOICED)
    pitch = np.zeros(count)
    if len(voiced):
        pitch = np.interp(np.arange(count), voiced, np.log2(hertz[voiced] / _REFERENCE_PITCH))
    return {"pitch": pitch, "pitch change": _change(pitch), "periodicity": periodicity}


def _spectrum_descriptors(power: np.ndarray) -> dict[str, np.ndarray]:
    hertz = _hertz()
    # Faint noise gives silence a defined spectral shape.
    power = power + _FLOOR
    magnitude = np.sqrt(power)
    centroid = librosa.feature.spectral_centroid(S=magnitude, freq=hertz)
    bandwidth = librosa.feature.spectral_bandwidth(S=magnitude, freq=hertz, centroid=centroid)
    rolloff = librosa.feature.spectral_rolloff(S=magnitude, freq=hertz)
    decibels = librosa.feature.spectral_contrast(S=magnitude, freq=hertz, sr=RATE, n_bands=5)

    def between(low: float, high: float) -> np.ndarray:
        return power[(hertz >= low) & (hertz < high)]

    return {
        "centroid": np.log2(centroid[0] / 1000),
        "bandwidth": np.log2(bandwidth[0] / 1000),
        # All power may lie in the bin at 0 Hz.
        "rolloff": np.log2(np.maximum(rolloff[0], hertz[1]) / 1000),
        "flatness": np.log10(librosa.feature.spectral_flatness(S=magnitude)[0]),
        "contrast": decibels.mean(0) / 10,
        "alpha ratio": np.log10(between(1000, 5000).sum(0) / between(50, 1000).sum(0)),
        "hammarberg index": np.log10(between(0, 2000).max(0) / between(2000, 5000).max(0)),
    }
