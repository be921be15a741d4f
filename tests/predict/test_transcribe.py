"""Speech recognition: its models are checked, its cues lie inside the clip, and given words win."""

import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.signal import resample_poly

from data_tools.mini_corpus.speech import synthesize
from mme2e_jax.errors import UserError
from mme2e_jax.predict import transcribe
from mme2e_jax.predict.cues import Cue
from mme2e_jax.predict.transcribe import Transcriber, check_model, make_cues
from tests.helpers.clip_run import SIZE, levels, make_clip_run, write_clips
from tests.helpers.media import write_video, write_wav
from tests.helpers.runs import REPOSITORY, run
from tests.helpers.whisper import WORDS, save_whisper

FILES = ("model.bin", "config.json", "tokenizer.json", "vocabulary.json")
# With this seed, the model finds words in the speech below, and others in German than in English.
SEED = 5


def segment(start: float, end: float, text: str) -> Any:
    return SimpleNamespace(start=start, end=end, text=text)


def write_files(directory: Path, names: Sequence[str]) -> Path:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_bytes(b"")
    return directory


@functools.cache
def speech() -> np.ndarray:
    """A second of silence, then 4 s of speech; float32 `[x]` at 16 kHz."""
    spoken = resample_poly(synthesize("It was great fun today. I miss her. I cried just now."), 320, 441)
    return np.concatenate([np.zeros(16_000), 0.5 * spoken]).astype(np.float32)


def reading(wave: np.ndarray) -> Callable[[float, float], np.ndarray]:
    return lambda start, end: wave[round(start * 16_000) : round(end * 16_000)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("faster_whisper")
    return save_whisper(tmp_path_factory.mktemp("whisper") / "tiny", SEED)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (None, "no such directory"),
        ((), r"a directory without model\.bin, config\.json, tokenizer\.json, vocabulary\.json"),
        # The layout of transformers.
        (("model.safetensors", "config.json", "tokenizer.json"), r"a directory without model\.bin, vocabulary\.json"),
        (FILES[:2], r"a directory without tokenizer\.json, vocabulary\.json"),
    ],
)
def test_a_directory_without_a_model_is_refused(names: Sequence[str] | None, found: str, tmp_path: Path) -> None:
    directory = tmp_path / "asr"
    if names is not None:
        write_files(directory, names)
    write_wav(tmp_path / "a.wav", np.zeros(1600))

    with pytest.raises(UserError, match=rf"found {found}: .*asr\. Download one: hf download \S+ --local-dir=MODEL_DIR"):
        run("--mode=predict", f"--workdir={tmp_path}", f"--input={tmp_path / 'a.wav'}", f"--transcribe={directory}")


@pytest.mark.parametrize("vocabulary", ["vocabulary.json", "vocabulary.txt"])
def test_without_the_package_the_error_says_what_to_install(
    vocabulary: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "faster_whisper" else find(name))

    with pytest.raises(
        UserError, match=r"faster-whisper, which is missing: pip install -r requirements-transcribe\.txt"
    ):
        check_model(write_files(tmp_path / "asr", (*FILES[:3], vocabulary)))


def test_a_language_needs_a_model(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(1600))

    with pytest.raises(UserError, match=r"Expected --transcribe=MODEL_DIR with --language=en, found none"):
        run("--mode=predict", f"--workdir={tmp_path}", f"--input={tmp_path / 'a.wav'}", "--language=en")


def test_cues_have_words_and_lie_inside_the_sound() -> None:
    segments = [
        segment(3.0, 9.0, " too  long "),
        segment(-1.0, 0.5, " early"),
        segment(1.0, 2.0, "  "),
        segment(2.0, 2.0, " no time"),
        segment(4.5, 5.0, " late"),
    ]

    assert make_cues(segments, 100.0, 104.0) == [Cue(100.0, 100.5, "early"), Cue(103.0, 104.0, "too long")]


