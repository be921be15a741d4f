"""Decides what is said in the embedded corpus in the layout of IEMOCAP: dialogues of two people each.

There are five sessions with a pair of speakers each, and the six emotions that IEMOCAP's label names
stand for are played by those the corpus has: excitement looks and sounds like surprise, frustration
like disgust.
"""

from dataclasses import dataclass, field

import numpy as np

from data_tools.mini_corpus.plan import ClipPlan, NoiseRates, noise_draws, plan_clip
from mme2e_jax.constants import LABEL_NAMES

SESSIONS = 5
MIN_UTTERANCES = 24  # every awkward case is there from here on
_TURNS = 8  # of a dialogue, about

LABELS = LABEL_NAMES["iemocap"]
OTHER_LABELS = ("xxx", "sur", "fea", "oth", "dis")
# What the corpus plays for an evaluators' label.
PLAYED: dict[str, tuple[str, ...]] = {
    "ang": ("anger",),
    "exc": ("surprise",),
    "fru": ("disgust",),
    "hap": ("happy",),
    "neu": (),
    "sad": ("sad",),
    "xxx": (),
    "sur": ("surprise",),
    "fea": ("fear",),
    "oth": (),
    "dis": ("disgust",),
}

# Awkward cases of one turn ...
OVERLAP = "overlapping_turns"
NO_TRANSCRIPT = "evaluation_without_transcript"
COLON = "colon_in_transcript"
UNEVALUATED = "turn_without_evaluation"  # a turn named XX0, of which there are words only
UNNAMED = "line_without_id"
# ... and of a whole dialogue.
NO_WAV = "wav_missing"
NO_VIDEO = "video_missing"
MONO_WAV = "wav_mono"

TURN_CASES = (OVERLAP, NO_TRANSCRIPT, COLON, UNEVALUATED, UNNAMED)
DIALOGUE_CASES = (NO_WAV, NO_VIDEO, MONO_WAV)
# {dialogue: {turn: case}}; a turn with UNEVALUATED or UNNAMED is followed by such a line.
_TURN_CASES_AT = {
    0: {1: OVERLAP, 3: UNEVALUATED},
    1: {1: COLON, 3: UNNAMED},
    2: {1: OVERLAP},
    3: {1: NO_TRANSCRIPT},
}
_DIALOGUE_CASES_AT = {2: NO_WAV, 3: NO_VIDEO, 4: MONO_WAV}
_OVERLAP_FRAMES = -9
_OTHER_TURN = 2  # whose label is none of the six, in the first dialogue of each session and in every second later

_DECK_SIZE = 24
_DECK_STREAM, _TURN_STREAM, _GAP_STREAM = 5, 6, 7


@dataclass(frozen=True)
class TurnPlan:
    """One turn of a dialogue.

    Attributes:
      name: as in the release, such as `Ses01F_impro01_F000`.
      speaker: F or M.
      label: what the evaluators say, one of `LABELS` or `OTHER_LABELS`.
      clip: what each modality expresses.
      gap: frames of silence before it; negative where it begins before the last one ends.
      awkward: cases.
    """

    name: str
    speaker: str
    label: str
    clip: ClipPlan
    gap: int
    awkward: tuple[str, ...] = ()

    @property
    def transcript(self) -> str:
        text = self.clip.transcript
        return f"Listen: {text} I said: no." if COLON in self.awkward else text


@dataclass(frozen=True)
class DialoguePlan:
    """One dialogue: two speakers who take turns.

    Attributes:
      seed, index: of the corpus, and of the dialogue in it.
      name: as in the release.
      session: from 1.
      turns: in the order of their starts.
      awkward: cases of the whole dialogue.
    """

    seed: int
    index: int
    name: str
    session: int
    turns: tuple[TurnPlan, ...] = field(repr=False)
    awkward: tuple[str, ...] = ()

    @property
    def left(self) -> str:
        """Who is on the left half and on channel 0, F or M."""
        return self.name[len("Ses01")]

    def rng(self, *stream: int) -> np.random.Generator:
        """A generator of this dialogue's own, one for every `stream`."""
        return np.random.default_rng([self.seed, self.index, 1, *stream])


def plan_dialogues(utterances: int, seed: int, rates: NoiseRates | None = None) -> tuple[DialoguePlan, ...]:
    """The plan of a whole corpus with `utterances` evaluated turns.

    Raises:
      ValueError: fewer than `MIN_UTTERANCES` turns, or a negative seed.
    """
    if utterances < MIN_UTTERANCES:
        raise ValueError(
            f"at least {MIN_UTTERANCES} utterances are needed (a dialogue in each of {SESSIONS} sessions, and all "
            f"awkward cases), found {utterances}"
        )
    if seed < 0:
        raise ValueError(f"the seed must not be negative, found {seed}")
    count = max(SESSIONS, -(-utterances // _TURNS))
    share, rest = divmod(utterances, count)
    dialogues, first = [], 0
    for index in range(count):
        turns = share + (index < rest)
        dialogues.append(_plan_dialogue(seed, index, first, turns, rates or NoiseRates()))
        first += turns
    return tuple(dialogues)


def _plan_dialogue(seed: int, index: int, first: int, count: int, rates: NoiseRates) -> DialoguePlan:
    session, take = 1 + index % SESSIONS, index // SESSIONS
    left = "FM"[take % 2]
    name = f"Ses{session:02d}{left}_" + (f"script{take:02d}_1" if take % 2 else f"impro{take + 1:02d}")
    cases = _TURN_CASES_AT.get(index, {})
    turns = []
    spoken = {"F": 0, "M": 0}
    for turn in range(count):
        speaker = "FM"[(turn + take) % 2]
        label = _label(seed, index, turn, first + turn)
        rng = np.random.default_rng([seed, index, _TURN_STREAM, turn])
        clip = plan_clip(rng, turn, PLAYED[label], None, rates, noise_draws(seed, first + turn))
        case = cases.get(turn)
        gap = int(np.random.default_rng([seed, index, _GAP_STREAM, turn]).integers(1, 6))
        turns.append(
            TurnPlan(
                name=f"{name}_{speaker}{spoken[speaker]:03d}",
                speaker=speaker,
                label=label,
                clip=clip,
                gap=_OVERLAP_FRAMES if case == OVERLAP else gap,
                awkward=(case,) if case else (),
            )
        )
        spoken[speaker] += 1
    dialogue_case = _DIALOGUE_CASES_AT.get(index)
    return DialoguePlan(seed, index, name, session, tuple(turns), (dialogue_case,) if dialogue_case else ())


def _label(seed: int, dialogue: int, turn: int, number: int) -> str:
    """The label of turn `number` of the corpus; the six are dealt from decks in which they are equally frequent."""
    if turn == _OTHER_TURN and (dialogue < SESSIONS or dialogue % 2):
        return OTHER_LABELS[dialogue % len(OTHER_LABELS)]
    deck_number, position = divmod(number, _DECK_SIZE)
    rng = np.random.default_rng([seed, deck_number, _DECK_STREAM])
    return (LABELS * (_DECK_SIZE // len(LABELS)))[rng.permutation(_DECK_SIZE)[position]]
