"""Tests balance, noise rates and awkward cases of the plan."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from data_tools.mini_corpus.plan import CLIP_CASES, VIDEO_CASES, NoiseRates, first_clip, plan_corpus, plan_video
from data_tools.mini_corpus.sentences import EMOTIONS

MODALITIES = ("text", "face", "voice")


def clips_of(utterances: int, seed: int = 0, rates: NoiseRates | None = None):
    return [clip for video in plan_corpus(utterances, seed, rates) for clip in video.clips]


def is_noise(clip, modality: str) -> bool:
    return getattr(clip, modality) != clip.labels


@pytest.mark.parametrize("utterances", [8, 24, 160, 161])
def test_plan_has_as_many_clips_as_asked_for(utterances):
    assert len(clips_of(utterances)) == utterances


def test_videos_have_three_or_four_clips():
    sizes = [len(video.clips) for video in plan_corpus(160, 0)]
    assert len(sizes) == 46
    assert set(sizes[:-1]) == {3, 4}
    assert [first_clip(video) for video in range(5)] == [0, 4, 7, 11, 14]


def test_emotions_are_balanced_exactly_over_whole_decks():
    clips = clips_of(240)
    counts = Counter(chain.from_iterable(clip.labels for clip in clips))
    assert counts == dict.fromkeys(EMOTIONS, 40)
    assert Counter(len(clip.labels) for clip in clips) == {0: 30, 1: 180, 2: 30}


def test_a_video_is_planned_alike_whatever_the_size_of_the_corpus():
    rates = NoiseRates()
    assert plan_corpus(24, 3)[:6] == plan_corpus(160, 3)[:6]
    assert plan_corpus(160, 3)[20] == plan_video(3, 20, 4, rates)
    assert plan_corpus(160, 4)[20] != plan_video(3, 20, 4, rates)


@pytest.mark.parametrize("modality", MODALITIES)
def test_noise_strikes_as_often_as_stated(modality):
    rates = NoiseRates(text=0.4, face=0.2, voice=0.3, contradiction=0.5)
    clips = [clip for clip in clips_of(4800, rates=rates) if clip.labels]
    noisy = [clip for clip in clips if is_noise(clip, modality)]
    neutral = [clip for clip in noisy if not getattr(clip, modality)]
    assert len(noisy) / len(clips) == pytest.approx(getattr(rates, modality), abs=0.015)
    assert len(neutral) / len(noisy) == pytest.approx(0.5, abs=0.05)


def test_contradictions_are_not_among_the_labels():
    rates = NoiseRates(text=1.0, face=1.0, voice=1.0, contradiction=1.0)
    for clip in clips_of(240, rates=rates):
        for modality in MODALITIES:
            (shown,) = getattr(clip, modality)
            assert shown not in clip.labels


def test_noise_of_the_modalities_is_independent():
    clips = [clip for clip in clips_of(4800) if clip.labels]
    noise = np.array([[is_noise(clip, modality) for modality in MODALITIES] for clip in clips])
    correlations = np.corrcoef(noise.T)
    assert np.abs(correlations - np.eye(3)).max() < 0.05


def test_without_noise_every_modality_shows_the_labels():
    rates = NoiseRates(text=0, face=0, voice=0)
    for clip in clips_of(48, rates=rates):
        assert clip.text == clip.face == clip.voice == clip.labels


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_awkward_cases_are_in_24_utterances(seed):
    videos = plan_corpus(24, seed)
    found = {case for video in videos for case in video.awkward}
    found |= {case for video in videos for clip in video.clips for case in clip.awkward}
    assert found == {*CLIP_CASES, *VIDEO_CASES}


def test_at_most_ten_of_160_utterances_are_lost():
    videos = plan_corpus(160, 0)
    lossy = {"short_clip", "label_without_transcript", "transcript_without_label"}
    lost = sum(
        bool(lossy & set(clip.awkward)) or "broken_video" in video.awkward for video in videos for clip in video.clips
    )
    assert lost <= 10


def test_video_names_are_unique():
    names = [video.video_id for video in plan_corpus(2000, 0)]
    assert len(set(names)) == len(names)


def test_a_rate_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match=r"noise rate voice must be between 0 and 1, found 1\.5"):
        NoiseRates(voice=1.5)
