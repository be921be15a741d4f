"""Tests that generation gives the same bytes, the layout and clear errors."""

import csv
import hashlib
import json
import multiprocessing
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.error import FFmpegError
from scipy.io import wavfile

from data_tools.generate import generate
from data_tools.mini_corpus import mosei_release, plan
from data_tools.mini_corpus.sentences import EMOTIONS
from data_tools.mini_corpus.video import FPS, SHORT_FRAMES, WAV_CUT_S, make_video
from mme2e_jax.runtime.files import OutputExistsError

UTTERANCES = 24  # the smallest corpus that has every awkward case
SEED = 0

EMOTION_COLUMNS = {
    "anger": "Answer.anger",
    "disgust": "Answer.disgust",
    "fear": "Answer.fear",
    "happy": "Answer.happiness",
    "sad": "Answer.sadness",
    "surprise": "Answer.surprise",
}


@pytest.fixture(scope="session")
def truth(corpus: Path) -> dict[str, Any]:
    """What the corpus was told to be."""
    return json.loads((corpus / "truth.json").read_text(encoding="utf-8"))


def digest(root: Path) -> dict[str, str]:
    """The hash of every file under `root`, by its path relative to `root`."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def videos_of(truth) -> list[str]:
    return list(dict.fromkeys(clip["video"] for clip in truth["clips"]))


def clip_of(truth, name: str) -> dict:
    video, _, index = name.rpartition("___")
    return next(c for c in truth["clips"] if c["video"] == video and c["index"] == int(index))


def movie(root: Path, video: str) -> Path:
    return root / "Videos/Full/Combined" / f"{video}.mp4"


def wav(root: Path, video: str) -> Path:
    return root / "Audio/WAV_16000" / f"{video}.wav"


def duration(stream: av.VideoStream | av.AudioStream) -> float:
    """Seconds."""
    assert stream.duration is not None
    assert stream.time_base is not None
    return float(stream.duration * stream.time_base)


def transcript_fields(root: Path, video: str) -> dict[int, tuple[float, float, str]]:
    lines = (root / "Transcript/Combined" / f"{video}.txt").read_text(encoding="utf-8").splitlines()
    fields = [line.split("___") for line in lines]
    assert all(len(parts) == 5 and parts[0] == video for parts in fields)
    return {int(clip): (float(start), float(end), text) for _, clip, start, end, text in fields}


def label_rows(root: Path) -> dict[tuple[str, int], list[dict[str, str]]]:
    rows = defaultdict(list)
    for path in sorted((root / "Labels").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                video = row["Input.VIDEO_ID"].rpartition("/")[2]
                rows[video, int(row["Input.CLIP"])].append(row)
    return rows


@pytest.mark.slow
def test_worker_processes_do_not_change_a_byte(corpus, tmp_path):
    again = generate(tmp_path / "again", UTTERANCES, SEED, workers=2)
    assert digest(again) == digest(corpus)


def test_videos_are_the_same_in_any_order_and_alone(corpus, tmp_path):
    plans = plan.plan_corpus(UTTERANCES, SEED)
    for video in reversed(plans[:2]):
        made = tmp_path / f"{video.video_id}.mp4"
        sound = tmp_path / f"{video.video_id}.wav"
        make_video(video, made, sound)
        assert made.read_bytes() == movie(corpus, video.video_id).read_bytes()
        if sound.exists():
            assert sound.read_bytes() == wav(corpus, video.video_id).read_bytes()


def test_another_seed_gives_another_corpus(corpus, tmp_path):
    other = generate(tmp_path / "other", 8, SEED + 1, workers=1)
    hashes = set(digest(corpus).values())
    assert hashes.isdisjoint(digest(other).values())


def test_files_are_those_of_a_mosei_release(corpus, truth):
    videos = videos_of(truth)
    without_wav = truth["awkward"]["wav_missing"]
    expected = {"truth.json", "Labels/Batch_0.csv", "Labels/Batch_1.csv"}
    expected |= {f"Videos/Full/Combined/{video}.mp4" for video in videos}
    expected |= {f"Transcript/Combined/{video}.txt" for video in videos}
    expected |= {f"Audio/WAV_16000/{video}.wav" for video in videos if video not in without_wav}
    assert {Path(name).as_posix() for name in digest(corpus)} == expected


def test_movies_are_h264_with_sound_as_long_as_their_clips(corpus, truth):
    for video in videos_of(truth):
        if video in truth["awkward"]["broken_video"]:
            continue
        seconds = max(clip["end_s"] for clip in truth["clips"] if clip["video"] == video)
        with av.open(str(movie(corpus, video))) as container:
            picture, sound = container.streams.video[0], container.streams.audio[0]
            assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "aac")
            assert picture.average_rate == FPS
            assert picture.frames == round(seconds * FPS)
            assert duration(sound) == pytest.approx(seconds, abs=0.07)


def test_wavs_are_16_khz_mono_and_carry_speech(corpus, truth):
    for clip in truth["clips"]:
        video = clip["video"]
        if video in truth["awkward"]["wav_missing"] + truth["awkward"]["wav_length_differs"]:
            continue
        rate, sound = wavfile.read(wav(corpus, video))
        assert (rate, sound.ndim, sound.dtype) == (16000, 1, np.int16)
        spoken = sound[int(clip["start_s"] * rate) : int(clip["end_s"] * rate)] / 32768
        assert np.sqrt(np.mean(spoken**2)) > 0.02


def test_transcripts_parse_back_to_the_truth(corpus, truth):
    for video in videos_of(truth):
        fields = transcript_fields(corpus, video)
        for clip in truth["clips"]:
            if clip["video"] == video and "label_without_transcript" not in clip["awkward"]:
                start, end, text = fields.pop(clip["index"])
                assert text == clip["transcript"]
                assert start == pytest.approx(clip["start_s"], abs=1e-4)
                if "clip_past_end" not in clip["awkward"]:
                    assert end == pytest.approx(clip["end_s"], abs=1e-4)
        assert not fields


def test_clips_follow_each_other_and_last_2_to_3_2_seconds(truth):
    ends: dict[str, float] = {}
    for clip in truth["clips"]:
        assert clip["start_s"] == ends.get(clip["video"], 0)
        ends[clip["video"]] = clip["end_s"]
        if "short_clip" not in clip["awkward"]:
            assert 2.0 - 1e-9 <= clip["end_s"] - clip["start_s"] <= 3.2 + 1e-9


def test_three_workers_label_each_clip_and_their_sum_is_the_label(corpus, truth):
    rows = label_rows(corpus)
    for clip in truth["clips"]:
        answers = rows[clip["video"], clip["index"]]
        if "transcript_without_label" in clip["awkward"]:
            assert not answers
            continue
        assert {row["WorkerId"] for row in answers} == {"W0", "W1", "W2"}
        for emotion, column in EMOTION_COLUMNS.items():
            scores = [float(row[column]) for row in answers if row[column]]
            assert all(0 <= score <= 3 for score in scores)
            assert (sum(scores) > 0) == (emotion in clip["labels"])


def test_label_columns_are_those_of_mosei(corpus):
    for path in (corpus / "Labels").glob("*.csv"):
        header = path.read_text(encoding="utf-8").splitlines()[0]
        assert header == (
            "HITId,WorkerId,Input.VIDEO_ID,Input.CLIP,Answer.anger,Answer.disgust,Answer.fear,"
            "Answer.happiness,Answer.sadness,Answer.surprise,Answer.sentiment,Approve,Reject"
        )


def test_some_rows_have_no_answers_and_some_names_have_a_path(tmp_path):
    mosei_release.make_directories(tmp_path)
    mosei_release.write_labels(tmp_path, plan.plan_corpus(160, SEED))
    rows = [row for answers in label_rows(tmp_path).values() for row in answers]
    empty = [row for row in rows if not any(row[column] for column in EMOTION_COLUMNS.values())]
    prefixed = [row for row in rows if row["Input.VIDEO_ID"].startswith("x/")]
    assert 5 <= len(empty) <= 30
    assert len(prefixed) > 50


def test_video_ids_leave_transcript_lines_unambiguous():
    for video in plan.plan_corpus(1000, SEED):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{9}[A-Za-z0-9]", video.video_id)
        assert "__" not in video.video_id


def test_every_awkward_case_is_named(truth):
    expected = {
        "no_face",
        "non_ascii_transcript",
        "short_clip",
        "clip_past_end",
        "label_without_transcript",
        "transcript_without_label",
        "wav_missing",
        "broken_video",
        "wav_length_differs",
    }
    assert set(truth["awkward"]) == expected
    assert all(truth["awkward"].values())


def test_clip_without_face_shows_an_empty_room(corpus, truth):
    (name,) = truth["awkward"]["no_face"]
    clip = clip_of(truth, name)
    with av.open(str(movie(corpus, clip["video"]))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    empty = frames[round(clip["start_s"] * FPS) + 2].astype(float)
    peopled = frames[2].astype(float)
    # The room's wall is smooth; the photograph's hair and suit are not.
    detail = [np.abs(np.diff(image, axis=1)).mean() for image in (empty, peopled)]
    assert detail[0] < 0.6 * detail[1]


def test_short_clip_is_shorter_than_half_a_second(truth):
    (name,) = truth["awkward"]["short_clip"]
    clip = clip_of(truth, name)
    assert clip["end_s"] - clip["start_s"] == pytest.approx(SHORT_FRAMES / FPS)
    assert SHORT_FRAMES / FPS < 0.5


def test_clip_past_end_ends_after_its_video(corpus, truth):
    (name,) = truth["awkward"]["clip_past_end"]
    video, _, clip = name.rpartition("___")
    _, end, _ = transcript_fields(corpus, video)[int(clip)]
    with av.open(str(movie(corpus, video))) as container:
        assert end > duration(container.streams.video[0]) + 1


def test_label_without_transcript_and_transcript_without_label(corpus, truth):
    rows = label_rows(corpus)
    (unspoken,) = truth["awkward"]["label_without_transcript"]
    video, _, clip = unspoken.rpartition("___")
    assert int(clip) not in transcript_fields(corpus, video)
    assert len(rows[video, int(clip)]) == 3
    (unlabelled,) = truth["awkward"]["transcript_without_label"]
    video, _, clip = unlabelled.rpartition("___")
    assert int(clip) in transcript_fields(corpus, video)
    assert (video, int(clip)) not in rows


def test_missing_wav_is_missing_and_broken_video_does_not_open(corpus, truth):
    (silent,) = truth["awkward"]["wav_missing"]
    assert movie(corpus, silent).exists()
    assert not wav(corpus, silent).exists()
    (broken,) = truth["awkward"]["broken_video"]
    with pytest.raises(FFmpegError):
        av.open(str(movie(corpus, broken)))


def test_wav_of_another_length_is_shorter_than_its_video(corpus, truth):
    (video,) = truth["awkward"]["wav_length_differs"]
    rate, sound = wavfile.read(wav(corpus, video))
    seconds = max(clip["end_s"] for clip in truth["clips"] if clip["video"] == video)
    assert len(sound) / rate == pytest.approx(seconds - WAV_CUT_S)


def test_non_ascii_transcript_has_accents_quotes_and_chinese(truth):
    (name,) = truth["awkward"]["non_ascii_transcript"]
    text = clip_of(truth, name)["transcript"]
    assert {"ñ", "é", "“", "”", "你"} <= set(text)


def test_truth_names_only_known_emotions(truth):
    assert truth["emotions"] == list(EMOTIONS)
    for clip in truth["clips"]:
        for modality in ("labels", "text", "face", "voice"):
            assert set(clip[modality]) <= set(EMOTIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layout": "meld"}, "unknown layout 'meld'; expected one of mosei"),
        ({"utterances": 7}, "at least 8 utterances are needed .* found 7"),
        ({"seed": -1}, "seed must not be negative, found -1"),
        ({"workers": 0}, "at least 1 worker is needed, found 0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "out", **arguments)
    assert not list(tmp_path.iterdir())


def test_a_directory_with_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"found 1 entries \(precious\.txt\)"):
        generate(tmp_path, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(mosei_release, "write_labels", fail)
    monkeypatch.setattr("data_tools.generate._write_videos", lambda *_: {})
    with pytest.raises(OSError, match="disk full"):
        generate(tmp_path / "out", 8)
    assert not list(tmp_path.iterdir())
    assert not multiprocessing.active_children()
