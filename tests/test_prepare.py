"""Tests preparation of a generated release with every awkward case."""

import filecmp
import io
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from transformers import AutoTokenizer

from data_tools.prepare import PrepareError, Settings, dry_run, prepare
from mme2e_jax.media.mel import mel_chunks
from mme2e_jax.media.sound import read_wav
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.closeness import assert_close

LABELS = ["anger", "disgust", "fear", "happy", "sad", "surprise"]


def quiet() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=120)


@pytest.fixture(scope="module")
def release(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated release, with a few more things wrong than the generator does by itself."""
    root = Path(shutil.copytree(corpus, tmp_path_factory.mktemp("raw") / "mosei"))
    truth = read_truth(root)
    awkward = {name.split("___")[0] for names in truth["awkward"].values() for name in names}
    plain, *_ = sorted({clip["video"] for clip in truth["clips"]} - awkward)
    (root / "Videos/Full/Combined" / f"{plain}.mp4").unlink()
    transcript = next(iter(sorted((root / "Transcript/Combined").glob(f"{plain}.txt"))))
    with transcript.open("a", encoding="utf-8") as file:
        file.write(f"{plain}___90___500.0___501.0___too late\n")
        file.write(f"{plain}___91___-1.0___1.0___too early\n")
        file.write("../escape___92___0.0___1.0___outside\n")
    with (root / "Labels" / "Batch_1.csv").open("a") as file:
        for clip in (90, 91, 92):
            file.write(f"H,W,{plain},{clip},1,0,0,0,0,0,0\n")
    header = (root / "Labels" / "Batch_1.csv").read_text().split("\n", 1)[0]
    assert header.startswith("HITId,WorkerId,Input.VIDEO_ID,Input.CLIP,Answer."), header
    return root


@pytest.fixture(scope="module")
def prepared(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "records"
    prepare(release, out, Settings(), processes=2, console=quiet())
    return out


def read_truth(root: Path) -> dict[str, Any]:
    return json.loads((root / "truth.json").read_text())


def read_examples(directory: Path) -> dict[str, dict[str, Any]]:
    builder: Any = tfds.builder_from_directory(directory)
    return {
        example["utterance_id"].decode(): {**example, "split": split}
        for split in builder.info.splits
        for example in builder.as_data_source(split=split)
    }


def ids_by_reason(directory: Path) -> dict[str, set[str]]:
    reasons = json.loads((directory / "report.json").read_text())["reasons"]
    return {reason: {entry["id"] for entry in found["utterances"]} for reason, found in reasons.items()}


def test_every_clip_is_in_the_records_or_in_the_report(release: Path, prepared: Path) -> None:
    clips = {f"{clip['video']}_{clip['index']}" for clip in read_truth(release)["clips"]}
    report = json.loads((prepared / "report.json").read_text())
    left_out = {
        effect: {
            entry["id"]
            for found in report["reasons"].values()
            if found["effect"] == effect
            for entry in found["utterances"]
        }
        for effect in ("dropped", "excluded")
    }
    dropped = left_out["dropped"] | left_out["excluded"]
    stored = set(read_examples(prepared))

    assert not stored & dropped
    assert clips <= stored | dropped
    assert report["utterances"]["kept"] == len(stored)
    assert report["utterances"]["dropped"] == len(left_out["dropped"])
    assert report["utterances"]["excluded"] == len(left_out["excluded"])


def test_awkward_clips_are_reported_under_their_reasons(release: Path, prepared: Path) -> None:
    truth = read_truth(release)
    names = {case: {n.replace("___", "_") for n in found} for case, found in truth["awkward"].items()}
    reasons = ids_by_reason(prepared)

    def clips_of(case: str) -> set[str]:
        return {f"{clip['video']}_{clip['index']}" for clip in truth["clips"] if clip["video"] in names[case]}

    assert names["no_face"] <= reasons["no_face"]
    assert reasons["clipped"] == names["clip_past_end"]
    assert reasons["too_short"] == names["short_clip"]
    assert names["label_without_transcript"] <= reasons["label_without_transcript"]
    assert reasons["transcript_without_label"] == names["transcript_without_label"]
    assert reasons["no_wav"] == clips_of("wav_missing")
    assert reasons["broken_video"] == clips_of("broken_video")
    assert reasons["length_mismatch"] == clips_of("wav_length_differs")


def test_what_the_fixture_broke_is_reported(prepared: Path) -> None:
    reasons = ids_by_reason(prepared)
    video = {name.rsplit("_", 1)[0] for name in reasons["no_video"]}

    assert len(video) == 1
    (plain,) = video
    assert reasons["past_end"] == {f"{plain}_90"}
    assert reasons["negative_start"] == {f"{plain}_91"}
    assert {name.split(":")[0] for name in reasons["bad_id"]} == {plain}
    assert f"{plain}_92" in reasons["label_without_transcript"]


def test_degraded_utterances_keep_what_could_be_read(release: Path, prepared: Path) -> None:
    examples = read_examples(prepared)
    reasons = ids_by_reason(prepared)

    for name in reasons["no_wav"]:
        assert len(examples[name]["mel"]) == 0
        assert len(examples[name]["faces"]) > 0
    for name in reasons["broken_video"] | (reasons["no_video"] - reasons["past_end"]):
        assert len(examples[name]["faces"]) == 0
        assert len(examples[name]["mel"]) > 0
    for name in reasons["no_face"]:
        assert not examples[name]["face_found"].any()
        assert len(examples[name]["faces"]) > 0


def test_examples_hold_the_labels_words_sounds_and_times_of_their_clips(release: Path, prepared: Path) -> None:
    examples = read_examples(prepared)
    tokenizer = AutoTokenizer.from_pretrained(prepared / "tokenizer")
    odd = {name for names in ids_by_reason(prepared).values() for name in names}
    checked = 0

    for clip in read_truth(release)["clips"]:
        name = f"{clip['video']}_{clip['index']}"
        if name not in examples:
            continue
        example = examples[name]
        assert example["transcript"].decode() == clip["transcript"]
        assert example["dialogue_id"].decode() == example["speaker"].decode() == clip["video"]
        assert [LABELS[i] for i in np.flatnonzero(example["label"])] == sorted(clip["labels"])
        assert example["token_ids"].tolist() == tokenizer(clip["transcript"])["input_ids"]
        if name in odd:
            continue
        checked += 1
        wave = read_wav(release / "Audio/WAV_16000" / f"{clip['video']}.wav")
        chunks = mel_chunks(wave.cut(clip["start_s"], clip["end_s"]), 16_000)
        # Another process computed it, which may have other threads and other routines for products and FFTs.
        assert_close(example["mel"], chunks)
        frames = int(np.ceil((clip["end_s"] - clip["start_s"]) / 0.5 - 1e-6))
        np.testing.assert_allclose(example["frame_ms"], 500 * np.arange(frames), atol=0.1)
        assert example["face_found"].all()
        assert example["faces"].shape == (frames, 48, 48, 3)
    assert checked >= 6


def test_splits_are_by_video_and_the_metadata_counts_them(prepared: Path) -> None:
    examples = read_examples(prepared)
    metadata: Any = tfds.builder_from_directory(prepared).info.metadata

    sides: dict[str, set[str]] = {}
    for example in examples.values():
        sides.setdefault(example["dialogue_id"].decode(), set()).add(example["split"])
    assert all(len(found) == 1 for found in sides.values())
    for split in ("train", "valid", "test"):
        stored = [example for example in examples.values() if example["split"] == split]
        counts = metadata["splits"][split]
        assert counts["utterances"] == len(stored) > 0
        assert counts["frames"] == [len(example["faces"]) for example in stored]
        assert counts["chunks"] == [len(example["mel"]) for example in stored]
        assert counts["tokens"] == [len(example["token_ids"]) for example in stored]
        assert counts["positives"] == np.sum([example["label"] for example in stored], axis=0).tolist()


def test_metadata_describes_settings_and_tokenizer(prepared: Path) -> None:
    metadata: Any = dict(tfds.builder_from_directory(prepared).info.metadata or {})

    tokenizer = metadata.pop("tokenizer")
    metadata.pop("splits")
    assert metadata == {
        "format_version": 2,
        "kind": "media",
        "dataset": "mini",
        "label_names": LABELS,
        "frame_interval_ms": 500,
        "face_size": 48,
        "face_choice": "tracked",
        "sample_rate": 16_000,
        "mel": {
            "n_fft": 400,
            "win_length": 400,
            "hop_length": 200,
            "n_mels": 128,
            "chunk_frames": 32,
            "power": 2.0,
        },
    }
    assert tokenizer["name"] == "mini-bpe"
    assert tokenizer["vocab_size"] == len(AutoTokenizer.from_pretrained(prepared / "tokenizer")) <= 1000
    assert (tokenizer["pad_id"], tokenizer["cls_id"], tokenizer["sep_id"]) == (0, 2, 3)


def test_the_tokenizer_has_seen_training_transcripts_only(prepared: Path) -> None:
    examples = read_examples(prepared).values()
    training = [e["transcript"].decode() for e in examples if e["split"] == "train"]

    vocabulary = AutoTokenizer.from_pretrained(prepared / "tokenizer").get_vocab()

    assert vocabulary == train_mini(training).tokenizer.get_vocab()


@pytest.mark.slow
def test_one_process_writes_the_same_bytes_as_two(release: Path, prepared: Path, tmp_path: Path) -> None:
    prepare(release, tmp_path / "again", Settings(), processes=1, console=quiet())

    names = sorted(str(p.relative_to(prepared)) for p in prepared.rglob("*") if p.is_file())
    again = sorted(str(p.relative_to(tmp_path / "again")) for p in (tmp_path / "again").rglob("*") if p.is_file())
    assert "tokenizer/tokenizer.json" in names
    assert "report.json" in names
    assert names == again
    assert filecmp.cmpfiles(prepared, tmp_path / "again", names, shallow=False)[1:] == ([], [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again"]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_writes_the_same_bytes(
    release: Path, prepared: Path, tmp_path: Path
) -> None:
    out, spool = tmp_path / "again", tmp_path / ".again.partial"
    command = [sys.executable, "-m", "data_tools.prepare", f"--raw={release}", f"--out={out}", "--processes=1"]
    for videos in (1, 3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 600
            try:
                while len(list(spool.glob("*.json"))) < videos:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            finally:
                process.kill()
        assert not out.exists()
    text = io.StringIO()

    prepare(release, out, Settings(), processes=1, console=PlainConsole(file=text, width=200))

    assert "Continuing an interrupted preparation: " in text.getvalue()
    names = sorted(str(p.relative_to(prepared)) for p in prepared.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file())
    assert filecmp.cmpfiles(prepared, out, names, shallow=False)[1:] == ([], [])
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_a_dry_run_says_what_would_be_used_and_writes_nothing(release: Path, prepared: Path, tmp_path: Path) -> None:
    text = io.StringIO()
    before = sorted(release.rglob("*"))

    report = dry_run(release, Settings(), console=PlainConsole(file=text, width=200))

    final = json.loads((prepared / "report.json").read_text())
    # Only opening the media shows what lies past their end.
    past_end = {entry["id"] for entry in final["reasons"]["past_end"]["utterances"]}
    assert set(report.kept) == set(read_examples(prepared)) | past_end
    assert {f.id for f in report.findings if f.reason == "no_wav"} == ids_by_reason(prepared)["no_wav"]
    assert {f.id for f in report.findings if f.reason == "no_video"} == ids_by_reason(prepared)["no_video"] | past_end
    assert "no media are decoded" in text.getvalue()
    assert re.search(r"train: \d+ utterances, \d+ s", text.getvalue())
    assert sorted(release.rglob("*")) == before


def test_too_many_losses_fail_but_keep_the_records(release: Path, tmp_path: Path) -> None:
    video = next(iter(read_truth(release)["awkward"]["label_without_transcript"])).split("___")[0]
    for folder in ("Videos/Full/Combined", "Audio/WAV_16000", "Transcript/Combined"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        for path in (release / folder).glob(f"{video}.*"):
            shutil.copy(path, tmp_path / "raw" / folder)
    # The labels are of all videos: nearly all of them are lost.
    shutil.copytree(release / "Labels", tmp_path / "raw" / "Labels")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "data_tools.prepare", f"--raw={tmp_path / 'raw'}", f"--out={out}"]

    run = subprocess.run([*command, "--processes=1"], capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert re.search(r"were dropped, \d\d% of all, expected at most 20%.*--max_dropped=0\.\d", run.stderr)
    assert "Traceback" not in run.stderr
    assert len(read_examples(out)) == 3


def copy_of_one_video(release: Path, root: Path) -> str:
    """A release of one video, in which all media are broken."""
    video = sorted((release / "Videos/Full/Combined").glob("*.mp4"))[0].stem
    for folder in ("Videos/Full/Combined", "Audio/WAV_16000", "Transcript/Combined"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(release / "Labels", root / "Labels")
    shutil.copy(release / "Transcript/Combined" / f"{video}.txt", root / "Transcript/Combined")
    (root / "Videos/Full/Combined" / f"{video}.mp4").write_bytes(b"broken")
    (root / "Audio/WAV_16000" / f"{video}.wav").write_bytes(b"broken")
    return video


def test_nothing_usable_is_an_error_and_writes_nothing(release: Path, tmp_path: Path) -> None:
    video = copy_of_one_video(release, tmp_path / "raw")
    text = io.StringIO()

    with pytest.raises(PrepareError, match=r"No utterance of .* is usable, so nothing was written"):
        prepare(tmp_path / "raw", tmp_path / "out", Settings(), processes=1, console=PlainConsole(file=text, width=200))

    assert "no_media" in text.getvalue()
    assert f"{video}_0" in text.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_mosei_takes_a_given_tokenizer_split_files_and_the_videos_own_sound(
    release: Path, prepared: Path, tmp_path: Path
) -> None:
    no_wav, *others = sorted(read_truth(release)["awkward"]["wav_missing"]) + sorted(
        read_truth(release)["awkward"]["wav_length_differs"]
    )
    root = tmp_path / "raw"
    for folder in ("Videos/Full/Combined", "Audio/WAV_16000", "Transcript/Combined"):
        (root / folder).mkdir(parents=True)
        for video in (no_wav, *others):
            for path in (release / folder).glob(f"{video}.*"):
                shutil.copy(path, root / folder)
    shutil.copytree(release / "Labels", root / "Labels")
    files = tmp_path / "files"
    files.mkdir()
    (files / "train_split.txt").write_text(f"{others[0]}\n{no_wav}_0\n")
    (files / "valid_split.txt").write_text(f"{no_wav}_1\n")
    (files / "test_split.txt").write_text("")
    settings = Settings(
        dataset="mosei",
        tokenizer=str(prepared / "tokenizer"),
        splits=files,
        frame_interval_ms=250,
        audio_from_video=True,
    )

    report = prepare(root, tmp_path / "out", settings, processes=1, console=quiet())

    examples = read_examples(tmp_path / "out")
    assert examples[f"{no_wav}_0"]["split"] == "train"
    assert examples[f"{no_wav}_1"]["split"] == "valid"
    assert len(examples[f"{no_wav}_0"]["mel"]) > 0
    assert examples[f"{no_wav}_0"]["frame_ms"][:3].tolist() == [0, 250, 500]
    reasons = ids_by_reason(tmp_path / "out")
    assert f"{no_wav}_0" in reasons["audio_from_video"]
    assert all(name.startswith(f"{no_wav}_") for name in reasons.get("not_in_splits", set()))
    assert any("more than one split" in warning and no_wav in warning for warning in report.warnings)
    assert any("The split test is empty" in warning for warning in report.warnings)
    assert filecmp.cmp(prepared / "tokenizer/tokenizer.json", tmp_path / "out/tokenizer/tokenizer.json", False)
    metadata: Any = tfds.builder_from_directory(tmp_path / "out").info.metadata
    assert metadata["dataset"] == "mosei"
    assert metadata["tokenizer"]["name"] == "tokenizer"
