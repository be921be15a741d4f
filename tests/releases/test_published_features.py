"""Tests the reader of published features, and training on them."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs import lf_rnn
from data_tools.preparation.dry_run import dry_run
from data_tools.prepare import Settings, prepare
from data_tools.records.inspection import inspect_records
from data_tools.releases.published_features import as_matrix, read_split, require_features
from data_tools.releases.release import ReleaseError
from mme2e_jax.commands.evaluate import evaluate_run
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.audio_columns import FULL_WIDTH
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.media.features.text import text_features
from mme2e_jax.media.utterance import Finding
from mme2e_jax.runtime.console import PlainConsole
from mme2e_jax.training.loop import train
from tests.helpers.synthetic import shrink
from tests.helpers.torch_writer import bare_pickle, tensor

SPLITS = ("train", "valid", "test")
LEFT, RIGHT = "Ses01F_impro01_F000", "Ses01F_impro01_M000"
RNG = np.random.default_rng(0)
TEXT, AUDIO = RNG.random((2, 300), np.float32), RNG.random((4, 800), np.float32)
FACES = RNG.random((12, 40), np.float32)


def quiet() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=120)


def write_iemocap(folder: Path, convert: Any = np.asarray, **changes: Any) -> Path:
    """Train's features of a speaker on the left; the other channel and half hold zeros."""
    folder.mkdir(parents=True)
    # From 11 down to 0, so that neither the order in the file nor that of names is that of numbers.
    faces = {f"image_L_{i}": convert(FACES[i]) for i in range(11, -1, -1)}
    held: dict[str, Any] = {
        "text": {LEFT: convert(TEXT)},
        "audio": {LEFT: {"L": convert(AUDIO.T), "R": convert(np.zeros((800, 1), np.float32))}},
        "video": {LEFT: faces | {f"image_R_{i}": convert(np.zeros(40, np.float32)) for i in range(12)}},
        **changes,
    }
    for name, value in held.items():
        (folder / f"train_{name}_features.pt").write_bytes(bare_pickle(value))
    return folder


def write_mosei(folder: Path, held: Any, split: str = "train") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"mosei_senti_hcf_{split}.pkl").write_bytes(bare_pickle(held))
    return folder


MOSEI = {
    "id": np.array(["v_0", "w_1"]),
    "text": RNG.random((2, 5, 300), np.float32),
    "audio": RNG.random((2, 7, 74)),
    "vision": RNG.random((2, 6, 35), np.float32),
}


@pytest.mark.parametrize("convert", [np.asarray, tensor, np.ndarray.tolist, np.float64])
def test_the_speakers_channel_and_pictures_of_iemocap_are_read(convert: Any, tmp_path: Path) -> None:
    found, findings = read_split(write_iemocap(tmp_path / "f", convert), "iemocap", "train")

    assert findings == []
    assert found.keys() == {LEFT}
    np.testing.assert_array_equal(found[LEFT]["text"], TEXT, strict=True)
    np.testing.assert_array_equal(found[LEFT]["audio"], AUDIO, strict=True)
    np.testing.assert_array_equal(found[LEFT]["video"], FACES[:, -35:], strict=True)


def test_the_other_speaker_of_iemocap_is_on_the_right(tmp_path: Path) -> None:
    audio = {RIGHT: {"L": np.zeros((800, 1)), "R": AUDIO.T}}
    video = {RIGHT: {"image_L_0": np.zeros(40), "image_R_0": FACES[0], "image_R_2": FACES[2]}}  # 1 is missing

    found, _ = read_split(
        write_iemocap(tmp_path / "f", text={RIGHT: [TEXT[0], TEXT[1]]}, audio=audio, video=video), "iemocap", "train"
    )

    np.testing.assert_array_equal(found[RIGHT]["text"], TEXT)
    np.testing.assert_array_equal(found[RIGHT]["audio"], AUDIO)
    np.testing.assert_array_equal(found[RIGHT]["video"], FACES[[0, 2], -35:])


