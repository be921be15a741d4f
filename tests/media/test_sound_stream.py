"""Tests samples and memory of sounds that are read in parts."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mme2e_jax.media.sound import Sound, SoundError, read_soundtrack, read_wav
from mme2e_jax.media.sound_stream import SoundStream, SoundStreamCache
from tests.helpers.media import tone, write_sound, write_video, write_wav

STRETCHES = [(0.0, 0.5), (0.3, 1.0), (0.9, 0.95), (1.5, 2.25), (2.9, float("inf")), (9.0, 10.0)]


@pytest.mark.parametrize("name", ["a.mp4", "a.wav"])
def test_parts_are_those_of_the_whole_sound(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".wav":
        write_wav(path, tone(3.0))
        whole, opened = read_wav(path), SoundStreamCache().wav(path, 0)
    else:
        write_video(path, [0] * 30, wave=tone(3.0))
        whole, opened = read_soundtrack(path), SoundStreamCache().soundtrack(path, 0)

    assert (opened.sample_rate, opened.channels) == (whole.sample_rate, whole.channels)
    assert opened.duration == pytest.approx(whole.duration, abs=0.1)
    for start, end in [*STRETCHES, (0.25, 0.75)]:
        np.testing.assert_array_equal(opened.cut(start, end), whole.cut(start, end), err_msg=f"{start} to {end}")


def test_the_file_stays_open_between_calls_until_it_is_another(tmp_path: Path) -> None:
    path, sounds = tmp_path / "a.wav", SoundStreamCache()
    write_wav(path, tone(1.0, 300))
    first = sounds.wav(path, 0)
    assert sounds.wav(path, 0) is first

    write_wav(path, tone(2.0, 700))

    assert sounds.wav(path, 0).duration == 2.0


def endless() -> Iterator[Sound]:
    while True:
        yield Sound(np.zeros(1 << 16, np.float32), 16_000)


def test_memory_does_not_grow_with_time() -> None:
    opened = SoundStream(endless, float("inf"))
    tracemalloc.start()
    try:
        for start in range(0, 3 * 3600, 10):
            assert len(opened.cut(start, start + 10)) == 160_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6  # the three hours take 691 MB


def test_a_sound_that_breaks_off_ends_there() -> None:
    def broken() -> Iterator[Sound]:
        yield Sound(np.ones(100, np.float32), 10)
        raise SoundError("broken")

    opened = SoundStream(broken, 20.0)

    assert len(opened.cut(5.0, 12.0)) == 50
    assert not opened.cut(12.0, 13.0).size
    assert opened.failure == "broken"


def test_gaps_are_known_once_they_are_read(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.mka", [(0.0, tone(2.0)), (4.0, tone(1.0))], "pcm_s16le")
    opened = SoundStreamCache().soundtrack(tmp_path / "a.mka", 0)

    opened.cut(0.0, 1.0)
    assert not opened.gaps
    opened.cut(3.0, 5.0)
    assert len(opened.gaps) == 1


def test_a_file_without_sound_is_an_error_every_time(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [0] * 10)
    sounds = SoundStreamCache()

    for _ in range(2):
        with pytest.raises(SoundError, match="no sound track"):
            sounds.soundtrack(tmp_path / "a.mp4", 0)
