"""Reads the transcripts and emotions of IEMOCAP_full_release.

    SessionN/dialog/EmoEvaluation/DIALOGUE.txt     emotion of each turn
    SessionN/dialog/transcriptions/DIALOGUE.txt    text of each turn
    SessionN/dialog/avi/DivX/DIALOGUE.avi          both speakers side by side
    SessionN/dialog/wav/DIALOGUE.wav               one channel for each speaker

An evaluation line is `[start - end]<tab>TURN<tab>emotion<tab>[valence, activation, dominance]` with times in seconds;
lines of single evaluators (`C-`, `A-`) and the subfolders with their forms are not read. A transcript line is
`TURN [start-end]: text`. The F or M in a dialogue's name is the speaker in the left half of the frame and on channel 0;
the F or M in a turn's name is its speaker.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from data_tools.releases.release import Release, files_in, first_file, read_text, require_directory, require_parts
from mme2e_jax.constants import LABEL_NAMES
from mme2e_jax.media.transcripts import read_number
from mme2e_jax.media.utterance import Finding, Media, Utterance

EMOTIONS = LABEL_NAMES["iemocap"]
# Other answers of the evaluators; xxx if they did not agree.
OTHER_EMOTIONS = ("xxx", "sur", "fea", "oth", "dis")

_EXPECTED = (
    "Session1 .. Session5, each with dialog/{EmoEvaluation,transcriptions}/*.txt, dialog/avi/DivX and dialog/wav"
)
_TURN = re.compile(
    r"(?P<dialogue>Ses(?P<session>[0-9]{2})(?P<left>[FM])_[A-Za-z0-9_]{1,64})_(?P<speaker>[FM])[0-9X]{1,6}"
)
_EVALUATION = re.compile(r"\[\s*(\S+)\s*-\s*(\S+)\s*\]\t([^\t]*)\t([^\t]*)(\t.*)?")
_TRANSCRIPT = re.compile(r"(\S+) \[\s*[0-9.]+\s*-\s*[0-9.]+\s*\]:(.*)")
_SKIPPED = ("%", "C-", "A-")  # comments and lines of single evaluators


@dataclass(frozen=True)
class Evaluation:
    """The evaluators' consensus about one turn; times in seconds."""

    turn: str
    start: float
    end: float
    emotion: str


def read_release(raw: Path) -> Release:
    """Reads evaluations and transcripts; raises `ReleaseError` unless `raw` is a directory in the layout above."""
    evaluations: dict[str, Evaluation] = {}
    texts: dict[str, str] = {}
    findings: list[Finding] = []
    media: dict[str, Media] = {}
    for dialog in _find_sessions(raw):
        for path in files_in(dialog / "EmoEvaluation", "*.txt"):
            read, rejected = parse_evaluation(read_text(path), path.stem)
            findings += rejected
            for evaluation in read:
                if evaluation.turn in evaluations:
                    findings.append(Finding(evaluation.turn, "duplicate", f"EmoEvaluation/{path.name}"))
                evaluations.setdefault(evaluation.turn, evaluation)
            media[path.stem] = Media(
                video=first_file([dialog / "avi" / "DivX" / f"{path.stem}.avi"]),
                wav=first_file([dialog / "wav" / f"{path.stem}.wav"]),
            )
        for path in files_in(dialog / "transcriptions", "*.txt"):
            lines, rejected = parse_transcript(read_text(path), path.stem)
            findings += rejected
            for turn, text in lines:
                if turn in texts:
                    findings.append(Finding(turn, "duplicate", f"transcriptions/{path.name}"))
                texts.setdefault(turn, text)
    utterances, mismatches = join_texts(evaluations, texts)
    findings += mismatches
    used = {utterance.video for utterance in utterances}
    return Release(EMOTIONS, utterances, {d: files for d, files in media.items() if d in used}, findings)


def parse_evaluation(text: str, stem: str) -> tuple[list[Evaluation], list[Finding]]:
    """Parses the evaluation file `stem`.txt; never raises: an invalid line gives a finding named `stem:line number`."""
    evaluations: list[Evaluation] = []
    findings: list[Finding] = []
    for number, line in _lines(text):
        if line.startswith(_SKIPPED):
            continue
        name = f"{stem}:{number}"
        fields = _EVALUATION.fullmatch(line)
        start, end = (read_number(time) for time in fields.group(1, 2)) if fields else (math.nan, math.nan)
        if fields is None or not (math.isfinite(start) and math.isfinite(end)):
            expected = "expected [start - end], turn, emotion and scores between tabs"
            findings.append(Finding(name, "bad_evaluation_line", f"{expected}: {line[:80]!r}"))
        elif not is_turn_of(stem, fields[3]):
            findings.append(Finding(name, "bad_id", f"expected a turn of {stem}: {fields[3][:80]!r}"))
        elif fields[4] not in (*EMOTIONS, *OTHER_EMOTIONS):
            findings.append(Finding(fields[3], "bad_evaluation_line", f"unknown emotion {fields[4][:20]!r}"))
        else:
            evaluations.append(Evaluation(fields[3], start, end, fields[4]))
    return evaluations, findings


