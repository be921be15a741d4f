"""Every row of a text that others wrote is kept, or named with its line; nothing else is raised."""

import csv
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_tools.releases import clips, iemocap, mosei, processed
from data_tools.releases.release import ReleaseError
from data_tools.releases.splits import SPLITS, read_split_files
from mme2e_jax.media import transcripts
from mme2e_jax.media.findings import EXCLUDED, REASONS
from tests.releases.test_iemocap import DIALOGUE
from tests.releases.test_mosei import COLUMNS, HEADER, write_release

# Each writes one file of its own over and over.
bounded = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
CELLS = (
    "a.wav",
    "b/c.mp4",
    "../x.wav",
    "words",
    "0",
    "1",
    "2.5",
    "-1",
    "1e308",
    "nan",
    "train",
    "dev",
    "x,y",
    'q"q',
    "l\nl",
)
cells = st.sampled_from(CELLS) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)


def table(columns: Sequence[str], rows: list[list[str]]) -> tuple[str, list[int]]:
    """The text of a table, and the line that each row starts in."""
    text, lines = io.StringIO(newline=""), []
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(columns)
    for row in rows:
        # Files end lines at LF, CR and CRLF alone.
        lines.append(len(list(io.StringIO(text.getvalue(), newline=""))) + 1)
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(row)
    return text.getvalue(), lines


@bounded
@given(st.lists(st.lists(cells, min_size=1, max_size=8), max_size=6))
def test_rows_of_clips(tmp_path: Path, rows: list[list[str]]) -> None:
    text, lines = table(["path", "transcript", "start", "end", "split", "happy"], rows)
    (tmp_path / "clips.csv").write_text(text, encoding="utf-8", newline="")

    release = clips.read_release(tmp_path)

    named = [finding.id for finding in release.findings if finding.id.startswith("clips.csv:")]
    assert len(release.utterances) + len(named) == len(rows)
    assert set(named) <= {f"clips.csv:{line}" for line in lines}


@bounded
@given(st.lists(st.lists(cells, min_size=7, max_size=10), max_size=6))
def test_rows_of_label_sheets(tmp_path: Path, rows: list[list[str]]) -> None:
    root = tmp_path / "raw"
    if not root.exists():
        write_release(root, {"v": ""}, {})
    rows.append(["H", "v", "3", "1", "0", "0", "0", "0", "0"])
    text, lines = table(COLUMNS, rows)
    (root / "Labels" / "a.csv").write_text(text, encoding="utf-8", newline="")

    findings = mosei.read_release(root).findings

    named = [finding.id for finding in findings if finding.id.startswith("a.csv:")]
    assert set(named) <= {f"a.csv:{line}" for line in lines}
    # A row that was read has no transcript here.
    read = {finding.id for finding in findings if finding.reason == "label_without_transcript"}
    assert "v_3" in read
    assert len(rows) - len(named) >= len(read)


@bounded
@given(st.integers(0, 4), st.sampled_from(['"open', '"a"b']))
def test_an_open_quote_in_a_label_sheet_is_named_by_its_line(tmp_path: Path, before: int, cell: str) -> None:
    root = tmp_path / "raw"
    if not root.exists():
        write_release(root, {"v": ""}, {})
    row = "H,v,{},1,0,0,0,0,0\n"
    rows = "".join(row.format(i) for i in range(before))
    (root / "Labels" / "a.csv").write_text(HEADER + rows + f"{cell},v,9,1,0,0,0,0,0\n" + row.format(10))

    with pytest.raises(ReleaseError, match=rf"a\.csv, line {before + 2}: expected comma-separated values"):
        mosei.read_release(root)


lines_of = st.lists(
    st.sampled_from([
        f"[1.0 - 2.0]\t{DIALOGUE}_F000\tneu\t[2, 2, 2]",
        f"[1.0 - 2.0]\t{DIALOGUE}_F001\tbored\t[2]",
        "[1 - x]\ta\tneu",
        f"{DIALOGUE}_F000 [1.0-2.0]: words",
        "Someone: words",
        "v___0___0.0___1.5___words ___ more",
        "v___x___0___1___words",
        "",
    ])
    | st.text(max_size=12),
    max_size=8,
)  # fmt: skip


@bounded
@given(lines_of)
def test_lines_of_transcripts_and_evaluations(lines: list[str]) -> None:
    text = "\n".join(lines)
    written = [i for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    for parse in (iemocap.parse_transcript, iemocap.parse_evaluation, transcripts.parse_transcript):
        stem = "v" if parse is transcripts.parse_transcript else DIALOGUE
        read, findings = parse(text, stem)
        skipped = 0
        if parse is iemocap.parse_evaluation:
            skipped = sum(line.strip().startswith(("%", "C-", "A-")) for line in text.split("\n"))
        assert len(read) + len(findings) == len(written) - skipped
        numbers = {int(f.id.rpartition(":")[2]) for f in findings if f.id.startswith(f"{stem}:")}
        assert numbers <= set(written)


@bounded
@given(
    st.lists(
        st.lists(st.sampled_from(["v", "w_1", "x y", "é", ""]) | st.text(max_size=4), max_size=5),
        min_size=3,
        max_size=3,
    )
)
def test_names_in_split_files(tmp_path: Path, names: list[list[str]]) -> None:
    for split, listed in zip(SPLITS, names, strict=True):
        (tmp_path / f"{split}_split.txt").write_bytes("\n".join(listed).encode(errors="replace"))

    expected = [{n for name in listed for n in name.encode(errors="replace").decode().split("\n")} for listed in names]
    stripped = [{name.strip() for name in listed if name.strip()} for listed in expected]
    both = [name for i, listed in enumerate(stripped) for name in listed & set().union(*stripped[i + 1 :])]
    if both:
        with pytest.raises(ReleaseError) as error:
            read_split_files(tmp_path)
        assert any(str(error.value).startswith(f"{name} is named in two split files") for name in both)
    else:
        assert set(read_split_files(tmp_path)) == set().union(*stripped)


@bounded
@given(
    st.dictionaries(
        st.sampled_from(["v_0", "w_1", "..", "a/b"]) | st.text(max_size=4),
        st.fixed_dictionaries(
            {"text": st.text(max_size=4), "label": st.sampled_from([[1, 0, 0, 0, 0, 0], [2], "neu", None])}
        )
        | st.none(),
        min_size=1,
    )
)
def test_entries_of_meta(tmp_path: Path, meta: dict[str, Any]) -> None:
    (tmp_path / processed.META).write_bytes(pickle.dumps(meta))

    release = processed.read_release(tmp_path, "mosei", fps=2.0, with_media=False)

    lost = [f.id for f in release.findings if f.reason == "bad_meta"]
    assert sorted([*(u.id for u in release.utterances), *lost]) == sorted(meta)
    assert all(REASONS[finding.reason][0] != EXCLUDED for finding in release.findings)
