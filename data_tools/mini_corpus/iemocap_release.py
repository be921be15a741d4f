"""Writes the embedded corpus in the layout of IEMOCAP_full_release."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_tools.mini_corpus import dialogues
from data_tools.mini_corpus.dialogue_video import make_dialogue
from data_tools.mini_corpus.dialogues import DialoguePlan
from data_tools.mini_corpus.plan import Truth
from data_tools.mini_corpus.video import ClipTimes

_FOLDERS = ("avi/DivX", "wav", "transcriptions", "EmoEvaluation")
# Forms of single evaluators, which preparation must not read.
_FORMS = ("Categorical", "Attribute", "Self-evaluation")
_RESOURCE_FORK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
_RATINGS = {"ang": (2, 4, 4), "exc": (4, 4, 3), "fru": (2, 3, 3), "hap": (4, 3, 3), "neu": (3, 2, 3), "sad": (2, 2, 2)}


def write_dialogue(root: Path, plan: DialoguePlan) -> tuple[str, list[ClipTimes]]:
    """Writes all files of one dialogue; returns its name and the times of its turns."""
    dialog = root / f"Session{plan.session}" / "dialog"
    for folder in (*_FOLDERS, *(f"EmoEvaluation/{form}" for form in _FORMS)):
        (dialog / folder).mkdir(parents=True, exist_ok=True)
    times = make_dialogue(plan, dialog / "avi/DivX" / f"{plan.name}.avi", dialog / "wav" / f"{plan.name}.wav")
    _write(dialog / "EmoEvaluation" / f"{plan.name}.txt", _evaluations(plan, times))
    _write(dialog / "transcriptions" / f"{plan.name}.txt", _transcripts(plan, times))
    for form in _FORMS:
        path = dialog / "EmoEvaluation" / form / f"{plan.name}_e2.txt"
        _write(path, "".join(f"{turn.name} :Other; ()\n" for turn in plan.turns))
    for folder, suffix in zip(_FOLDERS, ("avi", "wav", "txt", "txt"), strict=True):
        (dialog / folder / f"._{plan.name}.{suffix}").write_bytes(_RESOURCE_FORK)
    return plan.name, times


def _evaluations(plan: DialoguePlan, times: Sequence[ClipTimes]) -> str:
    blocks = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
    for turn, span in zip(plan.turns, times, strict=True):
        ratings = _RATINGS.get(turn.label, (3, 3, 3))
        mean = ", ".join(f"{rating:.4f}" for rating in ratings)
        lines = [f"[{span.start:.4f} - {span.end:.4f}]\t{turn.name}\t{turn.label}\t[{mean}]"]
        lines += [f"C-{who}:\tNeutral;\t()" for who in ("E2", "E3", "E4", f"{turn.speaker}1")]
        lines += ["A-{}:\tval {}; act {}; dom  {};\t()".format(who, *ratings) for who in ("E3", "E4")]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks) + "\n"


def _transcripts(plan: DialoguePlan, times: Sequence[ClipTimes]) -> str:
    lines = []
    for turn, span in zip(plan.turns, times, strict=True):
        times_text = f"[{span.start:08.4f}-{span.end:08.4f}]"
        if dialogues.NO_TRANSCRIPT not in turn.awkward:
            lines.append(f"{turn.name} {times_text}: {turn.transcript}")
        other = "M" if turn.speaker == "F" else "F"
        if dialogues.UNEVALUATED in turn.awkward:
            lines.append(f"{plan.name}_{other}XX0 {times_text}: Mhm.")
        if dialogues.UNNAMED in turn.awkward:
            lines.append(f"{other}: [BREATHING]")
    # As in the real release, where evaluation files have LF.
    return "".join(f"{line}\r\n" for line in lines)


def describe(_: Path, plans: Sequence[DialoguePlan], times: Mapping[str, Sequence[ClipTimes]]) -> Truth:
    """The content of `truth.json`; no file is left to write."""
    clips = [
        {
            "dialogue": plan.name,
            "turn": turn.name,
            "speaker": turn.speaker,
            "label": turn.label,
            "text": turn.clip.text,
            "face": turn.clip.face,
            "voice": turn.clip.voice,
            "awkward": turn.awkward,
            "transcript": turn.transcript,
            "start_s": span.start,
            "end_s": span.end,
        }
        for plan in plans
        for turn, span in zip(plan.turns, times[plan.name], strict=True)
    ]
    turns = [turn for plan in plans for turn in plan.turns]
    awkward = {case: [turn.name for turn in turns if case in turn.awkward] for case in dialogues.TURN_CASES}
    awkward |= {case: [plan.name for plan in plans if case in plan.awkward] for case in dialogues.DIALOGUE_CASES}
    return Truth({"labels": dialogues.LABELS, "other_labels": dialogues.OTHER_LABELS}, awkward, clips)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")
