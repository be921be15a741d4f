"""Cues of transcripts, and windows of clips without cues."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mme2e_jax.errors import UserError
from mme2e_jax.predict.cues import Cue, check_windows, read_cues, sliding_windows, split_long_cues, windows


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_a_short_clip_is_one_window_to_its_end() -> None:
    assert windows(10.0, "hello") == [Cue(0.0, math.inf, "hello")]
    # The stated length of ten seconds in an MPEG-4 file.
    assert windows(10.048, "hello") == [Cue(0.0, math.inf, "hello")]
    assert len(windows(10.2, "")) == 2


@given(st.floats(0.01, 20_000.0))
def test_windows_are_equal_cover_the_clip_and_last_ten_seconds_at_most(duration: float) -> None:
    found = windows(duration, "")

    lengths = [min(cue.end, duration) - cue.start for cue in found]
    assert found[0].start == 0.0
    assert found[-1].end == math.inf
    assert all(a.end == b.start for a, b in itertools.pairwise(found))
    assert max(lengths) <= 10.1 + 1e-4
    assert min(lengths) == pytest.approx(max(lengths))


def test_subrip_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a.srt",
        "\ufeff1\r\n00:00:01,500 --> 00:00:02,250\r\nHello,\r\n<i>world</i>!\r\n\r\n2\r\n"
        "01:00:00,000 --> 01:00:01,000\r\n\r\n3\r\n00:00:00,000 --> 00:00:01,000 X1:0\r\n42\r\n",
    )

    assert read_cues(path, "a") == [Cue(0.0, 1.0, "42"), Cue(1.5, 2.25, "Hello, world!"), Cue(3600.0, 3601.0, "")]


def test_webvtt_is_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a.vtt",
        "WEBVTT - made by hand\nKind: captions\n\nNOTE a note\n00:01.000 --> 00:02.000\n\nSTYLE\n::cue { color: red }\n"
        "\nintro\n00:00.250 --> 00:01.000 align:start\n<v Ann>Tom &amp; <b>me</b>\n"
        "\n100:00:00.000 --> 100:00:01.5\nlate\n",
    )

    assert read_cues(path, "a") == [Cue(0.25, 1.0, "Tom & me"), Cue(360_000.0, 360_001.5, "late")]


def test_lines_of_mosei_are_read_and_only_those_of_this_clip_if_there_are_several(tmp_path: Path) -> None:
    lines = "b___0___0___1___other\na___1___2.5___4___second ___ part\na___0___-0.1___2.5___first\n"

    assert read_cues(written(tmp_path, "t.txt", lines), "a") == [
        Cue(0.0, 2.5, "first"),
        Cue(2.5, 4.0, "second ___ part"),
    ]
    assert read_cues(written(tmp_path, "t.txt", "b___0___0___1___other\n"), "a") == [Cue(0.0, 1.0, "other")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.srt", "", r"^Expected cues in .*a\.srt, found none"),
        (
            "a.srt",
            "1\n00:00:01 -> 00:00:02\nhello\n",
            r"line 2: expected the times of a cue.*found '00:00:01 -> 00:00:02'",
        ),
        ("a.srt", "1\n00:00:01,0 --> 00:00\nhello\n", r"line 2: expected the times of a cue"),
        ("a.srt", "1\n00:00:02,000 --> 00:00:02,000\nx\n", r"line 2: expected a cue that ends after it starts"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\nx\n\n42\n\nmore\n", r"line 5: expected the times.*found '42'"),
        (
            "a.srt",
            "00:00:01,000 --> 00:00:02,000\nx\n\nlost\n00:00:02,000 --> 00:00:03,000\ny\n",
            r"line 4: expected the times.*found 'lost'",
        ),
        ("a.srt", "just words\n", r"line 1: expected the times of a cue, .*found 'just words'"),
        ("a.vtt", "00:00.000 --> 00:01.000\nx\n", r"expected WEBVTT in the first line"),
        ("a.txt", "just words\n", r"line 1: expected ID___clip___start___end___text .*found 1"),
        ("a.txt", "b___0___0___1___x\nc___0___0___1___x\n", r"expected lines of 'a', found those of b, c"),
        ("a.txt", "a___0___2___1___x\n", r"clip 0 does not end after it starts: 2 s to 1 s"),
        ("a.doc", "x", r"^Expected a transcript file \.srt, \.vtt, \.txt .*found 'a\.doc'"),
    ],
)
def test_an_invalid_transcript_is_refused(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_cues(written(tmp_path, name, text), "a")


def test_a_binary_or_missing_transcript_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(b"\xff\xfe1\x00")

    with pytest.raises(UserError, match=r"^Expected text in UTF-8, found an invalid byte 0"):
        read_cues(tmp_path / "a.srt", "a")
    with pytest.raises(UserError, match=r"^Expected a transcript file, found .*b\.srt"):
        read_cues(tmp_path / "b.srt", "a")


@given(st.text(alphabet="0123:,.->\n WEBVTTx", max_size=80), st.sampled_from(["a.srt", "a.vtt", "a.txt"]))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, name: str) -> None:
    path = written(tmp_path_factory.getbasetemp(), name, text)
    try:
        cues = read_cues(path, "a")
    except UserError:
        return
    assert all(0 <= cue.start < cue.end for cue in cues)


# Times in order; texts of which some look like numbers, names or markup.
cue_texts = st.sampled_from(["hello", "two\nlines", "7", "", "<i>x</i>", "a --> b", "NOTE this"])


@given(
    st.lists(st.tuples(cue_texts, st.booleans(), st.sampled_from(["\n", "\n\n", "\r\n\r\n"])), min_size=1, max_size=8)
)
def test_every_cue_is_kept_also_without_blank_lines(
    tmp_path_factory: pytest.TempPathFactory, cues: list[tuple[str, bool, str]]
) -> None:
    text = ""
    for i, (words, numbered, end) in enumerate(cues):
        number = f"{i + 1}\n" if numbered else ""
        text += f"{number}00:00:{i:02},000 --> 00:00:{i:02},900\n{words}{end}"
    found = read_cues(written(tmp_path_factory.getbasetemp(), "kept.srt", text), "a")

    assert [cue.start for cue in found] == list(range(len(cues)))
    for cue, (words, *_) in zip(found, cues, strict=True):
        assert "hello" in cue.text or "hello" not in words
        assert " --> 00" not in cue.text


def test_captions_of_youtube_are_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "a.vtt",
        "WEBVTT\nKind: captions\nLanguage: en\n\n00:00:00.250 --> 00:00:02.500 align:start position:0%\n \n"
        "hello<00:00:00.560><c> everyone</c>\n\n00:00:02.500 --> 00:00:02.510 align:start position:0%\n"
        "hello everyone\n \n\n",
    )

    assert read_cues(path, "a") == [Cue(0.25, 2.5, "hello everyone"), Cue(2.5, 2.51, "hello everyone")]


HEADERS = st.sampled_from([
    "WEBVTT",
    "\ufeffWEBVTT - title",
    "WEBVTT\nKind: captions\nLanguage: en",
    "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000",
])  # fmt: skip
COMMENTS = st.sampled_from(
    ["NOTE", "NOTE one\ntwo", "STYLE\n::cue {\n}", "REGION\nid:a", "NOTE\n00:01.000 --> 00:02.000"]
)
# As written, and as read.
TEXTS = st.sampled_from([
    ("hello", "hello"), ("two\nlines", "two lines"), ("<v Ann>Tom &amp; <b>me</b>", "Tom & me"), ("- 7", "- 7"),
    ("", ""), (" \nlate", "late"), ("NOTE this", "NOTE this"), ("a -> b", "a -> b"), ("é \u2028 ü", "é ü"),
])  # fmt: skip
# No times, times that are none, and times in the wrong order; the line of a block that must be named.
WRONG = st.sampled_from([
    ("words alone", 0), ("00:01.000 -> 00:02.000\nx", 0), ("1\n00:01.000 --> 00:02\nx", 1),
    ("1\n00:02.000 --> 00:01.000\nx", 1), ("00:00:02,000 --> 00:00:02,000", 0),
])  # fmt: skip


@st.composite
def subtitles(draw: st.DrawFn) -> tuple[str, str, list[str], int | None]:
    """Suffix and content of a file, the texts of its cues, and the line of its first mistake or None."""
    vtt, end = draw(st.booleans()), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    blocks, texts, wrong = [draw(HEADERS)] if vtt else [], [], None

    def line() -> int:
        return 1 + sum(block.count("\n") + 2 for block in blocks)

    for i in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from("cccnw"))
        if kind == "w":
            block, place = draw(WRONG)
            wrong = wrong or line() + place
        elif kind == "n" and vtt:
            block = draw(COMMENTS)
        else:
            words, read = draw(TEXTS)
            names = ["", f"{i + 1}\n", "intro\n", "é 1 -\n"] if vtt else ["", f"{i + 1}\n", " 12 \n"]
            hours, point = ("", ".") if vtt and draw(st.booleans()) else ("00:", draw(st.sampled_from(".,")))
            times = f"{hours}00:{i:02}{point}000 --> {hours}00:{i:02}{point}900"
            block = f"{draw(st.sampled_from(names))}{times}{draw(st.sampled_from(['', ' align:start']))}\n"
            # In SubRip, a line of spaces is a blank line.
            block += words if vtt else words.lstrip()
            texts.append(read)
        blocks.append(block)
    return "vtt" if vtt else "srt", "\n\n".join(blocks).replace("\n", end), texts, wrong


@settings(derandomize=True)
@given(subtitles())
def test_every_block_of_subtitles_is_kept_or_named_by_its_line(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[str, str, list[str], int | None]
) -> None:
    suffix, text, texts, wrong = case
    path = written(tmp_path_factory.getbasetemp(), f"blocks.{suffix}", text)

    if wrong is not None:
        with pytest.raises(UserError, match=rf"line {wrong}: expected"):
            read_cues(path, "a")
    elif not texts:
        with pytest.raises(UserError, match=r"Expected cues in .* found none"):
            read_cues(path, "a")
    else:
        assert [cue.text for cue in read_cues(path, "a")] == texts


def test_a_very_long_cue_is_divided() -> None:
    cues = [Cue(0.0, 300.0, "long"), Cue(10.0, 130.0, "short")]

    assert split_long_cues(cues, 1000.0) == [
        Cue(0.0, 100.0, "long"),
        Cue(10.0, 130.0, "short"),
        Cue(100.0, 200.0, "long"),
        Cue(200.0, 300.0, "long"),
    ]


def test_a_cue_far_beyond_the_clip_is_divided_within_the_clip() -> None:
    assert split_long_cues([Cue(0.0, 1e308, "long")], 240.0) == [Cue(0.0, 120.0, "long"), Cue(120.0, 1e308, "long")]
    assert split_long_cues([Cue(500.0, 1e308, "late")], 240.0) == [Cue(500.0, 1e308, "late")]


def test_sliding_windows_cover_the_clip_and_the_last_ends_with_it() -> None:
    def times(duration: float) -> list[tuple[float, float]]:
        return [(cue.start, cue.end) for cue in sliding_windows(duration, "text", 3.0, 0.5)]

    assert times(4.2) == [(0.0, 3.0), (0.5, 3.5), (1.0, 4.0), (1.5, math.inf)]
    assert times(4.0) == [(0.0, 3.0), (0.5, 3.5), (1.0, math.inf)]
    assert times(2.0) == [(0.0, math.inf)]


@pytest.mark.parametrize(("window", "hop"), [(0.05, 0.05), (3.0, 3.5), (3.0, 0.0), (121.0, 1.0), (float("nan"), 1.0)])
def test_windows_that_cannot_be_used_are_refused(window: float, hop: float) -> None:
    with pytest.raises(UserError, match="Expected a window of"):
        check_windows(window, hop)
