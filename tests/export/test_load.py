"""Exported files: equal models give equal bytes, and invalid files are refused by name."""

import contextlib
import hashlib
import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jax import export
from safetensors.numpy import load, save

from configs import lf_rnn, mini_dense
from mme2e_jax.commands.export import export_run
from mme2e_jax.errors import UserError
from mme2e_jax.export.archive import FORMAT_VERSION, MANIFEST, PROGRAM, TOKENIZER, WEIGHTS
from mme2e_jax.export.load import ExportedModel
from mme2e_jax.predict.exported_model import clip_model
from tests.helpers.exports import LABELS, THRESHOLDS, make_run
from tests.helpers.runs import run

fuzz = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the smallest model: it reads text only."""
    return make_run(tmp_path_factory.mktemp("text"), mini_dense, modalities="t")


@pytest.fixture(scope="module")
def exported(workdir: Path) -> Path:
    """The exported file of the run."""
    return export_run(workdir)


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewritten(exported: Path, path: Path, change: Callable[[dict[str, Any], Members], object]) -> Path:
    """A copy with a changed manifest or members, but correct sizes and digests, as an attacker would make it."""
    members = members_of(exported)
    manifest = json.loads(members.pop(MANIFEST))
    change(manifest, members)
    if manifest.get("members"):
        manifest["members"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in members.items()
        }
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps(manifest))
        for name, content in members.items():
            file.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    """The error message, which must name the file."""
    with pytest.raises(UserError) as error:
        ExportedModel(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_exporting_twice_gives_the_same_bytes(workdir: Path, exported: Path, tmp_path: Path) -> None:
    again = export_run(workdir, tmp_path / "deep" / "again.mme2e")

    assert again.read_bytes() == exported.read_bytes()
    assert [path.name for path in again.parent.iterdir()] == ["again.mme2e"]
    # The program does not contain the path of its source.
    assert str(Path(__file__).parent.parent.parent).encode() not in members_of(exported)[PROGRAM]


def test_a_file_describes_its_model(workdir: Path, exported: Path) -> None:
    model = ExportedModel(exported)

    manifest = model.manifest
    assert (manifest.model, manifest.modalities, manifest.task) == ("mme2e", "t", "multi_label")
    assert (tuple(manifest.label_names), dict(manifest.thresholds)) == (LABELS, THRESHOLDS)
    assert manifest.preprocessing.get("frame_interval_ms") == 500
    assert manifest.provenance["step"] == 0
    assert manifest.provenance["config"]["model"]["modalities"] == "t"
    # The directories of the machine are private.
    assert manifest.provenance["config"]["data"]["dir"] == "nowhere"
    kept = (workdir / "tokenizer" / "tokenizer.json").read_bytes()
    assert members_of(exported)[TOKENIZER + "tokenizer.json"] == kept
    assert manifest.tokenizer is not None
    assert model.load_encoder().encode("one two").tolist()[0] == manifest.tokenizer["cls_id"]


def test_the_command_exports_to_the_run_and_replaces_exports_only(workdir: Path, exported: Path) -> None:
    expected = exported.read_bytes()
    exported.write_bytes(expected[:-1] + b"?")
    run("--mode=export", f"--workdir={workdir}")

    assert (workdir / "model.mme2e").read_bytes() == expected
    other = workdir / "film.mp4"
    other.write_bytes(b"a film")
    for arguments, message in [
        ((f"--workdir={workdir}", f"--out={other}"), "found a file that is no exported model at .*film.mp4"),
        ((f"--workdir={workdir}", f"--out={workdir}"), "found a directory"),
        ((), "Expected --workdir=RUN"),
        (("--workdir=absent",), "absent does not exist"),
        ((f"--workdir={workdir}", "--config=configs/mini_dense.py"), r"--config is not a flag .* leave out --config"),
        ((f"--workdir={workdir}", f"--tokenizer={other.parent}/absent"), "expected a directory with tokenizer.json"),
    ]:
        with pytest.raises(UserError, match=message):
            run("--mode=export", *arguments)
    assert other.read_bytes() == b"a film"


def test_a_baseline_is_exported_and_not_run_on_clips(tmp_path: Path) -> None:
    exported = export_run(make_run(tmp_path / "run", lf_rnn))

    with pytest.raises(UserError, match=r"holds lf_rnn, which reads hand-crafted features"):
        clip_model(exported)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "not a zip file"),
        (b"no model", "not a zip file"),
        (pickle.dumps({"a": 1}), "not a zip file"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "model.mme2e"
    path.write_bytes(content)

    assert found in refusal(path)


def test_missing_files_and_directories_are_refused(tmp_path: Path) -> None:
    assert "found nothing" in refusal(tmp_path / "absent")
    assert "found a directory" in refusal(tmp_path)


def test_other_versions_and_formats_are_refused(exported: Path, tmp_path: Path) -> None:
    newer = rewritten(exported, tmp_path / "newer", lambda m, _: m.update(format_version=FORMAT_VERSION + 1))
    other = rewritten(exported, tmp_path / "other", lambda m, _: m.update(format="something else"))

    assert f"has format version {FORMAT_VERSION + 1}, expected {FORMAT_VERSION}" in refusal(newer)
    assert "is not that of a mme2e_jax exported model" in refusal(other)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"label_names": ["calm", "calm"]}, "label_names: expected different values"),
        ({"label_names": ["calm"]}, "thresholds: expected none, or those of the labels"),
        ({"thresholds": {"anger": float("nan")}}, "thresholds.anger: expected a finite number"),
        ({"thresholds": dict.fromkeys(LABELS, -5.0)}, "thresholds: expected probabilities from 0 to 1, found -5.0"),
        ({"thresholds": dict.fromkeys(LABELS, 10**400)}, "thresholds."),
        ({"model": ["mme2e"]}, "model: expected a valid string"),
        ({"model": "mme3e"}, "model: expected one of mme2e, mme2e_sparse"),
        ({"modalities": "tt"}, "modalities: expected different values"),
        ({"modalities": "tx"}, "modalities: "),
        ({"modalities": "tv"}, "inputs: expected those of clips"),
        ({"loss": {}}, "loss: expected a valid string"),
        ({"loss": "hinge"}, "loss: expected one of bce"),
        ({"task": "regression"}, "task: expected multi_label for the loss bce, found regression"),
        ({"text_max_len": 10**9}, "text_max_len: expected less than or equal to 512"),
        ({"text_max_len": True}, "text_max_len: expected a valid integer"),
        ({"sparse_threshold": 2}, "sparse_threshold: expected less than or equal to 1"),
        ({"preprocessing": {"frame_interval_ms": 0}}, "preprocessing.frame_interval_ms: expected greater than 0"),
        ({"preprocessing": {"face_choice": "../x"}}, "preprocessing.face_choice: expected one of"),
        ({"tokenizer": None}, "tokenizer: expected vocab_size"),
        ({"inputs": {"token_ids": {"shape": ["q"], "dtype": "int32"}}}, "inputs: expected sizes among b, t, found q"),
        ({"inputs": {"token_ids": {"shape": ["t"], "dtype": "int32"}}}, "inputs: expected those of clips"),
        ({"dimensions": {"b": {}}}, "dimensions.b.at_least is missing"),
        ({"provenance": {}}, "provenance.step is missing"),
        ({"members": {}}, "expected members of"),
        ({"members": {"../out": {}}}, "members.../out.size is missing"),
        ({"members": {"../out": {"size": 0, "sha256": ""}}}, "expected members of"),
    ],
)
def test_invalid_manifests_are_refused(exported: Path, tmp_path: Path, changes: dict[str, Any], found: str) -> None:
    def change(manifest: dict[str, Any], members: Members) -> None:
        manifest.update(changes)
        if "members" in changes:
            members.clear()
            # `rewritten` must not replace it.
            manifest["members"] = _Falsy(changes["members"])

    assert found in refusal(rewritten(exported, tmp_path / "model.mme2e", change))


class _Falsy(dict):
    """A dictionary that counts as empty."""

    def __bool__(self) -> bool:
        return False


def a_program(compute: Callable[[Any], Any]) -> bytes:
    """A program that takes one matrix, unlike a model."""
    return bytes(export.export(jax.jit(compute))(jax.ShapeDtypeStruct((2, 2), np.float32)).serialize())


def with_nan(weights: bytes) -> bytes:
    """The weights with one value that is not a number."""
    arrays = load(weights)
    name = next(name for name, x in arrays.items() if x.dtype.kind == "f" and x.size)
    arrays[name] = arrays[name].copy()
    arrays[name].flat[0] = np.nan
    return save(arrays)


def larger(weights: bytes) -> bytes:
    return save({name: np.concatenate([x, x]) for name, x in load(weights).items()})


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda members: members.pop(PROGRAM), "expected members of"),
        (lambda members: members.update({"tokenizer/evil.py": b""}), "expected members of"),
        (lambda members: members.update({"../../evil": b""}), "expected members of"),
        (lambda members: members.update({PROGRAM: b""}), "program.bin: "),
        (lambda members: members.update({PROGRAM: pickle.dumps([])}), "program.bin: "),
        (lambda members: members.update({PROGRAM: a_program(lambda x: x)}), "program.bin: it takes"),
        (lambda members: members.update({WEIGHTS: b"{}"}), "weights.safetensors: "),
        (lambda members: members.update({WEIGHTS: save({"a": np.zeros(1)})}), "program.bin: it takes"),
        (lambda members: members.update({WEIGHTS: larger(members[WEIGHTS])}), "expected an array"),
        (lambda members: members.update({WEIGHTS: with_nan(members[WEIGHTS])}), "NaN or infinite values in "),
    ],
)
def test_unexpected_members_are_refused(
    exported: Path, tmp_path: Path, change: Callable[[Members], object], found: str
) -> None:
    assert found in refusal(rewritten(exported, tmp_path / "model.mme2e", lambda _, members: change(members)))


def test_a_program_that_calls_functions_of_libraries_is_refused(exported: Path, tmp_path: Path) -> None:
    # It calls LAPACK.
    program = a_program(jnp.linalg.cholesky)

    changed = rewritten(exported, tmp_path / "model.mme2e", lambda _, members: members.update({PROGRAM: program}))

    assert re.search("calls functions of libraries: .*lapack", refusal(changed))


def test_a_damaged_tokenizer_is_refused(exported: Path, tmp_path: Path) -> None:
    for content in (b"", b"{", b"[]", b"\xff"):
        damage = {TOKENIZER + "tokenizer.json": content}
        changed = rewritten(exported, tmp_path / "model.mme2e", lambda _, members, d=damage: members.update(d))
        with pytest.raises(UserError, match=r"model\.mme2e is damaged"):
            ExportedModel(changed).load_encoder()


def test_compressed_members_are_refused(exported: Path, tmp_path: Path) -> None:
    # A few compressed bytes can expand to gigabytes.
    path = tmp_path / "model.mme2e"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members_of(exported).items():
            file.writestr(name, content)

    assert "uncompressed" in refusal(path)


@fuzz
@given(st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(exported: Path, tmp_path: Path, share: float) -> None:
    content = exported.read_bytes()
    path = tmp_path / "model.mme2e"
    path.write_bytes(content[: int(share * len(content))])

    refusal(path)


@fuzz
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_are_refused_or_change_nothing(
    exported: Path, tmp_path: Path, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(exported.read_bytes())
    for place, mask in flips:
        content[int(place * len(content))] ^= mask
    path = tmp_path / "model.mme2e"
    path.write_bytes(content)

    # Some bytes of a zip have no effect.
    with contextlib.suppress(UserError):
        assert ExportedModel(path).files == ExportedModel(exported).files


@fuzz
@given(st.binary(max_size=200), st.booleans())
def test_any_manifest_is_read_or_refused(exported: Path, tmp_path: Path, noise: bytes, valid: bool) -> None:
    members = members_of(exported)
    content = bytearray(members[MANIFEST])
    place = int.from_bytes(noise[:2], "big") % len(content)
    content[place : place + len(noise)] = noise
    path = tmp_path / "model.mme2e"
    with zipfile.ZipFile(path, "w") as file:
        for name, stored in (members | {MANIFEST: bytes(content) if valid else noise}).items():
            file.writestr(name, stored)

    with contextlib.suppress(UserError):
        ExportedModel(path)


def test_a_deeply_nested_manifest_is_refused(exported: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(MANIFEST, "[" * 200_000)
    path = tmp_path / "model.mme2e"
    path.write_bytes(buffer.getvalue())

    refusal(path)
