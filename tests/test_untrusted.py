"""Tests that foreign files are read or refused, and run nothing."""

import contextlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import flags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_tools.prepare import Settings, prepare
from data_tools.releases import clips, iemocap, mosei, processed
from data_tools.releases.release import Release, ReleaseError
from data_tools.releases.splits import read_split_files
from mme2e_jax.config.cli import define_config_flag, loaded_config, parse_flags
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError
from mme2e_jax.media.tokens import TokenizerError, load_tokenizer, train_mini
from mme2e_jax.media.utterance import is_identifier
from mme2e_jax.pickles import torch_file
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.media import tone, write_wav
from tests.releases.test_iemocap import DIALOGUE
from tests.releases.test_iemocap import write_release as write_iemocap
from tests.releases.test_mosei import HEADER
from tests.releases.test_mosei import write_release as write_mosei
from tests.releases.test_processed import LABEL, Runs, write_meta

REPOSITORY = Path(__file__).parent.parent
WAYS_OUT = ("../out", "/etc/passwd", "..", "a/../../b", "a\\..\\b", "~root", "C:x", ".hidden", "a\x00b", "x" * 300, "")

# Each writes one file of its own over and over.
fuzz = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
TABLES = ('"', "\x00", "\ufeff", "path", "train", "1", "../x", "a.mp4", "x" * 300, "\r\n")
LINES = (",", "\n", "___", "\t", "[0.5 - 1]", f"{DIALOGUE}_F000", "neu", ": ")
texts = st.lists(st.sampled_from(TABLES + LINES) | st.text(max_size=4), max_size=30)
contents = st.binary(max_size=60) | texts.map(lambda parts: "".join(parts).encode())


def assert_harmless(release: Release, root: Path) -> None:
    """Nothing in a release can name a place outside its own directory."""
    for utterance in release.utterances:
        assert is_identifier(utterance.id)
        assert is_identifier(utterance.video)
    for media in release.media.values():
        for path in (media.video, media.wav):
            assert not isinstance(path, Path) or path.resolve().is_relative_to(root.resolve())


@fuzz
@given(
    contents, st.sampled_from([b"", b"path,transcript,happy\n", b"path,transcript,start,end,split,id,speaker,happy\n"])
)
def test_any_table_of_clips_is_read_or_refused(tmp_path: Path, content: bytes, header: bytes) -> None:
    (tmp_path / "clips.csv").write_bytes(header + content)

    with contextlib.suppress(ReleaseError):
        assert_harmless(clips.read_release(tmp_path), tmp_path)


@fuzz
@given(contents, contents, st.booleans())
def test_any_texts_of_mosei_are_read_or_refused(tmp_path: Path, transcript: bytes, labels: bytes, header: bool) -> None:
    root = tmp_path / "raw"
    if not root.exists():
        write_mosei(root, {"v": ""}, {"a.csv": ""})
    next(root.rglob("v.txt")).write_bytes(b"v___0___0___1___" + transcript)
    (root / "Labels" / "a.csv").write_bytes(HEADER.encode() * header + labels)

    with contextlib.suppress(ReleaseError):
        assert_harmless(mosei.read_release(root), root)


@fuzz
@given(contents, contents)
def test_any_texts_of_iemocap_are_read_or_refused(tmp_path: Path, evaluation: bytes, transcript: bytes) -> None:
    root = tmp_path / "release"
    if not root.exists():
        write_iemocap(root)
    for folder, content in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
        (root / "Session3" / "dialog" / folder / f"{DIALOGUE}.txt").write_bytes(content)

    with contextlib.suppress(ReleaseError):
        assert_harmless(iemocap.read_release(root), root)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=6) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {}, optional={"text": plain, "label": st.sampled_from([LABEL, "neu", "xxx"]) | plain, "fps": plain}
)


@fuzz
@given(
    st.dictionaries(st.sampled_from(["v_0", "Ses01F_impro01_F000", *WAYS_OUT]) | st.text(max_size=6), entries | plain),
    st.sampled_from(["mosei", "iemocap"]),
    st.integers(0, 5),
)
def test_any_plain_meta_is_read_or_refused(tmp_path: Path, meta: dict[str, Any], dataset: str, protocol: int) -> None:
    write_meta(tmp_path / f"{dataset.upper()}_RAW_PROCESSED", meta, protocol)

    with contextlib.suppress(ReleaseError):
        assert_harmless(processed.read_release(tmp_path, dataset, fps=2.0), tmp_path)


@settings(fuzz, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 5))
def test_any_changed_meta_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, int]], protocol: int) -> None:
    content = bytearray(pickle.dumps({"v_0": {"text": "hello", "label": LABEL, "fps": np.float64(2)}}, protocol))
    for place, value in changes:
        content[place % len(content)] = value
    (tmp_path / "meta.pkl").write_bytes(content)

    with contextlib.suppress(ReleaseError):
        processed.read_meta(tmp_path / "meta.pkl")