@pytest.mark.parametrize("ids", [["v_0", "w_1"], np.array(["v_0", "w_1"], object), np.array([b"v_0", b"w_1"])])
def test_all_rows_of_mosei_are_read(ids: Any, tmp_path: Path) -> None:
    tensors = {key: tensor(MOSEI[key]) for key in ("text", "audio", "vision")}

    found, findings = read_split(write_mosei(tmp_path / "f", {"id": ids, **tensors}), "mosei", "train")

    assert findings == []
    for i, name in enumerate(["v_0", "w_1"]):
        np.testing.assert_array_equal(found[name]["text"], MOSEI["text"][i], strict=True)
        np.testing.assert_array_equal(found[name]["audio"], MOSEI["audio"][i].astype(np.float32), strict=True)
        np.testing.assert_array_equal(found[name]["video"], MOSEI["vision"][i], strict=True)


def test_the_first_of_several_with_one_name_counts(tmp_path: Path) -> None:
    found, _ = read_split(write_mosei(tmp_path / "f", MOSEI | {"id": ["v_0", "v_0"]}), "mosei", "train")
    np.testing.assert_array_equal(found["v_0"]["text"], MOSEI["text"][0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": {LEFT: np.zeros(300)}}, "text: expected rows of numbers, found an array float64 [300]"),
        (
            {"text": {LEFT: [[0.0] * 300, [0.0] * 299]}},
            "text: expected equally long rows of numbers, found a list of 2",
        ),
        ({"text": {LEFT: np.array([["a"]])}}, "text: expected rows of numbers, found an array <U1 [1, 1]"),
        ({"text": {LEFT: "words"}}, "text: expected rows of numbers, found str 'words'"),
        ({"audio": {LEFT: np.zeros((800, 2))}}, "audio: expected a dictionary with the channel L, found an array"),
        ({"audio": {LEFT: {"R": AUDIO}}}, "the channel L, found a dictionary of 1 with 'R'"),
        ({"video": {LEFT: FACES}}, "video: expected a dictionary by image, found an array float32 [12, 40]"),
        ({"video": {LEFT: {"frame_0": FACES[0]}}}, "expected images named image_L_0 and so on, found a dictionary"),
        ({"text": {"v_0": TEXT}, "audio": {}, "video": {}}, "expected the name of a turn"),
    ],
)
def test_what_one_utterance_has_that_is_none_is_named(changes: Any, message: str, tmp_path: Path) -> None:
    found, findings = read_split(write_iemocap(tmp_path / "f", **changes), "iemocap", "train")

    assert found == {}
    assert [finding.reason for finding in findings] == ["bad_features"]
    assert message in findings[0].detail


def test_lists_that_share_what_they_hold_do_not_fill_the_memory() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for value in ([[0.0] * 100_000] * 100_000, loop, [loop]):
        with pytest.raises(ValueError, match="text: expected equally long rows"):
            as_matrix(value, "text")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([1], r"to hold a dictionary with id, text, .*; found a list of 1 such as int"),
        ({"id": ["v_0"]}, r"found a dictionary of 1 with 'id'; 'id' is a list of 1 such as str"),
        (MOSEI | {"text": MOSEI["text"][:1]}, r"'text' is an array float32 \[1, 5, 300\]; 'audio' is an array float64"),
        (MOSEI | {"id": np.arange(2)}, r"and texts as id; found .*'id' is an array int64 \[2\]"),
    ],
)
def test_a_file_of_something_else_is_named_with_what_it_holds(held: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=message):
        read_split(write_mosei(tmp_path / "f", held), "mosei", "train")


