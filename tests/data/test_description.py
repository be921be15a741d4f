"""What a dataset directory says of itself: damage has a name, nothing is imported, nothing leads elsewhere."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_tools.records.inspection import inspect_records
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.data.description import read_description
from mme2e_jax.errors import UserError
from tests.helpers.synthetic import make_records

FILES = ("metadata.json", "dataset_info.json", "features.json")
REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_records(tmp_path_factory.mktemp("whole") / "records", {"train": 3, "valid": 2})


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "records"))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_files_and_features_of_records_are_known(whole: Path) -> None:
    found = read_description(whole)

    assert found.files["train"].records == (3,)
    assert found.files["train"].paths == (whole / "mini-train.array_record-00000",)
    assert found.features["mel"] == ("float32", (-1, 128, 32))
    assert found.features["utterance_id"] is None
    assert found.metadata.splits["valid"].utterance_ids == ["valid_0", "valid_1"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000, b"null", b"{}"])
def test_a_damaged_file_is_named(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)

    # Metadata without anything are those of no known version.
    with pytest.raises(UserError, match=name if content != b"{}" or name != FILES[0] else "format version None"):
        open_dataset(copy)


@pytest.mark.parametrize("name", ["metadata.json", "features.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(UserError, match=f"holds no {name}"):
        open_dataset(copy)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (FILES[0], lambda m: m.pop("label_names"), "label_names is missing"),
        (FILES[0], lambda m: m.update(label_names="anger"), "label_names: expected a valid array, found 'anger'"),
        (FILES[0], lambda m: m.update(splits=3), "metadata.json is damaged"),
        (FILES[0], lambda m: m["tokenizer"].pop("sep_id"), "tokenizer.sep_id is missing"),
        (
            FILES[0],
            lambda m: m["splits"]["train"].update(frames=[1, 2]),
            "split train: expected 3 lengths of each kind",
        ),
        (
            FILES[0],
            lambda m: m["splits"]["train"].update(frames=[1, 2, -1]),
            "train.frames.2: expected greater than or equal to 0, found -1",
        ),
        (FILES[0], lambda m: m["splits"]["train"].update(positives=[1]), "the positives of 6 labels"),
        (
            FILES[0],
            lambda m: m["splits"]["train"].update(tokens=["1", 2, 3]),
            "tokens.0: expected a valid integer, found '1'",
        ),
        (FILES[0], lambda m: m["splits"]["train"].update(tokens=[10**30] * 3), "metadata.json is damaged"),
        (FILES[0], lambda m: m.update(frame_interval_ms="often"), "frame_interval_ms: expected a valid integer"),
        (FILES[1], lambda m: m.update(name="../other"), "expected letters, digits and _ in a name"),
        (FILES[1], lambda m: m["splits"][0].update(name="/etc/x"), "expected letters, digits and _ in a name"),
        (FILES[1], lambda m: m["splits"][0].update(filepathTemplate="../x"), "filepathTemplate: expected"),
        (FILES[1], lambda m: m.update(fileFormat="tfrecord"), "fileFormat: expected 'array_record'"),
        (FILES[1], lambda m: m["splits"][0].update(shardLengths=["-3"]), "expected records in every file"),
        (
            FILES[2],
            lambda m: m["featuresDict"]["features"]["mel"]["tensor"].update(dtype="float64"),
            r"mel \(expected .*float32.*found .*float64",
        ),
        (FILES[2], lambda m: m["featuresDict"]["features"].pop("label"), r"label \(expected .*, found nothing\)"),
        (FILES[2], lambda m: m.update(featuresDict=[]), "features.json is damaged"),
    ],
)
def test_what_was_edited_is_named(copy: Path, name: str, change: Callable[[Any], object], message: str) -> None:
    edit(copy / name, change)

    with pytest.raises(UserError, match=message) as error:
        open_dataset(copy)
    assert str(copy) in str(error.value)
    assert "repare the data again" in str(error.value)


def name_code(directory: Path, key: str = "pythonClassName") -> Path:
    """Makes records name code that they bring along; what it makes when it runs."""
    # A directory below the one that a program is started in is a package to Python, without any further file.
    proof = directory.parent / "proof"
    (directory / "harmful.py").write_text(f"open({str(proof)!r}, 'w').close()")
    edit(directory / "features.json", lambda m: m["featuresDict"]["features"]["mel"].update({key: "records.harmful.A"}))
    return proof


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_code_that_records_name_is_not_run(copy: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    proof = name_code(copy, key)
    monkeypatch.syspath_prepend(copy.parent)

    with pytest.raises(UserError, match=r"features\.json names code .*: records\.harmful\.A\. None of it was run"):
        open_dataset(copy)
    with pytest.raises(UserError, match=r"names code .*records\.harmful\.A"):
        inspect_records(copy)
    assert not proof.exists()


def test_programs_started_beside_harmful_records_do_not_run_them(copy: Path) -> None:
    proof = name_code(copy)
    script = f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}]; import launch; launch.run()"
    arguments = [f"--config={REPOSITORY}/configs/mini_sparse.py", "--config.data.dir=records"]

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=copy.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )

    assert done.returncode == 1
    assert "names code that no records" in done.stderr
    assert "Traceback" not in done.stderr
    assert not proof.exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, derandomize=True)
@given(st.data())
def test_any_value_in_any_place_is_read_or_refused_by_its_key(whole: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FILES))
    path = whole / name
    before = path.read_bytes()
    content = json.loads(before)
    holder: Any = content
    keys: list[str] = []
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        keys.append(str(key))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(JSON)
    try:
        path.write_text(json.dumps(content))
        open_dataset(whole)
    except UserError as error:
        message = str(error).replace(" ", "_")
        assert str(whole) in message
        assert "names_code" in message or any(key.removesuffix("s") in message for key in keys)
    finally:
        path.write_bytes(before)