@pytest.mark.parametrize("where", ["text", "label"])
def test_a_meta_whose_values_are_shared_many_times_over_takes_no_time(tmp_path: Path, where: str) -> None:
    shared: list[Any] = []
    for _ in range(60):
        shared = [shared, shared]
    write_meta(tmp_path / "MOSEI_RAW_PROCESSED", {"v_0": {"text": "a", "label": LABEL, where: shared}})

    # A reader that walks the 2**60 paths does not come back.
    release = processed.read_release(tmp_path, "mosei", fps=2.0)

    assert [finding.reason for finding in release.findings] == ["bad_meta"]


@fuzz
@given(st.tuples(contents, contents, contents))
def test_any_split_files_are_read_or_refused(tmp_path: Path, files: tuple[bytes, bytes, bytes]) -> None:
    for split, content in zip(("train", "valid", "test"), files, strict=True):
        (tmp_path / f"{split}_split.txt").write_bytes(content)

    with contextlib.suppress(ReleaseError):
        assert set(read_split_files(tmp_path).values()) <= {"train", "valid", "test"}


values = st.sampled_from(["", "1", "-1", "1.5", "nan", "inf", "True", "()", "[1]", "__import__('os')", "1e999", "ta"])
keys = st.sampled_from(
    ["seed", "data.skip_bad", "data.dir", "model", "model.modalities", "optim.lr", "optim", "nope", "a.b"]
)
words = st.tuples(keys | st.text(max_size=3), values | st.text(max_size=5)).map(
    lambda pair: f"--config.{pair[0]}={pair[1]}"
)


@fuzz
@given(st.lists(words | st.sampled_from(["--config.seed", "--", "-", "--config.=", "--config."]), max_size=3))
def test_any_override_is_taken_or_refused(overrides: list[str]) -> None:
    argv = ["launch.py", f"--config={REPOSITORY / 'configs' / 'lf_rnn.py'}", *overrides]
    own = flags.FlagValues()
    define_config_flag(own, argv)

    with contextlib.suppress(UserError):
        parse_flags(argv, own)
        parse_config(loaded_config(own))


@pytest.mark.parametrize("name", WAYS_OUT)
def test_names_that_lead_elsewhere_are_no_identifiers(name: str) -> None:
    assert not is_identifier(name)


def test_nothing_is_written_outside_the_output(tmp_path: Path) -> None:
    raw = tmp_path / "here" / "raw"
    write_wav(raw / "a.wav", tone(1.0))
    write_wav(tmp_path / "here" / "up.wav", tone(1.0))
    rows = [f"a.wav,words,train,{name},1" for name in WAYS_OUT if name and "\x00" not in name]
    paths = [f"{path},words,train,,1" for path in ("../up.wav", tmp_path / "here" / "up.wav", "a/" + "x" * 300)]
    table = "\n".join(["path,transcript,split,id,happy", "a.wav,words,train,good,1", *rows, *paths])
    (raw / "clips.csv").write_text(table + "\n")
    before = {path for path in tmp_path.rglob("*")}

    console = PlainConsole(file=io.StringIO(), width=120)
    report = prepare(
        raw, tmp_path / "here" / "out", Settings(dataset="clips", kind="features"), processes=1, console=console
    )

    assert report.kept == ["good"]
    new = {path for path in tmp_path.rglob("*")} - before
    assert new
    assert all(path.is_relative_to(tmp_path / "here" / "out") for path in new)
    refused = json.loads((tmp_path / "here" / "out" / "report.json").read_text())["reasons"]["bad_id"]
    assert refused["count"] == len(rows) + len(paths)


def test_a_tokenizer_that_brings_code_is_refused_and_not_run(tmp_path: Path) -> None:
    folder, proof = tmp_path / "tokenizer", tmp_path / "proof"
    train_mini(["some words"]).save(folder)
    code = f"open({str(proof)!r}, 'w').close()\nclass Harmful: pass\n"
    (folder / "harmful.py").write_text(code)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"auto_map": {"AutoTokenizer": ["harmful.Harmful", "harmful.Harmful"]}, "tokenizer_class": "Harmful"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))

    with contextlib.suppress(TokenizerError):
        load_tokenizer(str(folder))
    assert not proof.exists()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"model": 3}'])
def test_a_damaged_tokenizer_is_refused_or_does_without(tmp_path: Path, name: str, content: bytes) -> None:
    folder = tmp_path / "tokenizer"
    train_mini(["some words"]).save(folder)
    (folder / name).write_bytes(content)

    with contextlib.suppress(TokenizerError):
        load_tokenizer(str(folder))


def test_weights_that_hold_code_are_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    np.savez(tmp_path / "harmful.npz", weight=np.array([Runs(str(proof))], dtype=object))
    (tmp_path / "harmful.pt").write_bytes(pickle.dumps({"weight": Runs(str(proof))}, 2))

    for name in ("harmful.npz", "harmful.pt"):
        with pytest.raises(UserError, match=name):
            torch_file.read(tmp_path / name)
    assert not proof.exists()
