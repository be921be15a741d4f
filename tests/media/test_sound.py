"""Tests channels, cuts and errors of sounds."""

import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mme2e_jax.media.sound import Sound, SoundError, read_soundtrack, read_wav
from mme2e_jax.media.sound_stream import SoundStreamCache
from tests.helpers.media import tone, write_sound, write_video, write_wav
from tests.helpers.media_cases import SoundTrack, write


def test_stereo_gives_channel_zero(tmp_path: Path) -> None:
    left, right = tone(0.5, 300), tone(0.5, 700)
    write_wav(tmp_path / "stereo.wav", np.stack([left, right], axis=1))

    sound = read_wav(tmp_path / "stereo.wav")

    assert sound.sample_rate == 16_000
    assert sound.duration == 0.5
    assert sound.wave.dtype == np.float32
    np.testing.assert_allclose(sound.wave, left, atol=1 / 32768)


def test_cut_takes_the_samples_of_the_stretch_as_far_as_there_are_any() -> None:
    sound = Sound(np.arange(100, dtype=np.float32), 10)

    np.testing.assert_array_equal(sound.cut(1.0, 1.5), [10, 11, 12, 13, 14])
    np.testing.assert_array_equal(sound.cut(9.8, 12.0), [98, 99])
    assert len(sound.cut(11.0, 12.0)) == 0


def test_a_name_need_not_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    write_wav(tmp_path / "a.wav", tone(0.5))
    (tmp_path / "a.wav").rename(path)

    assert read_wav(path).duration == 0.5
    assert SoundStreamCache().wav(path, 0).duration == 0.5


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no sound at all"])
def test_a_broken_wav_is_a_sound_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(content)

    with pytest.raises(SoundError):
        read_wav(tmp_path / "a.wav")


def test_a_wav_without_samples_is_a_sound_error(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(0))

    with pytest.raises(SoundError, match="no samples"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("sample", [np.nan, -np.inf, 1e20])
def test_samples_that_are_no_sound_are_a_sound_error(sample: float, tmp_path: Path) -> None:
    wave = tone(0.5)
    wave[100] = sample
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")

    with pytest.raises(SoundError, match=r"samples that are NaN, infinite, or above 1e\+12"):
        read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("suffix", "end"), [("wav", "it ends at 64022 of 128044 bytes"), ("mp3", r"it ends at (1\.9|2\.0). s of 4\.00 s")]
)
def test_a_file_that_was_cut_off_is_read_to_its_end_and_says_so(suffix: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(4.0), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    sound = read_wav(path)

    assert sound.duration == pytest.approx(2.0, abs=0.1)
    assert np.abs(sound.wave).max() == pytest.approx(0.5, abs=0.1)
    assert re.match(end, sound.failure)


def test_the_size_that_a_pipe_states_is_no_cut(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(0.5))
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:4] + b"\xff" * 4 + content[8:])

    assert read_wav(tmp_path / "a.wav").failure == ""


def test_gaps_far_beyond_the_stated_end_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write(path, SoundTrack(tuple((590.0 * i, tone(0.5)) for i in range(3)), codec="pcm_s16le"))
    duration = b"\x44\x89\x88" + struct.pack(">d", 1_180_500.0)
    content = path.read_bytes()
    assert duration in content
    path.write_bytes(content.replace(duration, b"\x44\x89\x88" + struct.pack(">d", 1000.0)))

    sound = read_soundtrack(path)

    assert sound.duration == 590.5
    assert sound.failure == "the time jumps by 590 s at 590.50 s"


def test_a_track_whose_channels_change_is_read_on(tmp_path: Path) -> None:
    write(tmp_path / "mono.ts", SoundTrack())
    write(tmp_path / "stereo.ts", SoundTrack(((2.0, tone(2.0)),), layout="stereo"))
    path = tmp_path / "both.ts"
    path.write_bytes((tmp_path / "mono.ts").read_bytes() + (tmp_path / "stereo.ts").read_bytes())

    sound = read_soundtrack(path)

    assert sound.failure == ""
    assert sound.duration == pytest.approx(4.0, abs=0.2)
    assert [np.abs(sound.cut(t, t + 0.5)).max() for t in (1.0, 2.5)] == pytest.approx([0.5, 0.5], abs=0.1)