class Runs:
    """Would make a directory if it were unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("dataset", ["mosei", "iemocap"])
def test_features_that_would_run_something_are_refused_and_do_not(dataset: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    evil = pickle.dumps({"id": ["v_0"], LEFT: [np.zeros(3), Runs(str(proof))]}, 4)
    folder = write_iemocap(tmp_path / "f")
    for name in ("train_audio_features.pt", "mosei_senti_hcf_train.pkl"):
        (folder / name).write_bytes(evil)

    message = r"asks for posix\.mkdir, which no file of features needs\. Nothing of it was run\."
    with pytest.raises(ReleaseError, match=message):
        read_split(folder, dataset, "train")

    assert not proof.exists()
    pickle.loads(evil)
    assert proof.exists(), "the pickle does nothing, whoever loads it"


# The last one claims an array of 2**60 bytes.
@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 of torch.save", pickle.dumps(MOSEI)[:-100], b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little")],
)
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mosei_senti_hcf_train.pkl").write_bytes(content)
    with pytest.raises(ReleaseError, match=r"train\.pkl is damaged or no pickle: .*Copy it again"):
        read_split(tmp_path, "mosei", "train")


def write_release(root: Path, names: dict[str, list[str]], features: dict[str, Any]) -> Path:
    """A processed release of MOSEI without media: utterances and features by split."""
    (root / "MOSEI_RAW_PROCESSED").mkdir(parents=True)
    (root / "MOSEI_SPLIT").mkdir()
    meta = {name: {"text": "a word", "label": [1, 0, 0, 0, 0, 0]} for part in names.values() for name in part}
    (root / "MOSEI_RAW_PROCESSED" / "meta.pkl").write_bytes(pickle.dumps(meta))
    for split in SPLITS:
        (root / "MOSEI_SPLIT" / f"{split}_split.txt").write_text("\n".join(names[split]))
        write_mosei(root / "MOSEI_HCF_FEATURES", features[split], split)
    return root


def features_of(names: list[str], **changes: list[Any]) -> dict[str, Any]:
    rows = {"text": np.ones((2, 300)), "audio": np.ones((3, 74)), "vision": np.ones((4, 35))}
    return {"id": names, **{kind: [row.copy() for _ in names] for kind, row in rows.items()}, **changes}


def test_what_the_features_lack_is_in_the_report(tmp_path: Path) -> None:
    train = features_of(["a_0", "a_1", "a_2", "a_3", "a_4", "other_0"])
    train["audio"][1] = np.ones((3, 73))  # as no other
    train["audio"][2][0, :2] = -np.inf, np.nan
    train["text"][3] = []
    train["text"][4], train["audio"][4], train["vision"][4] = [], np.zeros((0, 74)), None
    names = {"train": [f"a_{i}" for i in range(6)], "valid": ["b_0"], "test": ["c_0"]}
    features = {"train": train, "valid": features_of(["b_0", "a_0"]), "test": features_of(["c_0"])}
    raw = write_release(tmp_path / "raw", names, features)
    settings = Settings(dataset="processed_mosei", kind="features", features="published")

    assert dry_run(raw, settings, console=quiet()).findings == []
    report = prepare(raw, tmp_path / "out", settings, console=quiet())

    assert report.kept == ["a_0", "a_2", "a_3", "b_0", "c_0"]
    assert report.settings["features"] == "published"
    assert sorted(report.findings, key=lambda finding: finding.id) == [
        Finding("a_0", "duplicate", "features of valid"),
        Finding("a_1", "bad_features", "audio: expected 74 numbers a row, found 73"),
        Finding("a_2", "features_not_finite", "audio: 2"),
        Finding("a_3", "features_incomplete", "text"),
        Finding("a_4", "bad_features", "nothing in text, audio and video"),
        Finding("a_5", "no_features"),
        Finding("other_0", "features_without_meta"),
    ]
    builder: Any = tfds.builder_from_directory(tmp_path / "out")
    examples = {example["utterance_id"]: example for example in builder.as_data_source("train")}
    assert examples[b"a_2"]["audio"][0, :3].tolist() == [0, 0, 1]
    assert examples[b"a_3"]["text"].shape == (0, 300)


def test_features_that_are_empty_throughout_are_refused(tmp_path: Path) -> None:
    names = {split: [f"{split}_0"] for split in SPLITS}
    features = {split: features_of(part, audio=[np.zeros((0, 74))]) for split, part in names.items()}
    settings = Settings(dataset="processed_mosei", kind="features", features="published")

    with pytest.raises(ReleaseError, match=r"that meta\.pkl names in train; found none of audio"):
        prepare(write_release(tmp_path / "raw", names, features), tmp_path / "out", settings, console=quiet())
    assert not (tmp_path / "out").exists()


def test_files_that_are_missing_are_named_before_any_work(tmp_path: Path) -> None:
    names = {split: [f"{split}_0"] for split in SPLITS}
    raw = write_release(tmp_path / "raw", names, {split: features_of(part) for split, part in names.items()})
    (raw / "MOSEI_HCF_FEATURES" / "mosei_senti_hcf_valid.pkl").rename(raw / "away")

    with pytest.raises(
        ReleaseError, match=r"Expected mosei_senti_hcf_valid\.pkl in .*; found there: mosei_senti_hcf_te"
    ):
        require_features(raw, "mosei")
    (raw / "MOSEI_HCF_FEATURES").rename(raw / "elsewhere")
    with pytest.raises(ReleaseError, match=r"Expected the folder .*MOSEI_HCF_FEATURES .*--features=computed"):
        require_features(raw, "mosei")


@pytest.fixture(scope="module", params=["mosei", pytest.param("iemocap", marks=pytest.mark.slow)])
def generated(
    request: pytest.FixtureRequest, processed_corpus: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """A dataset's name, the generated folders, and the records of their features."""
    root = tmp_path_factory.mktemp(request.param)
    raw = processed_corpus(request.param)
    settings = Settings(dataset=f"processed_{request.param}", kind="features", features="published")
    prepare(raw, root / "records", settings, processes=1, console=quiet())
    return request.param, raw, root / "records"


