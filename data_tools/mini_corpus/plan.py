"""Plans the emotions that every clip of the corpus expresses.

Each modality of a clip expresses its labels, nothing (neutral), or an emotion that is no label (a contradiction). The
plan of a video is a pure function of (seed, video index, noise rates), so that videos can be rendered in any order.
Preparation must not read `truth.json`, which stores the plan for tests and users.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_tools.mini_corpus.sentences import EMOTIONS, write_text

MIN_UTTERANCES = 8  # three videos: training, validation and test
ALL_AWKWARD_UTTERANCES = 24  # the fewest that contain all awkward cases
SPEAKERS = 8

# Awkward cases of a clip.
NO_FACE = "no_face"
NON_ASCII = "non_ascii_transcript"
SHORT_CLIP = "short_clip"
PAST_END = "clip_past_end"
NO_TRANSCRIPT = "label_without_transcript"
NO_LABEL = "transcript_without_label"
# Awkward cases of a video.
NO_WAV = "wav_missing"
BROKEN_VIDEO = "broken_video"
WAV_LENGTH = "wav_length_differs"

CLIP_CASES = (NO_FACE, NON_ASCII, SHORT_CLIP, PAST_END, NO_TRANSCRIPT, NO_LABEL)
VIDEO_CASES = (NO_WAV, BROKEN_VIDEO, WAV_LENGTH)

# {video: {clip: case}} and {video: case}, in the first six videos (21 clips). Those that lose no data are repeated.
_CLIP_CASES_AT = {0: {1: NO_FACE, 2: NON_ASCII}, 2: {1: SHORT_CLIP, 3: NO_TRANSCRIPT}, 4: {1: NO_LABEL, 3: PAST_END}}
_VIDEO_CASES_AT = {1: NO_WAV, 3: BROKEN_VIDEO, 5: WAV_LENGTH}
_HARMLESS = (NO_FACE, NON_ASCII, PAST_END)
HARMLESS_PERIOD = 16

_DECK_SIZE = 24  # clips in which the emotions are exactly balanced
_ID_EDGES = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# Separate random streams, so that more draws from one do not change another.
_DECK_STREAM, _CLIP_STREAM, _ID_STREAM, _NOISE_STREAM = 1, 2, 3, 4


@dataclass(frozen=True)
class NoiseRates:
    """How often a modality does not express the labels, in [0, 1]; tunes the difficulty of the corpus."""

    text: float = 0.25  # share of utterances in which the modality is noise, independent between modalities
    face: float = 0.22  # the same
    voice: float = 0.25  # the same
    contradiction: float = 0.35  # share of the noise that expresses an emotion that is no label; the rest is neutral
    # Share of utterances with one emotion in the text whose sentence also fits other emotions.
    ambiguous_text: float = 0.10

    def __post_init__(self):
        for name, rate in vars(self).items():
            if not 0 <= rate <= 1:
                raise ValueError(f"noise rate {name} must be between 0 and 1, found {rate}")


@dataclass(frozen=True)
class ClipPlan:
    """One utterance. Emotions are from `EMOTIONS`; an empty tuple means neutral."""

    index: int
    labels: tuple[str, ...]
    text: tuple[str, ...]
    face: tuple[str, ...]
    voice: tuple[str, ...]
    pieces: tuple[str, ...]  # spoken text, one piece for each emotion of the text
    awkward: tuple[str, ...] = ()

    @property
    def transcript(self) -> str:
        text = " ".join(self.pieces)
        # The additional letters and quotation marks are not spoken.
        return f"“Señor, {text}” — naïve Café, 你好!" if NON_ASCII in self.awkward else text


@dataclass(frozen=True)
class VideoPlan:
    """One video of a speaker who says its clips one after the other."""

    seed: int
    index: int
    video_id: str
    speaker: int
    clips: tuple[ClipPlan, ...] = field(repr=False)
    awkward: tuple[str, ...] = ()

    def rng(self, *stream: int) -> np.random.Generator:
        """An independent random generator of this video for each `stream`."""
        return np.random.default_rng([self.seed, self.index, *stream])


def plan_corpus(utterances: int, seed: int, rates: NoiseRates | None = None) -> tuple[VideoPlan, ...]:
    """Plans `utterances` clips (labelled, transcribed or both); raises ValueError for too few, or a negative seed."""
    if utterances < MIN_UTTERANCES:
        raise ValueError(
            f"at least {MIN_UTTERANCES} utterances are needed (three videos, so that each split gets one), found "
            f"{utterances}; all awkward cases need {ALL_AWKWARD_UTTERANCES}"
        )
    if seed < 0:
        raise ValueError(f"the seed must not be negative, found {seed}")
    rates = rates or NoiseRates()
    videos = []
    while first_clip(len(videos)) < utterances:
        index = len(videos)
        clips = min(first_clip(index + 1), utterances) - first_clip(index)
        videos.append(plan_video(seed, index, clips, rates))
    return tuple(videos)


def first_clip(video: int) -> int:
    """The number of clips in the videos before `video`, which have 4 and 3 clips alternately."""
    return 7 * (video // 2) + 4 * (video % 2)


def plan_video(seed: int, video: int, clips: int, rates: NoiseRates) -> VideoPlan:
    """Plans one video with its first `clips` clips."""
    position = video % HARMLESS_PERIOD
    clip_cases = _CLIP_CASES_AT.get(position, {})
    if video != position:
        clip_cases = {clip: case for clip, case in clip_cases.items() if case in _HARMLESS}
    plans = []
    for clip in range(clips):
        rng = np.random.default_rng([seed, video, _CLIP_STREAM, clip])
        number = first_clip(video) + clip
        labels, draws = _labels(seed, number), noise_draws(seed, number)
        plans.append(plan_clip(rng, clip, labels, clip_cases.get(clip), rates, draws))
    return VideoPlan(
        seed=seed,
        index=video,
        video_id=_video_id(np.random.default_rng([seed, video, _ID_STREAM])),
        speaker=video % SPEAKERS,
        clips=tuple(plans),
        awkward=(_VIDEO_CASES_AT[video],) if video in _VIDEO_CASES_AT else (),
    )


def _labels(seed: int, clip: int) -> tuple[str, ...]:
    """The labels of clip number `clip` of the corpus, from shuffled decks with equally frequent emotions: of 24 clips 3
    have no label, 3 have two and 18 have one."""
    deck_number, position = divmod(clip, _DECK_SIZE)
    rng = np.random.default_rng([seed, deck_number, _DECK_STREAM])
    paired = [EMOTIONS[i] for i in rng.permutation(len(EMOTIONS))]
    deck = [()] * 3 + [(emotion,) for emotion in EMOTIONS] * 3
    deck += [(paired[i], paired[i + 1]) for i in range(0, len(paired), 2)]
    return deck[rng.permutation(_DECK_SIZE)[position]]


def noise_draws(seed: int, clip: int) -> np.ndarray:
    """Three numbers in [0, 1) for text, face and voice; a modality is noise if its number is below its rate.

    Within a deck they are evenly spaced, so that even a small corpus matches the rates; each modality is shuffled by
    itself, so that noise is independent between modalities.
    """
    deck_number, position = divmod(clip, _DECK_SIZE)
    rng = np.random.default_rng([seed, deck_number, _NOISE_STREAM])
    ranks = np.stack([rng.permutation(_DECK_SIZE) for _ in range(3)], 1)
    return (ranks[position] + rng.random(3)) / _DECK_SIZE


def plan_clip(
    rng: np.random.Generator,
    index: int,
    labels: tuple[str, ...],
    case: str | None,
    rates: NoiseRates,
    draws: np.ndarray,
) -> ClipPlan:
    """Plans clip number `index` of a video, with its awkward `case` if any; `draws` are those of `noise_draws`."""
    noisy = draws < (rates.text, rates.face, rates.voice)
    text, face, voice = (_noise(rng, labels, rates.contradiction) if is_noise else labels for is_noise in noisy)
    pieces = write_text(rng, text, ambiguous=bool(rng.random() < rates.ambiguous_text))
    return ClipPlan(index, labels, text, face, voice, pieces, (case,) if case else ())


def _noise(rng: np.random.Generator, labels: tuple[str, ...], contradiction: float) -> tuple[str, ...]:
    others = [emotion for emotion in EMOTIONS if emotion not in labels]
    if rng.random() >= contradiction:
        return ()
    return (others[rng.integers(len(others))],)


def _video_id(rng: np.random.Generator) -> str:
    """Eleven characters as on video platforms, without adjacent underscores or underscores at the ends, because `___`
    separates the fields of a transcript line."""
    while True:
        inner = "".join(rng.choice(list(_ID_EDGES + "-_"), 9))
        name = "".join((rng.choice(list(_ID_EDGES)), inner, rng.choice(list(_ID_EDGES))))
        if "__" not in name:
            return name


class Truth(NamedTuple):
    """What `truth.json` says of a corpus."""

    names: Mapping[str, Sequence[str]]  # labels, by a name for them
    awkward: Mapping[str, Sequence[str]]  # clips and videos by awkward case
    clips: Sequence[Mapping[str, Any]]  # what each clip expresses


def write_truth_file(root: Path, layout: str, seed: int, rates: NoiseRates, truth: Truth) -> None:
    """Writes the plan of a corpus as `truth.json`."""
    content = {"layout": layout, "seed": seed, "utterances": len(truth.clips), **truth.names}
    content |= {"noise_rates": asdict(rates), "awkward": truth.awkward, "clips": truth.clips}
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (root / "truth.json").write_text(text, encoding="utf-8", newline="\n")
