"""The clips that an input names, and their transcripts."""

import contextlib
import os
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, example, settings
from hypothesis import strategies as st

from mme2e_jax.errors import UserError
from mme2e_jax.predict.clip_reader import open_clip
from mme2e_jax.predict.inputs import ClipFile, find_clips, find_transcript, read_words

BOM = b"\xef\xbb\xbf"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(given: object) -> list[str]:
    clips = find_clips(str(given))
    assert clips.many
    return [file.name for file in clips.files]


def test_a_folder_gives_its_media_with_those_of_its_folders(tmp_path: Path) -> None:
    media = ["b.mp4", "c.WAV", "x/a.mp4", "x/y/a.mkv"]
    others = ["b.srt", "b.txt", "._b.mp4", "table.csv", ".hidden/a.mp4", "x/a.mp4.json"]
    touch(*(tmp_path / name for name in (*media, *others)))

    assert names(tmp_path) == media
    assert [file.path for file in find_clips(str(tmp_path)).files] == [tmp_path / name for name in media]


def test_links_do_not_lead_out_of_a_folder_or_pattern(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a.mp4", tmp_path / "out" / "secret.mp4", tmp_path / "out" / "secret.srt")
    (tmp_path / "in" / "b.mp4").symlink_to(tmp_path / "out" / "secret.mp4")
    (tmp_path / "in" / "c.mp4").symlink_to(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "folder").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "a.srt").symlink_to(tmp_path / "out" / "secret.srt")

    for given in (tmp_path / "in", tmp_path / "in" / "*.mp4"):
        files = find_clips(str(given)).files
        assert [(file.name, "leads out of" in file.problem) for file in files] == [
            ("a.mp4", False),
            ("b.mp4", True),
            ("c.mp4", False),
        ]
        assert find_transcript(files[0]) is None


def test_a_pattern_gives_its_files_but_no_transcripts(tmp_path: Path) -> None:
    touch(*(tmp_path / name for name in ("a/x.mp4", "b/x.dat", "b/x.srt", "b/c/y.mp4", "[1].mp4")))

    assert names(tmp_path / "*" / "*") == ["a/x.mp4", "b/x.dat"]
    assert names(tmp_path / "**" / "*.mp4") == ["[1].mp4", "a/x.mp4", "b/c/y.mp4"]
    assert not find_clips(str(tmp_path / "[1].mp4")).many
    with pytest.raises(UserError, match=r"Expected video or sound files in .*found none"):
        find_clips(str(tmp_path / "*.wav"))


def test_a_list_gives_paths_relative_to_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "b.mp4"
    lines = [b"\xef\xbb\xbfa.mp4\r", b"", b"x/=1.mp4", b"../b.mp4", os.fsencode(outside), b"a.mp4", b"\xff.mp4"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "list.txt").write_bytes(b"\n".join(lines))

    files = find_clips(str(tmp_path / "in" / "list.txt")).files

    assert [file.path for file in files][:2] == [tmp_path / "in" / "a.mp4", tmp_path / "in" / "x/=1.mp4"]
    assert [file.name for file in files][:2] == ["a.mp4", "x/=1.mp4"]
    assert [Path(os.path.normpath(file.path)) for file in files[2:4]] == [outside, outside]
    assert files[4].name == "\udcff.mp4"


def test_anything_else_is_one_clip(tmp_path: Path) -> None:
    assert find_clips("absent.mp4") == ([ClipFile(Path("absent.mp4"), "absent.mp4")], False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="found none"):
        find_clips(str(tmp_path / "empty"))


def test_a_transcript_lies_next_to_its_clip(tmp_path: Path) -> None:
    clip = ClipFile(tmp_path / "a.b.mp4", "a.b.mp4")
    assert find_transcript(clip) is None
    (tmp_path / "a.b.txt").write_text(" I am\nhere.\n")
    assert find_transcript(clip) == tmp_path / "a.b.txt"
    assert read_words(tmp_path / "a.b.txt") == "I am\nhere."
    (tmp_path / "a.b.vtt").write_text("WEBVTT")
    assert find_transcript(clip) == tmp_path / "a.b.vtt"
    assert read_words(tmp_path / "a.b.vtt") is None
    (tmp_path / "a.b.txt").write_text("a.b___0___1.25___4.5___nine\n")
    assert read_words(tmp_path / "a.b.txt") is None


fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
any_line = st.binary(max_size=12).filter(lambda line: b"\n" not in line)


@fuzz
@hypothesis.given(st.lists(any_line, max_size=6))
@example([b"/", b".", b"..", b"\0", b"a" * 300 + b".mp4", b"~", b"list.txt/a"])
def test_every_line_of_a_list_is_a_file_that_is_opened_or_refused(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\n".join(lines))
    # A mark of UTF-8 and ends of lines belong to no path.
    named = [os.fsdecode(line.removesuffix(b"\r")) for line in path.read_bytes().removeprefix(BOM).split(b"\n")]
    wanted = [*dict.fromkeys(line for line in named if line.strip())]

    if not wanted:
        with pytest.raises(UserError, match="found none"):
            find_clips(str(path))
        return
    files = find_clips(str(path)).files
    assert [file.path for file in files] == [tmp_path / line for line in wanted]
    for file in files:
        find_transcript(file)
        with pytest.raises(UserError, match=r"^Expected a video or sound file, found"):
            open_clip(file.path)


@fuzz
@hypothesis.given(st.sampled_from([".srt", ".vtt", ".txt"]), st.binary(max_size=40))
def test_any_transcript_next_to_a_clip_is_read_or_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"clip{suffix}"
    path.write_bytes(content)

    assert find_transcript(ClipFile(tmp_path / "clip.mp4", "clip.mp4")) == path
    with contextlib.suppress(UserError):
        words = read_words(path)
        assert words is None or words == content.decode("utf-8-sig").strip()
    path.unlink()
