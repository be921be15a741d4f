"""Plans the dialogues of the embedded corpus in the layout of IEMOCAP.

Each of five sessions has its own pair of speakers. Excitement is expressed as surprise, frustration as disgust.
"""

from dataclasses import dataclass, field

import numpy as np

from data_tools.mini_corpus.plan import ClipPlan, NoiseRates, noise_draws, plan_clip
from mme2e_jax.constants import LABEL_NAMES

SESSIONS = 5
MIN_UTTERANCES = 24  # the fewest that contain all awkward cases
_TURNS = 8  # approximate number of turns in a dialogue

LABELS = LABEL_NAMES["iemocap"]
OTHER_LABELS = ("xxx", "sur", "fea", "oth", "dis")
# Emotions that express a label; a label that is not listed is neutral.
EXPRESSED = {
    "ang": ("anger",),
    "exc": ("surprise",),
    "fru": ("disgust",),
    "hap": ("happy",),
    "sad": ("sad",),
    "sur": ("surprise",),
    "fea": ("fear",),
    "dis": ("disgust",),
}

# Awkward cases of a turn.
OVERLAP = "overlapping_turns"
NO_TRANSCRIPT = "evaluation_without_transcript"
COLON = "colon_in_transcript"
UNEVALUATED = "turn_without_evaluation"  # a turn named XX0 that has only a transcript
UNNAMED = "line_without_id"
# Awkward cases of a dialogue.
NO_WAV = "wav_missing"
NO_VIDEO = "video_missing"
MONO_WAV = "wav_mono"

TURN_CASES = (OVERLAP, NO_TRANSCRIPT, COLON, UNEVALUATED, UNNAMED)
DIALOGUE_CASES = (NO_WAV, NO_VIDEO, MONO_WAV)
# {dialogue: {turn: case}}; UNEVALUATED and UNNAMED add such a line after the turn.
_TURN_CASES_AT = {0: {1: OVERLAP, 3: UNEVALUATED}, 1: {1: COLON, 3: UNNAMED}, 2: {1: OVERLAP}, 3: {1: NO_TRANSCRIPT}}
_DIALOGUE_CASES_AT = {2: NO_WAV, 3: NO_VIDEO, 4: MONO_WAV}
_OVERLAP_FRAMES = -9
_OTHER_TURN = 2  # has another label than the six, in the first dialogue of each session and every second later one

_DECK_SIZE = 24
_DECK_STREAM, _TURN_STREAM, _GAP_STREAM = 5, 6, 7


@dataclass(frozen=True)
class TurnPlan:
    """One turn of a dialogue."""

    name: str  # name in the release, such as `Ses01F_impro01_F000`
    speaker: str  # F or M
    label: str  # evaluators' label, one of `LABELS` or `OTHER_LABELS`
    clip: ClipPlan  # emotions that each modality expresses
    gap: int  # frames of silence before the turn; negative if it overlaps the previous turn
    awkward: tuple[str, ...] = ()  # awkward cases of the turn

    @property
    def transcript(self) -> str:
        text = self.clip.transcript
        return f"Listen: {text} I said: no." if COLON in self.awkward else text


@dataclass(frozen=True)
class DialoguePlan:
    """One dialogue of two speakers who take turns."""

    seed: int  # seed of the corpus
    index: int  # number of the dialogue, from 0
    name: str  # name in the release
    session: int  # number of the session, from 1
    turns: tuple[TurnPlan, ...] = field(repr=False)  # turns in the order of their starts
    awkward: tuple[str, ...] = ()  # awkward cases of the dialogue

    @property
    def left(self) -> str:
        """The speaker in the left half and on channel 0, F or M."""
        return self.name[len("Ses01")]

    def rng(self, *stream: int) -> np.random.Generator:
        """An independent random generator of this dialogue for each `stream`."""
        return np.random.default_rng([self.seed, self.index, 1, *stream])


def plan_dialogues(utterances: int, seed: int, rates: NoiseRates | None = None) -> tuple[DialoguePlan, ...]:
    """Plans a corpus of `utterances` evaluated turns; raises ValueError for too few turns or a negative seed."""
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
        clip = plan_clip(rng, turn, EXPRESSED.get(label, ()), None, rates, noise_draws(seed, first + turn))
        case = cases.get(turn)
        gap = int(np.random.default_rng([seed, index, _GAP_STREAM, turn]).integers(1, 6))
        gap = _OVERLAP_FRAMES if case == OVERLAP else gap
        turn_name = f"{name}_{speaker}{spoken[speaker]:03d}"
        turns.append(TurnPlan(turn_name, speaker, label, clip, gap, awkward=(case,) if case else ()))
        spoken[speaker] += 1
    dialogue_case = _DIALOGUE_CASES_AT.get(index)
    return DialoguePlan(seed, index, name, session, tuple(turns), (dialogue_case,) if dialogue_case else ())


def _label(seed: int, dialogue: int, turn: int, number: int) -> str:
    """The label of turn `number` of the corpus, from shuffled decks in which the six labels are equally frequent."""
    if turn == _OTHER_TURN and (dialogue < SESSIONS or dialogue % 2):
        return OTHER_LABELS[dialogue % len(OTHER_LABELS)]
    deck_number, position = divmod(number, _DECK_SIZE)
    rng = np.random.default_rng([seed, deck_number, _DECK_STREAM])
    return (LABELS * (_DECK_SIZE // len(LABELS)))[rng.permutation(_DECK_SIZE)[position]]
