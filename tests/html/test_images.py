"""Pictures of faces, mel chunks and kept sites."""

import base64

import cv2
import numpy as np

from mme2e_jax.html.images import data_uri, join_chunks, mel_picture, veil


def test_a_veil_is_clear_where_sites_are_kept() -> None:
    kept = np.array([[True, False], [False, False]])

    picture = veil(kept)

    assert picture[0, 0, 3] == 0
    assert (picture[..., 3] > 0).sum() == 3


def test_low_pitch_is_below_and_loud_is_dark() -> None:
    mel = np.full((2, 128, 32), 1e-9, np.float32)
    mel[1, 3, 5] = 1.0
    sites = np.zeros((2, 64, 16), bool)
    sites[1, 1, 2] = True

    picture, kept = mel_picture(mel), join_chunks(sites)

    assert picture.shape == (128, 64)
    assert np.argwhere(picture == 0).tolist() == [[124, 37]]
    assert picture[0, 0] == 255
    # Of half the size: the site lies over the sound.
    assert np.argwhere(kept).tolist() == [[62, 18]]


def test_silence_is_white() -> None:
    assert (mel_picture(np.zeros((2, 128, 32), np.float32)) == 255).all()


def test_a_picture_keeps_its_colours() -> None:
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    stored = base64.b64decode(data_uri(red).removeprefix("data:image/png;base64,"))

    found = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)

    assert found is not None
    assert found[0, 0].tolist() == [0, 0, 255]
