"""Writes the embedded corpus in the layout of CMU-MOSEI."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from data_tools.mini_corpus import plan as planning
from data_tools.mini_corpus.plan import ClipPlan, VideoPlan
from data_tools.mini_corpus.sentences import EMOTIONS
from data_tools.mini_corpus.video import ClipTimes, make_video

WAV_DIR = Path("Audio/WAV_16000")
VIDEO_DIR = Path("Videos/Full/Combined")
TRANSCRIPT_DIR = Path("Transcript/Combined")
LABEL_DIR = Path("Labels")

_NOUNS = {"happy": "happiness", "sad": "sadness"}  # two columns of the label files are named by nouns
_EMOTION_COLUMNS = {emotion: f"Answer.{_NOUNS.get(emotion, emotion)}" for emotion in EMOTIONS}
_POSITIVE = ("happy", "surprise")  # emotions with a positive sentiment
_KEY_COLUMNS = ("HITId", "WorkerId", "Input.VIDEO_ID", "Input.CLIP")
_ANSWER_COLUMNS = (*_EMOTION_COLUMNS.values(), "Answer.sentiment")
_REVIEW_COLUMNS = ("Approve", "Reject")  # for the requester to fill in; as in MOSEI, rows end before them
WORKERS = 3
BATCHES = 2

_LABEL_STREAM = 21
_PAST_END_S = 25.0
_AGREEMENT = 0.6  # probability that another worker agrees with the first about an emotion
_UNANSWERED = 0.08  # probability that a clip has a row without answers
_PREFIXED_EVERY = 5  # rows of every fifth video name it with a path prefix, as in MOSEI


def make_directories(root: Path) -> None:
    """Creates the tree of a release under `root`."""
    for directory in (WAV_DIR, VIDEO_DIR, TRANSCRIPT_DIR, LABEL_DIR):
        (root / directory).mkdir(parents=True, exist_ok=True)


def write_video(root: Path, plan: VideoPlan) -> tuple[str, list[ClipTimes]]:
    """Writes all files of one video; returns its identifier and the times of its clips."""
    make_directories(root)
    times = make_video(plan, movie_path(root, plan.video_id), wav_path(root, plan.video_id))
    write_transcript(root, plan, times)
    return plan.video_id, times


def movie_path(root: Path, video_id: str) -> Path:
    return root / VIDEO_DIR / f"{video_id}.mp4"


def wav_path(root: Path, video_id: str) -> Path:
    return root / WAV_DIR / f"{video_id}.wav"


def write_transcript(root: Path, plan: VideoPlan, times: Sequence[ClipTimes]) -> None:
    """Writes `ID___clip___start___end___text` lines (seconds, UTF-8) for one video."""
    lines = []
    for clip, span in zip(plan.clips, times, strict=True):
        if planning.NO_TRANSCRIPT in clip.awkward:
            continue
        end = span.end + (_PAST_END_S if planning.PAST_END in clip.awkward else 0.0)
        times_text = f"{span.start:.4f}___{end:.4f}"
        lines.append(f"{plan.video_id}___{clip.index}___{times_text}___{clip.transcript}\n")
    path = root / TRANSCRIPT_DIR / f"{plan.video_id}.txt"
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def write_labels(root: Path, plans: Iterable[VideoPlan]) -> None:
    """Writes the answers of three workers for each clip.

    A clip has an emotion if the sum of its answers is positive. Answers are 0 to 3; a row without answers has empty
    cells. The rows of a clip may be in different files.
    """
    rows = [row for plan in plans for clip in plan.clips for row in _answers(plan, clip)]
    for batch in range(BATCHES):
        path = root / LABEL_DIR / f"Batch_{batch}.csv"
        columns = (*_KEY_COLUMNS, *_ANSWER_COLUMNS)
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow((*columns, *_REVIEW_COLUMNS))
            csv.DictWriter(file, columns, lineterminator="\n").writerows(rows[batch::BATCHES])


def _answers(plan: VideoPlan, clip: ClipPlan) -> list[dict[str, object]]:
    if planning.NO_LABEL in clip.awkward:
        return []
    rng = plan.rng(_LABEL_STREAM, clip.index)
    sure, unanswered = rng.permutation(WORKERS)[:2]
    has_unanswered = rng.random() < _UNANSWERED
    name = f"x/{plan.video_id}" if plan.index % _PREFIXED_EVERY == 2 else plan.video_id
    rows = []
    for worker in range(WORKERS):
        row: dict[str, object] = {
            "HITId": f"H{plan.index:04d}{clip.index}",
            "WorkerId": f"W{worker}",
            "Input.VIDEO_ID": name,
            "Input.CLIP": clip.index,
        }
        for emotion in EMOTIONS:
            score = int(rng.integers(1, 4))
            agrees = bool(rng.random() < _AGREEMENT) or worker == sure
            present = emotion in clip.labels and agrees
            row[_EMOTION_COLUMNS[emotion]] = score if present else 0
        row["Answer.sentiment"] = sum(1 if emotion in _POSITIVE else -1 for emotion in clip.labels)
        if has_unanswered and worker == unanswered:
            row |= dict.fromkeys(_ANSWER_COLUMNS, "")
        rows.append(row)
    return rows


def finish(root: Path, plans: Sequence[VideoPlan], times: Mapping[str, Sequence[ClipTimes]]) -> planning.Truth:
    """Writes the labels."""
    write_labels(root, plans)
    clips = [
        {"video": plan.video_id, "speaker": plan.speaker}
        | asdict(clip)
        | {"transcript": clip.transcript, "start_s": span.start, "end_s": span.end}
        for plan in plans
        for clip, span in zip(plan.clips, times[plan.video_id], strict=True)
    ]
    awkward = {
        case: [f"{p.video_id}___{clip.index}" for p in plans for clip in p.clips if case in clip.awkward]
        for case in planning.CLIP_CASES
    }
    awkward |= {case: [plan.video_id for plan in plans if case in plan.awkward] for case in planning.VIDEO_CASES}
    return planning.Truth({"emotions": EMOTIONS}, awkward, clips)