def test_generated_features_become_records(generated: tuple[str, Path, Path]) -> None:
    dataset, raw, records = generated
    meta = pickle.loads((raw / f"{dataset.upper()}_RAW_PROCESSED" / "meta.pkl").read_bytes())
    reasons = {
        reason: [entry["id"] for entry in found["utterances"]]
        for reason, found in json.loads((records / "report.json").read_text())["reasons"].items()
    }
    builder: Any = tfds.builder_from_directory(records)

    stored = 0
    for split in SPLITS:
        listed = (raw / f"{dataset.upper()}_SPLIT" / f"{split}_split.txt").read_text().split()
        examples = {e["utterance_id"].decode(): e for e in builder.as_data_source(split)}
        stored += len(examples)
        assert examples.keys() == set(listed) - set(reasons.get("no_features", []))
        for name, example in examples.items():
            words = text_features(meta[name]["text"])
            if name in reasons.get("features_incomplete", []):
                words = words[:0]
            # MOSEI's rows are padded in front.
            np.testing.assert_array_equal(example["text"][len(example["text"]) - len(words) :], words)
            assert np.isfinite(example["audio"]).all()
            pictures = len(list(next(raw.rglob(name)).glob("*.jpg"))) // (1 if dataset == "mosei" else 2)
            missing = name in reasons.get("features_incomplete", [])
            assert example["video"].any(axis=1).sum() == pictures - missing
    assert len(reasons["features_not_finite" if dataset == "mosei" else "features_incomplete"]) == 3
    assert len(reasons.get("no_features", [])) == len(reasons.get("features_without_meta", [])) // 3
    assert builder.info.metadata["feature_sizes"] == [300, 74 if dataset == "mosei" else FULL_WIDTH, 35]
    assert builder.info.metadata["features"]["origin"] == "published"
    # Nothing says where a face was found.
    assert "no_face" not in inspect_records(records).problems
    assert stored == sum(split["utterances"] for split in builder.info.metadata["splits"].values())


@pytest.mark.slow
def test_baselines_train_on_published_features(generated: tuple[str, Path, Path], tmp_path: Path) -> None:
    dataset, _, records = generated
    config = shrink(lf_rnn.get_config(dataset), records)
    if dataset == "mosei":
        config.model.feature_sizes = (300, 74, 35)

    train(parse_config(config), open_dataset(records, dataset, "features"), tmp_path / "run")
    found = evaluate_run(tmp_path / "run")

    assert found["step"] >= 1
    assert 0 <= found["test"]["mean"]["f1"] <= 1
