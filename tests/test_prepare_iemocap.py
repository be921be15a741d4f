"""Tests preparation of a generated IEMOCAP release with every awkward case."""

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tensorflow_datasets as tfds
from scipy.io import wavfile

from data_tools.generate import generate
from data_tools.prepare import Settings, prepare
from data_tools.releases.iemocap import read_release
from data_tools.releases.release import ReleaseError
from mme2e_jax.media.mel import mel_chunks
from mme2e_jax.media.sound import read_wav
from mme2e_jax.runtime.console import PlainConsole

UTTERANCES = 24
LABELS = ["ang", "exc", "fru", "hap", "neu", "sad"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("raw") / "iemocap", UTTERANCES, seed=0, layout="iemocap", workers=1)


@pytest.fixture(scope="module")
def truth(release: Path) -> dict[str, Any]:
    return json.loads((release / "truth.json").read_text())


@pytest.fixture(scope="module")
def prepared(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "records"
    prepare(release, out, Settings(dataset="mini_iemocap", fold=2), processes=1, console=quiet())
    return out


@pytest.fixture(scope="module")
def examples(prepared: Path) -> dict[str, dict[str, Any]]:
    builder: Any = tfds.builder_from_directory(prepared)
    return {
        example["utterance_id"].decode(): {**example, "split": split}
        for split in builder.info.splits
        for example in builder.as_data_source(split=split)
    }


@pytest.fixture(scope="module")
def reasons(prepared: Path) -> dict[str, set[str]]:
    found = json.loads((prepared / "report.json").read_text())["reasons"]
    return {reason: {entry["id"] for entry in entries["utterances"]} for reason, entries in found.items()}


def quiet() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=120)


def turns_of(truth: dict[str, Any], case: str, kept: dict[str, Any]) -> set[str]:
    """The kept turns of the dialogues with a case."""
    dialogues = truth["awkward"][case]
    return {clip["turn"] for clip in truth["clips"] if clip["dialogue"] in dialogues and clip["turn"] in kept}


def test_the_generator_writes_the_layout(release: Path, truth: dict[str, Any]) -> None:
    dialog = release / "Session1" / "dialog"
    (name,) = {clip["dialogue"] for clip in truth["clips"] if clip["dialogue"].startswith("Ses01")}

    assert all(truth["awkward"].values())
    assert {path.name for path in release.iterdir()} == {"truth.json", *(f"Session{i}" for i in range(1, 6))}
    assert {path.name for path in (dialog / "EmoEvaluation").iterdir()} == {
        "Attribute",
        "Categorical",
        "Self-evaluation",
        f"._{name}.txt",
        f"{name}.txt",
    }
    words = (dialog / "transcriptions" / f"{name}.txt").read_bytes()
    assert words.count(b"\r\n") == words.count(b"\n") > 0
    assert b"\r" not in (dialog / "EmoEvaluation" / f"{name}.txt").read_bytes()
    rate, wave = wavfile.read(dialog / "wav" / f"{name}.wav")
    assert (rate, wave.T.shape[0]) == (16_000, 2)
    with av.open(str(dialog / "avi/DivX" / f"{name}.avi")) as movie:
        picture, sound = movie.streams.video[0], movie.streams.audio[0]
        assert (picture.codec_context.name, picture.width, picture.height) == ("mpeg4", 640, 240)
        assert sound.codec_context.channels == 2