def parse_transcript(text: str, stem: str) -> tuple[list[tuple[str, str]], list[Finding]]:
    """Parses the transcript `stem`.txt, (turn, text); never raises: other lines give findings `stem:line number`."""
    lines: list[tuple[str, str]] = []
    findings: list[Finding] = []
    for number, line in _lines(text):
        fields = _TRANSCRIPT.fullmatch(line)
        if fields is None:
            findings.append(Finding(f"{stem}:{number}", "line_without_id", repr(line[:80])))
        elif not is_turn_of(stem, fields[1]):
            findings.append(Finding(f"{stem}:{number}", "bad_id", f"expected a turn of {stem}: {fields[1][:80]!r}"))
        else:
            if "\ufffd" in fields[2]:
                findings.append(Finding(fields[1], "undecodable_text", f"transcriptions/{stem}.txt"))
            lines.append((fields[1], " ".join(fields[2].split())))
    return lines, findings


def join_texts(evaluations: dict[str, Evaluation], texts: dict[str, str]) -> tuple[list[Utterance], list[Finding]]:
    """Joins evaluations and texts by turn; sorts the utterances by dialogue and time."""
    utterances: list[Utterance] = []
    findings = [Finding(turn, "transcript_without_label") for turn in sorted(texts.keys() - evaluations.keys())]
    for turn, evaluation in sorted(evaluations.items()):
        start = max(evaluation.start, 0.0)
        if evaluation.emotion in OTHER_EMOTIONS:
            findings.append(Finding(turn, "other_emotion", evaluation.emotion))
        elif turn not in texts:
            findings.append(Finding(turn, "label_without_transcript"))
        elif evaluation.end <= start:
            findings.append(Finding(turn, "bad_times", f"{evaluation.start:g} s to {evaluation.end:g} s"))
        else:
            if evaluation.start < 0:
                findings.append(Finding(turn, "negative_start", f"{evaluation.start:g} s"))
            if not texts[turn]:
                findings.append(Finding(turn, "empty_transcript"))
            utterances.append(_utterance(evaluation, start, texts[turn]))
    return sorted(utterances, key=lambda u: (u.video, u.start, u.id)), findings


def is_turn_of(dialogue: str, turn: str) -> bool:
    """Whether `turn` is a valid name of a turn in that dialogue."""
    fields = _TURN.fullmatch(turn)
    return fields is not None and fields["dialogue"] == dialogue


def session_of(utterance: Utterance) -> int:
    """The session of an utterance; each session has its own pair of speakers."""
    fields = _TURN.fullmatch(utterance.id)
    assert fields is not None
    return int(fields["session"])


def parse_turn(turn: str) -> tuple[str, str, bool]:
    """A turn's dialogue and speaker, and whether the speaker is on the left; raises ValueError for other names."""
    fields = _TURN.fullmatch(turn)
    if fields is None:
        raise ValueError(f"expected the name of a turn, such as Ses01F_impro01_F000: {turn[:80]!r}")
    return fields["dialogue"], f"Ses{fields['session']}_{fields['speaker']}", fields["speaker"] == fields["left"]


def _utterance(evaluation: Evaluation, start: float, text: str) -> Utterance:
    dialogue, speaker, on_left = parse_turn(evaluation.turn)
    return Utterance(
        id=evaluation.turn,
        video=dialogue,
        start=start,
        end=evaluation.end,
        transcript=text,
        label=tuple(int(evaluation.emotion == emotion) for emotion in EMOTIONS),
        speaker=speaker,
        view="left" if on_left else "right",
        channel=0 if on_left else 1,
    )


def _find_sessions(raw: Path) -> list[Path]:
    require_directory(raw, _EXPECTED)
    dialogs = sorted(path / "dialog" for path in raw.glob("Session[0-9]*"))
    parts = {name: any(files_in(d / name, "*.txt") for d in dialogs) for name in ("EmoEvaluation", "transcriptions")}
    parts["videos or sound"] = any(any((d / name).glob("*")) for d in dialogs for name in ("avi/DivX", "wav"))
    require_parts(raw, "IEMOCAP_full_release", _EXPECTED, parts, "the sessions")
    return dialogs


def _lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers; they end in LF or CRLF."""
    return [(i, line.strip()) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
