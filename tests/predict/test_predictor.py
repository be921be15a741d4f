"""Prediction on clips: same logits as prepared records, notes on incomplete clips, and refusals."""

import csv
import dataclasses
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mme2e_jax import Predictor
from mme2e_jax.batch import Batch
from mme2e_jax.commands.export import export_to_hub_layout
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation.inference import infer_batch
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.predict.batching import Capacity, ModelInput, make_batch
from mme2e_jax.predict.clip_reader import ClipReader
from mme2e_jax.predict.clip_stream import ClipRequest
from mme2e_jax.predict.results import Prediction
from mme2e_jax.predict.run_model import clip_model
from mme2e_jax.runs.load import load_run
from tests.helpers.clip_run import SIZE, THRESHOLDS, WORDS, levels, make_clip_run, write_clips
from tests.helpers.media import tone, write_video, write_wav
from tests.helpers.runs import run as launched


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def workdir(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_run(release, tmp_path_factory.mktemp("predictor"))


@pytest.fixture(scope="module")
def predictor(workdir: Path) -> Iterator[Predictor]:
    with Predictor.from_workdir(workdir) as predictor:
        yield predictor


def test_logits_are_those_of_prepared_records(release: Path, workdir: Path, predictor: Predictor) -> None:
    (release / "v5.txt").write_text("v5___0___1.25___4.5___nine ten one\n")

    whole = predictor(release / "v4.mp4", WORDS[4])
    cue = predictor(release / "v5.mp4", transcript_file=release / "v5.txt")

    run = load_run(workdir)
    dataset = open_dataset(run.config.data.dir, "clips")
    batches = BatchLoader(dataset, batch_size=8, text_max_len=16, seed=0, epochs=0, max_shapes=1, groups=1)
    (batch,) = batches.evaluation("test")

    def evaluated(batch: Batch) -> np.ndarray:
        with run.model.mesh.active():
            return np.asarray(infer_batch(run.model.state, run.model.mesh.put_batch(batch)).logits)[0]

    together = evaluated(batch)
    faces = np.split(batch.faces[0], np.cumsum(batch.frame_count))
    mel = np.split(batch.mel[0], np.cumsum(batch.chunk_count))
    for b, place in enumerate(batch.example[0]):
        if place < 0:
            continue
        (utterance,) = (whole, cue)[place].utterances
        assert utterance.evidence is not None
        np.testing.assert_array_equal(utterance.evidence.faces, faces[b])
        np.testing.assert_array_equal(utterance.evidence.mel, mel[b])
        ids = batch.token_ids[0, b, : batch.token_count[0, b]]
        alone = evaluated(make_batch([ModelInput(ids, faces[b], mel[b])], 1, 16, Capacity.of_window(400, 10.0), 2))[0]
        logits = list(utterance.logits.values())
        np.testing.assert_array_equal(logits, alone)
        # Batches of another shape round differently, and a site at the edge of the threshold may move in or out.
        # Weights moved by 1e-7 do the same and change these logits by up to 5e-6.
        np.testing.assert_allclose(logits, together[b], rtol=0, atol=5e-5)


def test_contributions_add_up_and_decisions_are_by_the_stored_thresholds(release: Path, predictor: Predictor) -> None:
    (utterance,) = predictor(release / "v4.mp4", WORDS[4]).utterances

    for name in ("calm", "tense"):
        added = sum(utterance.contributions[m][name] for m in "tva")
        assert added == pytest.approx(utterance.logits[name], abs=1e-5)
        assert utterance.scores[name] == pytest.approx(1 / (1 + math.exp(-utterance.logits[name])))
        assert (name in utterance.decided) == (utterance.scores[name] > THRESHOLDS[name])
    assert sum(utterance.shares.values()) == pytest.approx(1.0)


def test_the_regions_that_the_first_stage_keeps_are_those_of_all_stages(release: Path, predictor: Predictor) -> None:
    (utterance,) = predictor(release / "v4.mp4", WORDS[4]).utterances

    evidence = utterance.evidence
    assert evidence is not None
    for m, images, (h, w) in (("v", utterance.frames, (24, 24)), ("a", utterance.chunks, (64, 16))):
        for stage, kept in enumerate(evidence.kept[m]):
            side = 4 >> stage
            regions = kept.reshape(images, h // 4, side, w // 4, side)
            assert (regions.all((2, 4)) == regions.any((2, 4))).all()
            np.testing.assert_array_equal(regions.any((2, 4)), evidence.kept[m][-1])
        count = evidence.kept[m][-1].sum((1, 2))
        # At threshold 0.5; one more for rounding.
        assert (count >= 1).all()
        assert (count <= np.ceil(0.5 * (h // 4) * (w // 4)) + 1).all()


def test_a_long_clip_is_cut_into_windows_and_a_silent_one_has_notes(tmp_path: Path, predictor: Predictor) -> None:
    write_video(tmp_path / "a.mp4", levels(21, 9), size=SIZE)

    prediction = predictor(tmp_path / "a.mp4")

    assert [(u.start, u.end) for u in prediction.utterances] == [(0, 7), (7, 14), (14, 21)]
    assert [u.frames for u in prediction.utterances] == [18, 18, 18]
    assert any("text input is empty" in note for note in prediction.notes)
    for utterance in prediction.utterances:
        assert utterance.chunks == 0
        assert utterance.shares["a"] == 0
        assert any("no sound track" in note for note in utterance.notes)
        assert any("No face in any frame" in note for note in utterance.notes)


def test_a_model_that_masks_absent_modalities_leaves_out_frames_without_faces_and_silent_sound(
    tmp_path: Path, predictor: Predictor
) -> None:
    write_video(tmp_path / "tone.mp4", levels(2, 1), size=SIZE, wave=tone(2.0))
    write_wav(tmp_path / "silent.wav", np.zeros(32_000))
    write_video(tmp_path / "nothing.mp4", levels(2, 1), size=SIZE)
    masking = Predictor(dataclasses.replace(predictor.model, mask_absent=True), predictor._reader)

    (heard,) = masking(tmp_path / "tone.mp4", "one two").utterances
    (read,) = masking(tmp_path / "silent.wav", "one two").utterances

    assert (heard.frames, heard.chunks > 0) == (0, True)
    assert heard.notes == ("5 of 5 frames show no face and were left out.",)
    assert heard.shares["v"] == 0
    assert heard.evidence is not None
    assert len(heard.evidence.faces) == len(heard.evidence.face_found) == 0
    assert (read.frames, read.chunks) == (0, 0)
    assert read.notes == ("The sound is silent and was left out.",)
    assert read.shares == {"t": 1.0, "v": 0.0, "a": 0.0}
    with pytest.raises(UserError, match=r"show no face and were left out\. Nothing is left to predict from"):
        masking(tmp_path / "nothing.mp4")


def test_windows_that_overlap_have_the_scores_of_their_own_times(release: Path, predictor: Predictor) -> None:
    clip = release / "v5.mp4"  # 7 s

    sliding = predictor(clip, "one two", window=3.0, hop=1.0)

    assert [(u.start, u.end) for u in sliding.utterances] == [(0, 3), (1, 4), (2, 5), (3, 6), (4, 7)]
    (release / "times.srt").write_text("1\n00:00:02,000 --> 00:00:05,000\none two\n")
    (alone,) = predictor(clip, transcript_file=release / "times.srt").utterances
    window = sliding.utterances[2]
    assert (window.frames, window.chunks, window.tokens) == (alone.frames, alone.chunks, alone.tokens)
    assert window.evidence is not None
    assert alone.evidence is not None
    np.testing.assert_array_equal(window.evidence.faces, alone.evidence.faces)
    np.testing.assert_array_equal(window.evidence.mel, alone.evidence.mel)

    # The same inputs. Batches of another shape round differently, and every site at the edge of the sparse threshold
    # that moves in or out moves a logit by about 1e-5.
    np.testing.assert_allclose(list(window.logits.values()), list(alone.logits.values()), rtol=0, atol=1e-3)
    assert [m.start for m in sliding.timeline()] == list(range(7))
    first, last = sliding.timeline()[0], sliding.timeline()[-1]
    assert first.scores == sliding.utterances[0].scores
    assert last.scores == sliding.utterances[-1].scores
    with pytest.raises(UserError, match=r"Expected a window of 0\.1 to 120 .* found 3 and 4"):
        predictor(clip, window=3.0, hop=4.0)


def test_faces_are_chosen_as_for_the_data_of_the_model_unless_a_choice_is_given(
    release: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, choices = predictor._reader.read, []

    def noted(clip: Any, cues: Any, settings: Any, *more: Any) -> Any:
        choices.append(settings["face_choice"])
        return read(clip, cues, settings, *more)

    monkeypatch.setattr(predictor._reader, "read", noted)

    predictor(release / "v4.mp4", WORDS[4])
    predictor(release / "v4.mp4", WORDS[4], face_choice="central")

    assert choices == ["tracked", "central"]
    with pytest.raises(UserError, match=r"one of tracked, most_probable, .*, found 'nearest'"):
        predictor(release / "v4.mp4", WORDS[4], face_choice="nearest")


def test_a_sound_file_has_no_faces(tmp_path: Path, predictor: Predictor) -> None:
    write_wav(tmp_path / "a.wav", tone(1.5))

    (utterance,) = predictor(tmp_path / "a.wav", "one two").utterances

    assert (utterance.frames, utterance.chunks) == (0, 4)  # 121 mel frames
    assert utterance.shares["v"] == 0


def test_a_clip_read_in_parts_gives_the_same_logits(
    tmp_path: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "a.mp4", levels(25, 3), size=SIZE, wave=tone(25.0))
    whole = predictor(tmp_path / "a.mp4", "one")
    monkeypatch.setattr("mme2e_jax.predict.clip_reader._PART_SECONDS", 9.0)

    parts = predictor(tmp_path / "a.mp4", "one")

    assert [u.logits for u in parts.utterances] == [u.logits for u in whole.utterances]
    assert len(parts.utterances) == 3

    # Windows that overlap end in one part and go on in the next.
    sliding = predictor(tmp_path / "a.mp4", "one", window=4.0, hop=2.0)
    monkeypatch.undo()
    again = predictor(tmp_path / "a.mp4", "one", window=4.0, hop=2.0)

    assert [u.logits for u in sliding.utterances] == [u.logits for u in again.utterances]
    assert [u.start for u in sliding.utterances] == [2.0 * k for k in range(12)]


def test_ten_thousand_words_are_cut_where_training_cuts_them(release: Path, predictor: Predictor) -> None:
    (utterance,) = predictor(release / "v4.mp4", "one two " * 5000).utterances

    assert utterance.tokens == 16
    assert any("tokens longer than the model reads" in note for note in utterance.notes)


def test_a_cue_after_the_end_is_left_out_and_named(release: Path, tmp_path: Path, predictor: Predictor) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\none\n\n2\n00:01:00,000 --> 00:01:02,000\ntwo\n")

    prediction = predictor(release / "v4.mp4", transcript_file=path)

    assert [u.transcript for u in prediction.utterances] == ["one"]
    assert any(note.startswith("60.00 s to 62.00 s was left out.") for note in prediction.notes)


def test_the_files_agree(release: Path, tmp_path: Path, predictor: Predictor) -> None:
    prediction = predictor(release / "v4.mp4", "one <b>two</b>")

    paths = prediction.write(tmp_path / "out")

    assert [path.name for path in paths] == ["predictions.json", "predictions.csv", "timeline.csv", "predictions.html"]
    stored = json.loads(paths[0].read_text())
    (utterance,) = prediction.utterances
    assert stored["utterances"][0]["scores"] == utterance.scores
    assert stored["utterances"][0]["shares"]["faces"] == utterance.shares["v"]
    with paths[1].open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["calm"]) == pytest.approx(utterance.scores["calm"], rel=1e-5)
    assert bool(int(row["tense_decided"])) == ("tense" in utterance.decided)
    assert row["transcript"] == "one <b>two</b>"


def test_a_shared_model_predicts_what_its_run_predicts(
    release: Path, workdir: Path, predictor: Predictor, tmp_path: Path
) -> None:
    directory = export_to_hub_layout(workdir, tmp_path / "model")
    (expected,) = predictor(release / "v4.mp4", WORDS[4]).utterances

    prediction = Predictor.from_pretrained(directory, predictor._reader)(release / "v4.mp4", WORDS[4])

    assert prediction.run == str(directory)
    assert [u.logits for u in prediction.utterances] == [expected.logits]
    assert prediction.utterances[0].decided == expected.decided
    assert prediction.utterances[0].evidence is not None


def test_logits_that_are_not_finite_are_refused(release: Path, workdir: Path) -> None:
    run = load_run(workdir, devices=1)
    arrays = run.model.state.variables.arrays()
    # Finite, but their products are not.
    huge = {path: np.full(value.shape, 3e38, np.float32) for path, value in arrays.items() if path.startswith("heads/")}
    # Placed as the run's own, so that the program is the same.
    variables = run.model.mesh.put_replicated(run.model.state.variables.with_arrays(arrays | huge))
    state = dataclasses.replace(run.model.state, variables=variables)
    model = clip_model(run._replace(model=dataclasses.replace(run.model, state=state)), workdir)

    with (
        Predictor(model, ClipReader()) as broken,
        pytest.raises(UserError, match="Expected finite logits of the model"),
    ):
        broken(release / "v4.mp4", WORDS[4])


def write_nothing(path: Path) -> None:
    """A video with an empty picture track."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        container.start_encoding()


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        (
            "a.mp4",
            lambda p: p.write_text("no video"),
            r"^Expected a video or sound file that FFmpeg reads.*Invalid data",
        ),
        ("a.mp4", lambda p: p.write_bytes(b""), r"^Expected a video or sound file, found an empty file at .*a\.mp4"),
        ("a.mp4", lambda p: p.mkdir(), r"^Expected a video or sound file, found a directory"),
        ("a.mp4", lambda p: None, r"found nothing"),
        ("a.mkv", write_nothing, r"End of file"),
        ("a.mp4", write_nothing, r"^Expected pictures or sound in .*found neither"),
    ],
)
def test_an_invalid_clip_is_refused(name: str, write, message: str, tmp_path: Path, predictor: Predictor) -> None:
    write(tmp_path / name)

    with pytest.raises(UserError, match=message):
        predictor(tmp_path / name)


def test_a_missing_or_different_tokenizer_is_refused(workdir: Path, tmp_path: Path) -> None:
    train_mini(["other words altogether"] * 2).save(tmp_path / "other")

    loaded = load_run(workdir, devices=1)

    with pytest.raises(UserError, match=r"--tokenizer: .* is not the tokenizer that the run's data were prepared with"):
        clip_model(loaded, workdir, tokenizer=tmp_path / "other")
    with pytest.raises(UserError, match=r"--tokenizer: expected a directory with tokenizer\.json"):
        clip_model(loaded, workdir, tokenizer=tmp_path)


def test_several_clips_are_predicted_as_each_alone(release: Path, tmp_path: Path, predictor: Predictor) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    requests = [
        ClipRequest(release / "v4.mp4", WORDS[4]),
        ClipRequest(tmp_path / "bad.mp4"),
        ClipRequest(release / "v5.mp4", WORDS[5]),
    ]

    first, failed, last = predictor.predict_each(requests)

    assert isinstance(failed, UserError)
    for prediction, clip, words in ((first, "v4.mp4", WORDS[4]), (last, "v5.mp4", WORDS[5])):
        assert isinstance(prediction, Prediction)
        assert [u.logits for u in prediction.utterances] == [
            u.logits for u in predictor(release / clip, words).utterances
        ]
    assert list(predictor.predict_each([])) == []


@pytest.mark.slow
def test_the_command_predicts_a_folder_and_goes_on_where_it_was_stopped(
    release: Path, workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b/v4.mp4", "a/v4.mp4", "v5.mp4"):
        (tmp_path / "clips" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(release / Path(name).name, tmp_path / "clips" / name)
    (tmp_path / "clips" / "bad.mp4").write_text("no video")
    (tmp_path / "clips" / "v5.txt").write_text(WORDS[5])
    command = ("--mode=predict", f"--workdir={workdir}", f"--output_dir={tmp_path / 'out'}")

    launched(*command, f"--input={tmp_path / 'clips' / '[ab]' / '*.mp4'}")
    launched(*command, f"--input={tmp_path / 'clips'}", "--window=0")

    assert "Predicted 3 of 4 files" in capsys.readouterr().out
    launched(*command, f"--input={tmp_path / 'clips'}", "--window=0")
    assert "Predicted 3 of 4 files, 3 of them before. 1 failed" in capsys.readouterr().out
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["bad.mp4", "v5.mp4", "a/v4.mp4", "b/v4.mp4"]
    assert rows[1]["transcript"] == WORDS[5]
    assert {**rows[2], "file": ""} == {**rows[3], "file": ""}
    assert "Invalid data" in rows[0]["notes"]
    assert (tmp_path / "out" / "a" / "v4.mp4" / "predictions.html").is_file()


def test_the_command_writes_to_its_output_and_refuses_invalid_flags(
    release: Path, workdir: Path, tmp_path: Path
) -> None:
    predict = ("--mode=predict", f"--workdir={workdir}")
    clip = (f"--input={release / 'v4.mp4'}", "--window=0", "--transcript=six two")
    launched(*predict, *clip, f"--output_dir={tmp_path / 'out'}")

    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["clip"] == "v4.mp4"
    for arguments, message in [
        (predict, "Expected --workdir=RUN, --input=FILE"),
        ((*predict, "--input=absent.mp4"), "found nothing at 'absent.mp4'"),
        (("--mode=predict", "--workdir=absent", f"--input={release / 'v4.mp4'}"), "absent does not exist"),
        (
            (*predict, f"--input={release / 'v4.mp4'}", "--config=configs/mini_sparse.py"),
            r"--config is not a flag .* leave out --config",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            launched(*arguments)