def test_the_generator_repeats_itself(release: Path, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", UTTERANCES, seed=0, layout="iemocap", workers=2)

    names = sorted(path.relative_to(release) for path in release.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((release / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_the_speaker_is_loud_on_their_own_channel(release: Path, truth: dict[str, Any]) -> None:
    utterances = {u.id: u for u in read_release(release).utterances}
    for name in ("Ses01F_impro01_F002", "Ses01F_impro01_M001"):
        utterance = utterances[name]
        wav = release / "Session1/dialog/wav/Ses01F_impro01.wav"
        level = [np.std(read_wav(wav, channel).cut(utterance.start, utterance.end)) for channel in (0, 1)]
        assert level[utterance.channel] > 3 * level[1 - utterance.channel]


def test_every_turn_is_in_the_records_or_in_the_report(
    truth: dict[str, Any], examples: dict[str, Any], reasons: dict[str, set[str]]
) -> None:
    turns = {clip["turn"] for clip in truth["clips"]}
    missing = reasons["label_without_transcript"] | reasons["other_emotion"]

    assert turns == set(examples) | missing
    assert not set(examples) & missing


def test_awkward_turns_are_reported_under_their_reasons(
    truth: dict[str, Any], examples: dict[str, Any], reasons: dict[str, set[str]]
) -> None:
    awkward = truth["awkward"]

    assert reasons["other_emotion"] == {clip["turn"] for clip in truth["clips"] if clip["label"] not in LABELS}
    assert reasons["label_without_transcript"] == set(awkward["evaluation_without_transcript"])
    assert all(name.endswith("XX0") for name in reasons["transcript_without_label"])
    assert len(reasons["transcript_without_label"]) == len(awkward["turn_without_evaluation"])
    assert {name.split(":")[0] for name in reasons["line_without_id"]} == {
        name.rsplit("_", 1)[0] for name in awkward["line_without_id"]
    }
    assert reasons["no_wav"] == turns_of(truth, "wav_missing", examples)
    assert reasons["no_video"] == turns_of(truth, "video_missing", examples)
    right = {name for name in turns_of(truth, "wav_mono", examples) if "_M" in name}
    assert reasons["no_channel"] == right
    # Nothing else: no resource fork, form or overlap is mistaken for something.
    assert set(reasons) <= {
        "other_emotion",
        "label_without_transcript",
        "transcript_without_label",
        "line_without_id",
        "no_wav",
        "no_video",
        "no_channel",
        "some_faces_missing",
        "several_faces",
    }


def test_other_emotions_are_counted(prepared: Path) -> None:
    report = json.loads((prepared / "report.json").read_text())

    assert report["reasons"]["other_emotion"]["by_detail"] == {"dis": 1, "fea": 1, "oth": 1, "sur": 1, "xxx": 1}
    assert report["settings"]["splits"] == "session 2 left out"
    assert report["warnings"] == []


def test_examples_hold_their_turns(release: Path, truth: dict[str, Any], examples: dict[str, Any]) -> None:
    mono = set(turns_of(truth, "wav_mono", examples))
    for clip in truth["clips"]:
        if clip["turn"] not in examples:
            continue
        example = examples[clip["turn"]]
        dialogue = clip["dialogue"]
        assert example["transcript"].decode() == clip["transcript"]
        assert example["dialogue_id"].decode() == dialogue
        assert example["speaker"].decode() == f"{dialogue[:5]}_{clip['speaker']}"
        assert [LABELS[i] for i in np.flatnonzero(example["label"])] == [clip["label"]]
        if len(example["mel"]) and clip["turn"] not in mono:
            wav = release / f"Session{dialogue[4]}" / "dialog/wav" / f"{dialogue}.wav"
            wave = read_wav(wav, int(clip["speaker"] != dialogue[5])).cut(clip["start_s"], clip["end_s"])
            # The release gives times to a tenth of a millisecond.
            assert len(example["mel"]) == len(mel_chunks(wave, 16_000))
            np.testing.assert_allclose(example["mel"].mean(), mel_chunks(wave, 16_000).mean(), rtol=0.02)
        if len(example["faces"]):
            assert example["face_found"].mean() > 0.8
    assert any(": " in example["transcript"].decode() for example in examples.values())


def test_faces_are_those_of_the_speakers_half(examples: dict[str, Any]) -> None:
    """Crops of one speaker resemble each other more than those of the other, who sits beside."""
    names = ["Ses01F_impro01_F000", "Ses01F_impro01_F002", "Ses01F_impro01_M000", "Ses01F_impro01_M001"]
    her, her_later, him, him_later = (examples[name]["faces"].mean(0) for name in names)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a - b).mean())

    assert distance(her, her_later) < distance(her, him)
    assert distance(him, him_later) < distance(him, her_later)


def test_sessions_are_on_one_side(examples: dict[str, Any]) -> None:
    sides = {name: example["split"] for name, example in examples.items()}

    assert {side for name, side in sides.items() if name.startswith("Ses02")} == {"test"}
    assert {side for name, side in sides.items() if name.startswith("Ses03")} == {"valid"}
    assert {side for name, side in sides.items() if name[:5] in ("Ses01", "Ses04", "Ses05")} == {"train"}


def test_a_session_that_is_not_there_is_refused_before_any_work(release: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="Expected utterances of session 9"):
        prepare(release, tmp_path / "out", Settings(dataset="mini_iemocap", fold=9), console=quiet())
    assert list(tmp_path.iterdir()) == []