def test_a_cue_that_a_block_cuts_off_begins_the_next_block(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber, blocks = Transcriber(model), []
    answers = iter([
        # Cut off, so that the next block starts at 7.5 s.
        [segment(0.0, 3.0, "a"), segment(7.5, 9.9, "b")],
        # Cut off, but the next block would repeat most of this one; then a pause at the end.
        [segment(0.0, 9.8, "b c")],
        [segment(6.0, 8.0, "d")],
        [segment(0.0, 2.5, "e")],
    ])  # fmt: skip
    monkeypatch.setattr(transcribe, "_BLOCK_SECONDS", 10.0)
    monkeypatch.setattr(transcriber, "_segments", lambda *_: (next(answers), "en"))

    def read(start: float, end: float) -> np.ndarray:
        blocks.append((start, end))
        return np.ones(1, np.float32)

    found = transcriber.recognize(read, 30.0)

    assert blocks == [(0.0, 10.0), (7.5, 17.5), (17.5, 27.5), (27.5, 30.0)]
    assert found.cues == [Cue(0, 3, "a"), Cue(7.5, 17.3, "b c"), Cue(23.5, 25.5, "d"), Cue(27.5, 30, "e")]


def test_a_model_answers_with_cues_in_order_and_always_the_same(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.tile(speech(), 6)
    seconds = len(wave) / 16_000
    # Several blocks, the last one shorter than the others.
    monkeypatch.setattr(transcribe, "_BLOCK_SECONDS", 12.0)

    found = Transcriber(model).recognize(reading(wave), seconds)

    assert found == Transcriber(model).recognize(reading(wave), seconds)
    assert len(found.cues) > 1
    assert all(0 <= cue.start < cue.end <= seconds for cue in found.cues)
    assert all(a.start <= b.start for a, b in itertools.pairwise(found.cues))
    assert {word for cue in found.cues for word in cue.text.split()} <= set(WORDS)
    assert found.note == "The transcript was recognised by the model tiny (language: en); words can be wrong."
    # Louder than full scale, as some files are.
    assert Transcriber(model).recognize(reading(wave / np.abs(wave).max()), seconds) == Transcriber(model).recognize(
        reading(2.0**30 * wave), seconds
    )


def test_a_warm_up_runs_the_model_and_changes_no_words(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, ran = len(speech()) / 16_000, []
    cold, warm = Transcriber(model), Transcriber(model)
    encode = type(warm._model).encode
    monkeypatch.setattr(type(warm._model), "encode", lambda *args: ran.append(1) or encode(*args))

    warm.warm_up()

    assert ran
    assert warm.recognize(reading(speech()), seconds) == cold.recognize(reading(speech()), seconds)


def test_recognition_ends_when_it_is_stopped(model: Path) -> None:
    with pytest.raises(InterruptedError):
        Transcriber(model).recognize(reading(speech()), len(speech()) / 16_000, lambda: True)


@pytest.mark.parametrize(
    "wave",
    [
        np.zeros(0, np.float32),
        np.zeros(48_000, np.float32),
        np.full(100, 0.1, np.float32),
        np.random.default_rng(0).normal(scale=0.1, size=48_000).astype(np.float32),
    ],
    ids=["none", "silence", "short", "noise"],
)
@pytest.mark.parametrize("multilingual", [False, True])
def test_a_sound_without_a_voice_has_no_words(
    wave: np.ndarray, multilingual: bool, model: Path, tmp_path: Path
) -> None:
    transcriber = Transcriber(save_whisper(tmp_path / "m", SEED, multilingual=True) if multilingual else model)

    found = transcriber.recognize(reading(wave), 3.0)

    assert found.cues == []
    assert found.note == f"The speech recognition model {'m' if multilingual else 'tiny'} found no words."


def test_the_language_is_detected_unless_it_is_given(model: Path, tmp_path: Path) -> None:
    directory = save_whisper(tmp_path / "both", SEED, multilingual=True)
    seconds = len(speech()) / 16_000

    detected = Transcriber(directory).recognize(reading(speech()), seconds)
    english, german = (Transcriber(directory, code).recognize(reading(speech()), seconds) for code in ("en", "de"))

    assert detected in (english, german)
    assert "(language: en)" in english.note
    assert "(language: de)" in german.note
    assert english.cues != german.cues
    with pytest.raises(UserError, match=r"one of .*de, .*; found 'english'"):
        Transcriber(directory, "english")
    with pytest.raises(UserError, match=r"one of en; found 'de'"):
        Transcriber(model, "de")
    identities = [transcriber.identity for transcriber in (Transcriber(directory), Transcriber(directory, "de"))]
    assert identities[0] != identities[1]
    assert json.loads(json.dumps(identities)) == identities


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "vocabulary.json"])
def test_a_damaged_model_is_refused(name: str, model: Path, tmp_path: Path) -> None:
    directory = save_whisper(tmp_path / "damaged", SEED)
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content[: len(content) // 2])

    with pytest.raises(UserError, match=r"found files that cannot be loaded: .*\. Download it again: hf download"):
        Transcriber(directory)


def test_recognition_reports_nothing_to_others(model: Path, tmp_path: Path) -> None:
    program = "import sys; from mme2e_jax.predict.transcribe import Transcriber; Transcriber(sys.argv[1])"
    # Neither the choice of the caller, nor a variable that the library takes for one.
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    paths = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}

    subprocess.run(
        [sys.executable, "-c", f"{program}; import onnxruntime", str(model)], env=environment | paths, check=True
    )

    # Its telemetry keeps a session there.
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_clips_without_words_are_recognised_and_predicted_again_with_another_model(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir = make_clip_run(write_clips(tmp_path / "release"), tmp_path)
    clips = tmp_path / "clips"
    write_video(clips / "spoken.mp4", levels(5, 1), size=SIZE, wave=speech())
    write_video(clips / "silent.mp4", levels(5, 2), size=SIZE)
    write_wav(clips / "written.wav", speech())
    (clips / "written.txt").write_text("one two")
    command = (
        *("--mode=predict", f"--workdir={workdir}", f"--input={clips}", f"--output_dir={tmp_path / 'out'}"),
        f"--transcribe={model}",
    )

    run(*command)

    def stored(name: str) -> dict[str, Any]:
        return json.loads((tmp_path / "out" / name / "predictions.json").read_text())

    spoken, silent, written = map(stored, ("spoken.mp4", "silent.mp4", "written.wav"))
    assert spoken["notes"][0] == "The transcript was recognised by the model tiny (language: en); words can be wrong."
    for utterance in spoken["utterances"]:
        assert set(utterance["transcript"].split()) <= set(WORDS)
        assert utterance["tokens"] > 2
        assert 0 <= utterance["start"] < utterance["end"] <= spoken["seconds"]
    assert silent["notes"][:2] == [
        "The speech recognition model tiny found no words.",
        "No transcript was given: the model's text input is empty.",
    ]
    assert [u["start"] for u in silent["utterances"]] == [0, 0.5, 1, 1.5, 2]
    assert written["notes"][0] == "The transcript is that of written.txt, next to the clip."
    assert {u["transcript"] for u in written["utterances"]} == {"one two"}
    page = (tmp_path / "out" / "spoken.mp4" / "predictions.html").read_text()
    assert "recognised by the model tiny" in page

    capsys.readouterr()
    os.utime(model / "model.bin", (1, 1))
    run(*command)
    printed = capsys.readouterr().out
    assert "Predicted 3 of 3 files, 1 of them before." in printed
    assert "written.wav:" not in printed
