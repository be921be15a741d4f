"""The input: packed batches hold what the records hold, every utterance once, and can start at any step."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mme2e_jax.batch import Batch
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import Dataset, open_dataset
from mme2e_jax.errors import UserError
from tests.helpers.synthetic import SEP, SIZES, make_example, make_records

TEXT_MAX_LEN = 20


@pytest.fixture(scope="module")
def dataset(records: Path) -> Dataset:
    return open_dataset(records)


def make_loader(dataset: Dataset, groups: int = 1, **changes) -> BatchLoader:
    settings: dict[str, Any] = {"batch_size": 4, "text_max_len": TEXT_MAX_LEN, "seed": 0, "epochs": 2, "max_shapes": 2}
    return BatchLoader(dataset, groups=groups, **(settings | changes))


def packed_by_hand(batch: Batch, split: str) -> Batch:
    """What the records say a batch must hold, given which utterance is in which row."""
    expected = Batch(*(np.zeros_like(x) for x in batch))._replace(example=batch.example)
    for g, row in enumerate(batch.example):
        frames = chunks = 0
        for b, index in enumerate(row):
            if index < 0:
                continue
            example = make_example(split, int(index))
            ids, f, c = example["token_ids"], len(example["faces"]), len(example["mel"])
            if len(ids) > TEXT_MAX_LEN:
                ids = np.append(ids[: TEXT_MAX_LEN - 1], SEP)
            expected.token_ids[g, b, : len(ids)] = ids
            expected.token_count[g, b] = len(ids)
            expected.faces[g, frames : frames + f] = example["faces"]
            expected.frame_count[g, b] = f
            expected.mel[g, chunks : chunks + c] = example["mel"]
            expected.chunk_count[g, b] = c
            expected.labels[g, b] = example["label"]
            frames, chunks = frames + f, chunks + c
    return expected


def assert_equal_batches(found: Batch, expected: Batch) -> None:
    for name, a, b in zip(Batch._fields, found, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name, strict=True)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_batches_hold_the_records_content_end_to_end_in_each_group(dataset: Dataset, groups: int) -> None:
    batches = make_loader(dataset, groups)
    for found, split in [(batches.training(0), "train"), (batches.evaluation("valid"), "valid")]:
        for batch in found:
            assert batch.example.shape == (groups, 4 // groups)
            assert batch.faces.dtype == np.uint8
            assert batch.mel.dtype == np.float32
            assert_equal_batches(batch, packed_by_hand(batch, split))


def test_only_batches_with_wanted_utterances_are_read(dataset: Dataset) -> None:
    whole = list(make_loader(dataset).evaluation("train"))
    assert len(whole) > 2
    wanted = int(whole[1].example.max())

    (found,) = make_loader(dataset).evaluation("train", [wanted])

    assert_equal_batches(found, whole[1])


def test_a_text_that_is_cut_ends_with_sep(dataset: Dataset) -> None:
    # Utterance 3 has 40 tokens.
    for batch in make_loader(dataset).evaluation("valid"):
        if 3 in batch.example:
            (ids,) = batch.token_ids[batch.example == 3]

            assert batch.token_count[batch.example == 3] == [TEXT_MAX_LEN]
            assert ids[TEXT_MAX_LEN - 1] == SEP
            assert ids[: TEXT_MAX_LEN - 1].tolist() == make_example("valid", 3)["token_ids"][:19].tolist()
            return
    pytest.fail("utterance 3 is in no batch")


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_an_evaluation_sees_every_utterance_once(dataset: Dataset, groups: int, split: str) -> None:
    seen = np.concatenate([b.example.reshape(-1) for b in make_loader(dataset, groups).evaluation(split)])

    assert sorted(seen[seen >= 0]) == list(range(SIZES[split]))


def test_every_epoch_sees_every_utterance_once_in_another_order(dataset: Dataset) -> None:
    batches = make_loader(dataset)
    seen = [b.example.reshape(-1).tolist() for b in batches.training(0)]

    assert (batches.steps_per_epoch, batches.total_steps) == (5, 10)
    first, second = np.concatenate(seen[:5]).tolist(), np.concatenate(seen[5:]).tolist()
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_any_number_of_groups_sees_the_same_utterances_in_each_step(dataset: Dataset) -> None:
    steps = [
        [sorted(make_loader(dataset, groups).planned(step).examples.reshape(-1)) for step in range(10)]
        for groups in (1, 2, 4)
    ]

    assert steps[0] == steps[1] == steps[2]


@pytest.mark.parametrize("start", [3, 5, 9])
def test_starting_at_a_step_gives_what_a_whole_run_gives_from_there(dataset: Dataset, start: int) -> None:
    whole = list(make_loader(dataset, 2).training(0))
    rest = list(make_loader(dataset, 2).training(start))

    assert len(rest) == 10 - start
    for found, expected in zip(rest, whole[start:], strict=True):
        assert_equal_batches(found, expected)


def test_a_finished_run_has_no_batches_left(dataset: Dataset) -> None:
    assert list(make_loader(dataset).training(10)) == []


def test_a_process_reads_its_own_groups(dataset: Dataset) -> None:
    whole = make_loader(dataset, 4).training(0)
    mine = make_loader(dataset, 4, local_groups=slice(1, 3)).training(0)

    for found, expected in zip(mine, whole, strict=True):
        assert_equal_batches(found, Batch(*(x[1:3] for x in expected)))


@pytest.mark.parametrize("max_shapes", [1, 2, 3])
def test_a_run_has_few_shapes(dataset: Dataset, max_shapes: int) -> None:
    batches = make_loader(dataset, 2, max_shapes=max_shapes, text_max_len=40)
    used = [*batches.training(0), *batches.evaluation("valid"), *batches.evaluation("test")]
    found = {(b.token_ids.shape, b.faces.shape, b.mel.shape) for b in used}

    # All epochs of so short a run are in the sample, so that the last resort is not needed.
    assert len(batches.ladder) <= max_shapes + 1
    assert len(found) <= max_shapes


def test_an_input_for_evaluation_alone_needs_no_training_split(tmp_path: Path) -> None:
    dataset = open_dataset(make_records(tmp_path / "records", {"valid": 3, "test": 2}))

    (batch,) = make_loader(dataset, epochs=0).evaluation("test")

    assert_equal_batches(batch, packed_by_hand(batch, "test"))


def test_a_step_can_name_its_utterances(dataset: Dataset) -> None:
    batches = make_loader(dataset, 2)
    examples = batches.planned(7).examples

    assert batches.utterance_ids(7) == [f"train_{i}" for i in examples.reshape(-1)]


def test_lengths_that_are_not_those_of_the_records_are_refused(tmp_path: Path) -> None:
    directory = make_records(tmp_path / "records", {"train": 4, "valid": 4, "test": 4})
    metadata = json.loads((directory / "metadata.json").read_text())
    metadata["splits"]["test"]["frames"][1] += 1
    (directory / "metadata.json").write_text(json.dumps(metadata))

    with pytest.raises(UserError, match=r"utterance test_1: .*expected faces as uint8 \[4, 48, 48, 3\], found 20736"):
        list(make_loader(open_dataset(directory)).evaluation("test"))
