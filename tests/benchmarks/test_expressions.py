"""The check of expressions counts what is in its place, in clips that say what they show."""

from pathlib import Path

import pytest

from benchmarks.expressions import make_clip, places
from data_tools.mini_corpus.video import ClipTimes
from mme2e_jax.media.video import video_duration
from mme2e_jax.predict.cues import read_cues
from mme2e_jax.predict.timeline import Moment

TIMES = [ClipTimes(0.0, 1.0), ClipTimes(1.0, 2.0), ClipTimes(2.0, 3.0)]


def moments(*scores: tuple[float, float, float]) -> list[Moment]:
    """One moment per half second."""
    names = ("sad", "happy", "fear")
    return [Moment(k / 2, k / 2 + 0.5, dict(zip(names, each, strict=True)), ()) for k, each in enumerate(scores)]


def test_an_expression_is_in_its_place_if_its_mean_is_highest_there() -> None:
    # Means of sad: 0.5, 0.4, 0; of happy: 0.5, 0.4, 0.1; of fear: 0.1, 0.2, 0.9.
    found = moments((0.9, 0.5, 0), (0.1, 0.5, 0.2), (0.4, 0.4, 0.2), (0.4, 0.4, 0.2), (0, 0.1, 0.9), (0, 0.1, 0.9))

    assert places(found, ("sad", "happy", "fear"), TIMES) == [True, False, True]


def test_a_part_without_scores_is_no_place() -> None:
    found = [*moments((0.1, 0, 0), (0.1, 0, 0), (0.2, 0.3, 0), (0.2, 0.3, 0)), Moment(2.0, 2.5, {}, ())]

    assert places(found, ("sad", "happy", "fear"), TIMES) == [False, True, False]


@pytest.mark.parametrize("sentences", [1, 2])
def test_a_clip_has_three_emotions_and_their_times(sentences: int, tmp_path: Path) -> None:
    clip = make_clip(tmp_path, 3, sentences)

    assert len(set(clip.emotions)) == len(clip.times) == 3
    assert video_duration(clip.path) == clip.times[-1].end
    cues = read_cues(clip.cues, clip.path.stem)
    assert len(cues) == 3 * sentences
    assert [cue.start for cue in cues[::sentences]] == [time.start for time in clip.times]
    assert [cue.end for cue in cues[sentences - 1 :: sentences]] == [time.end for time in clip.times]
    assert all(cue.text for cue in cues)
