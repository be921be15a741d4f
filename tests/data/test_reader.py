"""Files that are cut off or damaged: told at the door, or at the record, and never read as something else."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.data.reader import RecordReader
from mme2e_jax.errors import UserError
from tests.helpers.corrupt import flip
from tests.helpers.synthetic import make_records

FILE = "mini-train.array_record-00001"  # utterances 8 to 15


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_records(tmp_path_factory.mktemp("whole") / "records", {"train": 18, "valid": 2, "test": 2})


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "records"))


def test_records_are_read_in_the_order_asked_for(whole: Path) -> None:
    train = open_dataset(whole).split("train")

    records, problems = RecordReader(train.files).read([17, 0, 9])

    assert list(records) == [17, 0, 9]
    assert not problems
    for index, record in records.items():
        assert f"train_{index}".encode() in record


@pytest.mark.parametrize("share", [0.0, 1e-6, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999999])
def test_a_file_that_is_cut_off_is_named_with_its_utterances_when_it_is_opened(copy: Path, share: float) -> None:
    content = (copy / FILE).read_bytes()
    (copy / FILE).write_bytes(content[: int(share * len(content))])

    what = "cut off or damaged at" if int(share * len(content)) else "the file is empty"
    with pytest.raises(UserError, match=rf"{FILE} \(8 utterances of train, train_8 to train_15\): {what}"):
        open_dataset(copy)


def test_all_files_that_are_missing_are_named_at_once(copy: Path) -> None:
    (copy / FILE).unlink()
    (copy / "mini-test.array_record-00000").unlink()

    with pytest.raises(UserError, match=rf"{FILE} .*: no such file") as error:
        open_dataset(copy)
    assert "mini-test.array_record-00000 (2 utterances of test, test_0 to test_1): no such file" in str(error.value)
    assert "Copy the files again, or prepare the data again" in str(error.value)


def test_a_file_of_another_length_is_named(copy: Path) -> None:
    shutil.copy(copy / "mini-train.array_record-00002", copy / FILE)

    with pytest.raises(UserError, match=rf"{FILE} .*: expected 8 records, found 2"):
        open_dataset(copy)


def test_a_file_of_other_utterances_is_told_from_the_right_one(copy: Path) -> None:
    shutil.copy(copy / "mini-train.array_record-00000", copy / FILE)

    with pytest.raises(UserError, match=rf"train_\d+: .*{FILE}, record \d \(train\): it holds another utterance"):
        read_all(copy)


def test_a_file_that_is_cut_off_while_it_is_read_has_records_of_no_use(copy: Path) -> None:
    train = open_dataset(copy).split("train")
    content = (copy / FILE).read_bytes()
    (copy / FILE).write_bytes(content[: len(content) // 2])

    records, problems = RecordReader(train.files).read([7, 8, 15, 16])

    assert list(records) == [7, 16]
    assert list(problems) == [8, 15]
    assert all("the file is damaged there" in problem for problem in problems.values())


@pytest.mark.parametrize("part", range(4))
def test_a_flipped_bit_is_an_error_that_names_the_file_or_changes_nothing(whole: Path, copy: Path, part: int) -> None:
    """Of 48 places over the file, its head, its index, its end and the start of its blocks among them."""
    size = (copy / FILE).stat().st_size
    known = [0, 40, 64, 100, 130, 65_536, 65_550, size - 65_536, size - 65_500, size - 65_470, size - 1]
    places = known + np.random.default_rng(0).integers(0, size, 48 - len(known)).tolist()
    good = contents(whole)
    outcomes = []
    for place in places[part::4]:
        flip(copy / FILE, place)
        outcomes.append(outcome(copy, good))
        flip(copy / FILE, place)

    assert all(outcomes)
    assert len(outcomes) == 12


def outcome(directory: Path, good: dict[str, list[bytes]]) -> bool:
    """Whether records are read as the good ones are, or refused with the file and its utterances."""
    try:
        return contents(directory) == good
    except UserError as error:
        message = str(error)
    return FILE in message and ("train_8 to train_15" in message or "utterance train_" in message)


def contents(directory: Path) -> dict[str, list[bytes]]:
    """Everything that a training epoch of the records holds."""
    return {str(i): [np.asarray(x).tobytes() for x in batch] for i, batch in enumerate(read_all(directory))}


def read_all(directory: Path) -> list:
    dataset = open_dataset(directory)
    return list(
        BatchLoader(dataset, batch_size=6, text_max_len=20, seed=0, epochs=1, max_shapes=1, groups=1).training(0)
    )
