"""Tests splits by video, session and files."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from data_tools.releases.release import ReleaseError
from data_tools.releases.splits import (
    leak_warnings,
    leave_one_out,
    read_split_files,
    split_by_files,
    split_by_mapping,
    split_by_video,
)
from mme2e_jax.media.utterance import Finding, Utterance


def make_utterances(videos: int, clips: int = 4, seed: int = 0) -> list[Utterance]:
    rng = np.random.default_rng(seed)
    return [
        Utterance(
            f"v{video:03d}_{clip}",
            f"v{video:03d}",
            clip,
            clip + 1,
            "text",
            tuple(map(int, rng.random(6) < 0.15)),
            speaker=f"v{video:03d}",
        )
        for video in range(videos)
        for clip in range(clips)
    ]


def write_files(directory: Path, train: str, valid: str, test: str) -> Path:
    for split, text in (("train", train), ("valid", valid), ("test", test)):
        (directory / f"{split}_split.txt").write_text(text)
    return directory


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shares_labels_and_videos_of_a_split_by_video(seed: int) -> None:
    utterances = make_utterances(40)

    splits = split_by_video(utterances, seed)

    assert sorted(itertools.chain(*splits.values()), key=lambda u: u.id) == utterances
    videos = {split: {u.video for u in part} for split, part in splits.items()}
    assert not videos["train"] & videos["valid"]
    assert not (videos["train"] | videos["valid"]) & videos["test"]
    # 160 utterances: 112, 24, 24, give or take a video or two.
    for split, wanted in (("train", 112), ("valid", 24), ("test", 24)):
        assert abs(len(splits[split]) - wanted) <= 8
        assert all(np.sum([u.label for u in splits[split]], axis=0) > 0)


def test_the_split_depends_on_the_seed_alone() -> None:
    utterances = make_utterances(20)

    assert split_by_video(utterances, 3) == split_by_video(utterances, 3)
    assert split_by_video(utterances, 3) != split_by_video(utterances, 4)


@pytest.mark.parametrize(("videos", "sizes"), [(0, (0, 0, 0)), (1, (4, 0, 0)), (2, (4, 0, 4)), (3, (4, 4, 4))])
def test_few_videos_leave_splits_empty_rather_than_share_a_video(videos: int, sizes: tuple[int, int, int]) -> None:
    splits = split_by_video(make_utterances(videos), 0)

    assert tuple(len(part) for part in splits.values()) == sizes


def test_files_name_utterances_or_videos(tmp_path: Path) -> None:
    utterances = make_utterances(4, clips=2)
    files = write_files(tmp_path, "v000\nv001_0\n\n", "v001_1\n", "v002\r\nv999\n")

    splits, findings, warnings = split_by_files(utterances, read_split_files(files))

    assert {split: [u.id for u in part] for split, part in splits.items()} == {
        "train": ["v000_0", "v000_1", "v001_0"],
        "valid": ["v001_1"],
        "test": ["v002_0", "v002_1"],
    }
    assert findings == [Finding("v003_0", "not_in_splits"), Finding("v003_1", "not_in_splits")]
    assert warnings == ["1 lines of the split files name no usable utterance: v999."]
    (leak,) = leak_warnings(splits)
    assert "1 videos have utterances in more than one split" in leak
    assert "v001" in leak


def test_an_identifier_in_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="v000 is named in two split files: train and test"):
        read_split_files(write_files(tmp_path, "v000", "", "v000"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"train_split\.txt is missing"):
        read_split_files(tmp_path)


def session(utterance: Utterance) -> int:
    """Two videos a session, of sessions 1, 2 and 4."""
    return (1, 2, 4)[int(utterance.video[1:]) // 2]


@pytest.mark.parametrize(("fold", "valid"), [(1, 2), (2, 4), (4, 1)])
def test_one_session_tests_and_the_next_validates(fold: int, valid: int) -> None:
    utterances = make_utterances(6)

    splits = leave_one_out(utterances, session, fold)

    assert {session(u) for u in splits["test"]} == {fold}
    assert {session(u) for u in splits["valid"]} == {valid}
    assert {session(u) for u in splits["train"]} == {1, 2, 4} - {fold, valid}
    assert sum(map(len, splits.values())) == len(utterances)
    assert leak_warnings(splits) == []


def test_a_session_that_is_not_there_cannot_be_left_out() -> None:
    with pytest.raises(ReleaseError, match=r"session 3 and .*found the sessions 1, 2, 4\. Choose --fold among them"):
        leave_one_out(make_utterances(6), session, 3)
    with pytest.raises(ReleaseError, match=r"at least two more .*found the sessions 1, 2\."):
        leave_one_out(make_utterances(4), session, 1)


def test_what_has_no_side_is_named() -> None:
    utterances = make_utterances(1, clips=3)

    parts, findings = split_by_mapping(utterances, {"v000_0": "test", "v000_2": "train"})

    assert {split: [u.id for u in part] for split, part in parts.items()} == {
        "train": ["v000_2"],
        "valid": [],
        "test": ["v000_0"],
    }
    assert findings == [Finding("v000_1", "not_in_splits")]