def test_the_track_of_a_video_sounds_like_its_wav(tmp_path: Path) -> None:
    # Silence for half a second, then a tone: the place of its start shows that time is kept.
    wave = np.concatenate([np.zeros(8_000), tone(1.0)])
    write_video(tmp_path / "v.mp4", [100] * 15, wave=wave)

    sound = read_soundtrack(tmp_path / "v.mp4")

    assert sound.sample_rate == 16_000
    assert sound.duration == pytest.approx(1.5, abs=0.1)
    loud = np.flatnonzero(np.abs(sound.wave) > 0.25)
    assert loud[0] / 16_000 == pytest.approx(0.5, abs=0.01)


def test_a_silent_video_has_no_track(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", [100])

    with pytest.raises(SoundError, match="no sound track"):
        read_soundtrack(tmp_path / "v.mp4")


def test_a_channel_is_chosen_and_counted(tmp_path: Path) -> None:
    write_wav(tmp_path / "v.wav", np.stack([tone(0.1), 0.5 * tone(0.1)], axis=1))

    first, second, third = (read_wav(tmp_path / "v.wav", channel) for channel in (0, 1, 2))

    assert first.channels == second.channels == 2
    np.testing.assert_allclose(second.wave, 0.5 * first.wave, atol=1e-4)
    np.testing.assert_array_equal(third.wave, second.wave)


def test_frames_lie_at_their_own_times_and_gaps_are_silent(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    write_sound(path, [(0.0, tone(2.0)), (7.0, tone(2.0))], "pcm_s16le")

    sound = read_soundtrack(path)

    assert sound.duration == pytest.approx(9.0, abs=0.01)
    ((start, end),) = sound.gaps
    assert (start, end) == (pytest.approx(2.0, abs=0.01), pytest.approx(7.0, abs=0.01))
    assert not sound.cut(2.1, 6.9).any()
    np.testing.assert_allclose(sound.cut(7.0, 9.0), tone(2.0), atol=1e-3)


def test_frames_that_overlap_do_not_shift_what_follows(tmp_path: Path) -> None:
    path, wave = tmp_path / "a.mka", tone(2.0)
    # Every block starts in the middle of the one before.
    write_sound(path, [(i * 0.032, wave[i * 1024 : (i + 1) * 1024]) for i in range(31)], "pcm_s16le")

    assert read_soundtrack(path).duration == pytest.approx(31 * 0.032, abs=0.1)


def test_times_that_jump_by_days_end_the_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    write_sound(path, [(0.0, tone(1.0)), (90_000.0, tone(1.0))], "pcm_s16le")

    sound = read_soundtrack(path)

    assert sound.duration == pytest.approx(1.0, abs=0.1)
    assert "the time jumps by 89999 s" in sound.failure


def test_a_sound_is_kept_up_to_its_damage(tmp_path: Path) -> None:
    wave = tone(10.0)
    wave[100_000] = np.nan
    soundfile.write(tmp_path / "a.wav", wave, 16_000, subtype="FLOAT")

    sound = read_wav(tmp_path / "a.wav")

    assert len(sound.wave) == 1 << 16
    assert "NaN" in sound.failure


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_a_rate_that_is_no_speech_is_refused(rate: int, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(1.0), rate=rate)

    with pytest.raises(SoundError, match=f"{rate} samples per second, expected 4000 to 768000"):
        read_wav(tmp_path / "a.wav")


def test_a_length_that_the_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(1.0), 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    # The low half of the number of samples, after marker, block header, block and frame sizes, rate.
    content[22:26] = (1 << 30).to_bytes(4, "big")
    (tmp_path / "a.flac").write_bytes(content)

    with pytest.raises(SoundError, match=r"a length of 67108\.9 s in \d+ bytes, expected 16 a second"):
        read_wav(tmp_path / "a.flac")


def test_cuts_at_absurd_times_are_empty() -> None:
    assert len(Sound(np.zeros(100, np.float32), 16_000).cut(1e308, 1e308)) == 0
    assert len(Sound(np.zeros(100, np.float32), 16_000).cut(0.0, 1e308)) == 100
