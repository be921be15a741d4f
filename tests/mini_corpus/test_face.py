"""Tests that faces show their expressions."""

from dataclasses import fields

import numpy as np
import pytest

from data_tools.mini_corpus.expressions import EXPRESSIONS, NEUTRAL, Expression
from data_tools.mini_corpus.sentences import EMOTIONS
from data_tools.mini_corpus.speakers import HEIGHT, WIDTH, empty_room, make_face, photograph


@pytest.fixture(scope="module")
def face():
    return make_face(0, np.random.default_rng(0))


def crop(face, frame: np.ndarray) -> np.ndarray:
    left, top, right, bottom = (int(edge) for edge in face.box)
    return frame[max(top, 0) : bottom, max(left, 0) : right].astype(float)


def test_photograph_is_the_one_in_the_scikit_image_wheel():
    image, landmarks = photograph()
    assert image.shape == (512, 512, 3)
    assert landmarks.shape == (5, 2)


def test_frames_have_the_size_of_the_video(face):
    frame = face.render(NEUTRAL)
    assert frame.shape == (HEIGHT, WIDTH, 3)
    assert frame.dtype == np.uint8
    assert empty_room(np.random.default_rng(0)).shape == (HEIGHT, WIDTH, 3)


def test_every_pair_of_expressions_looks_different(face):
    looks = [crop(face, face.render(EXPRESSIONS[emotion])) for emotion in EMOTIONS]
    looks.append(crop(face, face.render(NEUTRAL)))
    for i, one in enumerate(looks):
        for other in looks[:i]:
            assert np.abs(one - other).mean() > 4


@pytest.mark.parametrize("name", [field.name for field in fields(Expression)])
def test_every_number_of_an_expression_shows(face, name):
    base = Expression(opening=0.1)
    amount = {"tilt": 5.0, "furrow": 1.0, "crease": 1.0, "flush": 1.0}.get(name, 0.2)
    changed = face.render(base.plus(**{name: amount}))
    assert np.abs(changed.astype(float) - face.render(base)).max() > 12


def test_an_expression_stays_on_the_face(face):
    angry = face.render(EXPRESSIONS["anger"]).astype(float)
    changed = np.abs(angry - face.render(NEUTRAL)).max(-1) > 12
    left, top, right, bottom = (int(edge) for edge in face.box)
    changed[max(top - 20, 0) : bottom + 20, left - 20 : right + 20] = False
    assert not changed.any()


def test_shift_moves_the_picture(face):
    still = face.render(NEUTRAL)
    moved = face.render(NEUTRAL, shift=(4.0, 2.0))
    np.testing.assert_array_equal(moved[2:, 4:], still[:-2, :-4])


def test_speakers_look_different_and_fit_a_detector():
    frames = []
    for speaker in range(8):
        face = make_face(speaker, np.random.default_rng(0))
        left, _, right, bottom = face.box
        assert 80 <= right - left <= 120
        assert left > 0
        assert right < WIDTH
        assert bottom < HEIGHT
        frames.append(crop(face, face.render(NEUTRAL)).mean((0, 1)))
    distances = [np.abs(a - b).max() for i, a in enumerate(frames) for b in frames[:i]]
    assert min(distances) > 0.5


def test_scaled_and_plus_are_arithmetic():
    expression = Expression(corner=0.1, opening=0.2).scaled(0.5).plus(lid=-0.1, corner=0.01)
    assert expression.corner == pytest.approx(0.06)
    assert expression.opening == pytest.approx(0.1)
    assert expression.lid == -0.1
