"""Tests the choice among several faces with hand-made boxes."""

import pytest

from mme2e_jax.media.face_choice import CHOICES, Box, Face, Scene, choose_face

# In a picture of 100 x 80, whose centre is at (50, 40).
SURE = Face((0.0, 0.0, 10.0, 10.0), 0.99)  # centre (5, 5), area 100
LARGE = Face((60.0, 10.0, 100.0, 60.0), 0.90)  # centre (80, 35), area 2000
MIDDLE = Face((40.0, 35.0, 56.0, 45.0), 0.80)  # centre (48, 40), area 160
FACES = [SURE, LARGE, MIDDLE]


@pytest.mark.parametrize(
    ("choice", "previous", "taken"),
    [
        ("tracked", None, LARGE),  # 1800, before 128 and 99
        ("tracked", (0.0, 0.0, 12.0, 12.0), SURE),  # overlaps by 100 of 144
        ("tracked", (0.0, 0.0, 24.0, 21.0), LARGE),  # SURE is left out: 100 is less than a fifth of 504
        ("tracked", (44.0, 35.0, 60.0, 45.0), MIDDLE),  # overlaps by 120 of 200
        ("tracked", (54.0, 35.0, 70.0, 45.0), LARGE),  # overlaps MIDDLE by 20 of 300, LARGE by 100 of 2060
        ("most_probable", None, SURE),
        ("largest", None, LARGE),
        ("central", None, MIDDLE),
        ("previous", None, LARGE),
        ("previous", (0.0, 0.0, 20.0, 20.0), SURE),
        ("previous", (30.0, 30.0, 60.0, 40.0), MIDDLE),  # centre (45, 35)
        ("previous", (60.0, 30.0, 70.0, 40.0), LARGE),  # centre (65, 35): 15 from LARGE, 17.7 from MIDDLE
        # The others do not look back.
        ("most_probable", (60.0, 10.0, 100.0, 60.0), SURE),
        ("largest", (0.0, 0.0, 10.0, 10.0), LARGE),
        ("central", (0.0, 0.0, 10.0, 10.0), MIDDLE),
    ],
)
def test_the_best_face_is_taken_whatever_the_order(choice: str, previous: Box | None, taken: Face) -> None:
    scene = Scene(100, 80, previous)
    assert choose_face(FACES, choice, scene) == taken.box
    assert choose_face(FACES[::-1], choice, scene) == taken.box


@pytest.mark.parametrize("choice", list(CHOICES))
def test_of_equally_good_ones_the_first_is_taken(choice: str) -> None:
    # Mirrored at the centre, and at the centre of what was there before.
    left, right = Face((10.0, 30.0, 30.0, 50.0), 0.9), Face((70.0, 30.0, 90.0, 50.0), 0.9)
    scene = Scene(100, 80, (40.0, 30.0, 60.0, 50.0))
    assert choose_face([left, right], choice, scene) == left.box
    assert choose_face([right, left], choice, scene) == right.box


@pytest.mark.parametrize("choice", list(CHOICES))
def test_no_face_is_no_choice(choice: str) -> None:
    assert choose_face([], choice, Scene(100, 80, (0.0, 0.0, 9.0, 9.0))) is None


# A face of 40 x 50, and one of its eyes, which the detector is a little surer of.
VISIBLE, EYE = Face((30.0, 10.0, 70.0, 60.0), 0.97), Face((36.0, 24.0, 48.0, 34.0), 0.99)


def test_an_eye_loses_against_the_visible_face_though_it_is_more_probable() -> None:
    for previous in (None, (32.0, 10.0, 72.0, 60.0)):
        assert choose_face([EYE, VISIBLE], "tracked", Scene(100, 80, previous)) == VISIBLE.box
    assert choose_face([EYE, VISIBLE], "most_probable", Scene(100, 80)) == EYE.box


def test_an_eye_alone_is_no_face_after_a_face() -> None:
    assert choose_face([EYE], "tracked", Scene(100, 80, VISIBLE.box)) is None
    assert choose_face([EYE], "tracked", Scene(100, 80)) == EYE.box


def test_a_larger_face_elsewhere_does_not_replace_the_followed_one() -> None:
    other = Face((70.0, 0.0, 100.0, 80.0), 0.99)

    assert choose_face([other, VISIBLE], "tracked", Scene(100, 80, (28.0, 12.0, 66.0, 60.0))) == VISIBLE.box
    assert choose_face([other, VISIBLE], "tracked", Scene(100, 80)) == other.box
