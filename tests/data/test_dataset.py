"""Opening records: what is read of a good directory, and what is said of a bad one."""

import json
from pathlib import Path

import pytest

from mme2e_jax.constants import DATASETS, EMBEDDED
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from tests.helpers.synthetic import METADATA, SIZES, make_feature_records, make_records


def edit_metadata(directory: Path, **changes) -> None:
    path = directory / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_dataset_knows_its_splits_lengths_and_labels(records: Path) -> None:
    dataset = open_dataset(records)

    assert dataset.name == "mini"
    assert dataset.label_names == ("anger", "disgust", "fear", "happy", "sad", "surprise")
    assert dataset.tokenizer == METADATA["tokenizer"]
    assert dataset.preprocessing["frame_interval_ms"] == 500
    # Records made before there was a choice do not speak of one.
    assert dataset.preprocessing["face_choice"] == "most_probable"
    assert {name: len(split) for name, split in dataset.splits.items()} == SIZES
    train = dataset.split("train")
    assert [v[:5].tolist() for v in train.lengths] == [[5, 9, 3, 40, 16], [0, 3, 0, 2, 1], [4, 0, 0, 3, 1]]
    # Twenty utterances, the labels in turn.
    assert train.positives.tolist() == [4, 4, 3, 3, 3, 3]
    assert train.files.records == (8, 8, 4)
    assert train.ids == tuple(f"train_{i}" for i in range(20))
    assert [train.locate(i)[1] for i in (0, 7, 8, 19)] == [0, 7, 0, 3]
    assert [train.locate(i)[0].name[-5:] for i in (0, 7, 8, 19)] == ["00000", "00000", "00001", "00002"]


def test_a_dataset_of_features_knows_their_widths_and_counts_their_rows(feature_records: Path) -> None:
    dataset = open_dataset(feature_records, kind="features")

    assert (dataset.kind, dataset.feature_sizes, dataset.tokenizer) == ("features", (300, 144, 35), {})
    assert dataset.preprocessing["feature_sizes"] == [300, 144, 35]
    assert dataset.preprocessing["features"] == {"text": "made", "audio": "made", "video": "made"}
    assert {name: len(split) for name, split in dataset.splits.items()} == SIZES
    train = dataset.split("train")
    assert [v[:6].tolist() for v in train.lengths] == [
        [5, 9, 3, 40, 16, 0],
        [0, 3, 0, 2, 1, 2],
        [4, 0, 0, 3, 1, 2],
    ]
    assert train.positives.tolist() == [4, 4, 3, 3, 3, 3]


def test_records_of_the_other_kind_are_refused_with_the_command_that_makes_the_right_ones(
    records: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"of the kind 'media'; this model reads the kind 'features'") as error:
        open_dataset(records, "mosei", "features")
    assert "data_tools.prepare --dataset=mosei --raw=RELEASE --out=RECORDS --kind=features" in str(error.value)

    with pytest.raises(UserError, match=r"of the kind 'features'; this model reads the kind 'media'") as error:
        open_dataset(make_feature_records(tmp_path / "features", {"train": 1}), "mosei", "media")
    assert "--out=RECORDS --tokenizer=albert-base-v2" in str(error.value)


def test_records_that_say_nothing_of_their_kind_are_media(tmp_path: Path) -> None:
    directory = make_records(tmp_path / "records", {"train": 1})
    metadata = json.loads((directory / "metadata.json").read_text())
    metadata.pop("kind", None)
    (directory / "metadata.json").write_text(json.dumps(metadata))

    assert open_dataset(directory).kind == "media"


def test_missing_feature_records_are_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data_tools\.prepare --dataset=mosei .* --kind=features"):
        open_dataset(tmp_path / "absent", "mosei", "features")


@pytest.mark.parametrize("kind", ["media", "features"])
@pytest.mark.parametrize("name", DATASETS)
def test_missing_records_of_every_dataset_have_a_command(tmp_path: Path, name: str, kind: str) -> None:
    command = (
        r"launch\.py --config=configs/(mini_sparse|lf_rnn)\.py"
        if name in EMBEDDED
        else rf"data_tools\.prepare --dataset={name}"
    )
    with pytest.raises(UserError, match=command):
        open_dataset(tmp_path / "absent", name, kind)


def test_a_missing_directory_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent' does not exist") as error:
        open_dataset(tmp_path / "absent")

    assert "python -m data_tools.prepare --dataset=mosei" in str(error.value)
    assert "--config.data.dir=" in str(error.value)


def test_a_directory_without_records_is_told_from_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no dataset_info\.json"):
        open_dataset(tmp_path)


def test_records_whose_path_is_not_utf8_are_refused(records: Path, tmp_path: Path) -> None:
    (tmp_path / "caf\udce9").symlink_to(records)

    with pytest.raises(UserError, match="Expected a path in UTF-8"):
        open_dataset(tmp_path / "caf\udce9")


def test_another_format_version_is_refused(tmp_path: Path) -> None:
    directory = make_records(tmp_path / "records", {"train": 1})
    edit_metadata(directory, format_version=7)

    with pytest.raises(UserError, match="format version 7; this program reads version 2"):
        open_dataset(directory)


def test_metadata_that_does_not_match_the_records_is_refused(tmp_path: Path) -> None:
    directory = make_records(tmp_path / "records", {"train": 3})
    counts = {name: [1, 1] for name in ("tokens", "frames", "chunks")}
    split = {"utterances": 2, "utterance_ids": ["a", "b"], "positives": [1] * 6, **counts}
    edit_metadata(directory, splits={"train": split})

    with pytest.raises(UserError, match="split train holds 3 records, its metadata lists 2"):
        open_dataset(directory)


@pytest.mark.parametrize("missing", ["train", "valid", "test"])
@pytest.mark.parametrize("empty", [True, False])
def test_a_missing_or_empty_split_is_refused_before_training_starts(tmp_path: Path, missing: str, empty: bool) -> None:
    sizes = {"train": 2, "valid": 2, "test": 2}
    sizes = sizes | {missing: 0} if empty else {k: v for k, v in sizes.items() if k != missing}
    dataset = open_dataset(make_records(tmp_path / "records", sizes))

    with pytest.raises(UserError, match=f"no utterances in its {missing} split"):
        BatchLoader(dataset, batch_size=2, text_max_len=16, seed=0, epochs=1, max_shapes=2, groups=1)


@pytest.mark.parametrize(("kind", "length"), [("media", "frames"), ("features", "tokens")])
def test_lengths_that_the_files_cannot_hold_are_refused(kind: str, length: str, tmp_path: Path) -> None:
    make = make_records if kind == "media" else make_feature_records
    directory = make(tmp_path / "records", {"train": 2})
    splits = json.loads((directory / "metadata.json").read_text())["splits"]
    splits["train"][length][1] = 10**9
    edit_metadata(directory, splits=splits)

    with pytest.raises(UserError, match=r"states .* bytes of arrays in split train, its files have"):
        open_dataset(directory, kind=kind)
