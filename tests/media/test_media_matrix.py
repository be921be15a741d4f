"""What each kind of media file yields, read as a whole (preparation) and in parts (prediction)."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from mme2e_jax.media.arrays import Arrays, Footage
from mme2e_jax.media.extract import Extracted, ExtractSettings, extract
from mme2e_jax.media.faces import FaceDetector
from mme2e_jax.media.sound_stream import SoundStreamCache
from mme2e_jax.media.utterance import Media, Utterance
from tests.helpers.media_cases import CASES, RATE, Case, make
from tests.media.test_extract import BrightFaces


def sound_and_faces(footage: Footage) -> Arrays:
    assert footage.sample_rate == RATE
    return {"faces": footage.faces, "wave": footage.wave}


def read(path: Path, streams: SoundStreamCache | None) -> Extracted:
    utterance = Utterance("v_0", "v", 0.0, float("inf"), "text", (), "v", view="whole")
    settings = ExtractSettings(sound_in_video=True)
    detector = cast(FaceDetector, BrightFaces())
    return extract([utterance], Media(path, None), settings, detector, sound_and_faces, streams)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_yields_what_it_shows_and_says_what_is_missing(case: Case, tmp_path: Path) -> None:
    path = make(case, tmp_path)

    for streams in (None, SoundStreamCache()):
        result = read(path, streams)

        reasons = {finding.reason for finding in result.findings} - {"some_faces_missing"}
        assert reasons == case.findings
        if "no_media" in reasons:
            assert not result.arrays
            continue
        arrays = result.arrays["v_0"]
        np.testing.assert_allclose(arrays["faces"].mean((1, 2, 3)), case.levels, atol=3)
        # An AAC encoder adds silence before and after.
        assert len(arrays["wave"]) / RATE == pytest.approx(case.seconds, abs=0.15)
        if case.seconds:
            assert np.abs(arrays["wave"]).max() == pytest.approx(0.5, abs=0.1)
