"""What each kind of media file yields in a prediction: the input of the model, notes, or a refusal."""

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from mme2e_jax.batch import Batch
from mme2e_jax.errors import UserError
from mme2e_jax.media.findings import REASONS
from mme2e_jax.predict.clip_reader import ClipReader
from mme2e_jax.predict.model import ClipModel, ClipOutput
from mme2e_jax.predict.predictor import Predictor
from mme2e_jax.predict.table import predictions_table
from mme2e_jax.runtime.console import PlainConsole
from tests.helpers.media import rotate, write_frames
from tests.helpers.media_cases import CASES, Case, SoundTrack, make, write


def count_inputs(batch: Batch) -> list[ClipOutput]:
    """Logits that add up the frames and the chunks."""
    counts = zip(batch.frame_count[0], batch.chunk_count[0], strict=True)
    each_row = [{"v": np.array([frames], np.float32), "a": np.array([chunks], np.float32)} for frames, chunks in counts]
    return [ClipOutput(added["v"] + added["a"], added, kept={}) for added in each_row]


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    """One process reads all files, for a model that counts."""
    model = ClipModel(
        source="a model that counts",
        digest="0",
        step=0,
        name="mme2e",
        label_names=("inputs",),
        thresholds={},
        loss="bce",
        modalities="av",
        sparse_threshold=None,
        preprocessing={},
        text_max_len=1,
        mask_absent=False,
        dataset="clips",
        load_encoder=None,
        infer=count_inputs,
    )
    with Predictor(model, ClipReader()) as predictor:
        yield predictor


def meaning(reason: str) -> str:
    """The start of the note on a finding."""
    return "No sound" if reason == "no_wav" else REASONS[reason][1].removesuffix(".").removesuffix(" (features: zeros)")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_prediction_is_of_what_a_file_shows_and_notes_what_is_missing(
    case: Case, tmp_path: Path, predictor: Predictor
) -> None:
    path = make(case, tmp_path)

    if case.refusal:
        with pytest.raises(UserError, match=case.refusal):
            predictor(path)
        return
    (utterance,) = predictor(path).utterances

    assert (utterance.frames, utterance.chunks) == (len(case.levels), case.chunks)
    assert utterance.logits == {"inputs": len(case.levels) + case.chunks}
    assert utterance.evidence is not None
    np.testing.assert_allclose(utterance.evidence.faces.mean((1, 2, 3)), case.levels, atol=3)
    expected = {meaning(reason) for reason in (*case.findings, *(["no_face"] if case.levels else []))}
    assert {note.partition(":")[0].removesuffix(".") for note in utterance.notes} == expected


@pytest.mark.parametrize("suffix", ["mp4", "wav"])
def test_names_and_words_that_are_not_utf8_are_predicted_and_written(
    suffix: str, tmp_path: Path, predictor: Predictor
) -> None:
    path = tmp_path / f"caf\udce9.{suffix}"
    write(tmp_path / f"a.{suffix}", SoundTrack(codec="aac" if suffix == "mp4" else "pcm_s16le"))
    (tmp_path / f"a.{suffix}").rename(path)

    prediction = predictor(path, "caf\udce9")
    files = prediction.write(tmp_path / "out\udce9")

    assert json.loads(files[0].read_text(encoding="utf-8"))["clip"] == f"caf\ufffd.{suffix}"
    assert all("caf\ufffd" in file.read_text(encoding="utf-8") for file in files if file.stem == "predictions")
    console = PlainConsole(file=io.StringIO())
    console.print(predictions_table(prediction, 110))


def test_pictures_that_lie_on_their_side_are_turned(tmp_path: Path, predictor: Predictor) -> None:
    frames = np.zeros((5, 48, 64, 3), np.uint8)
    frames[:, :24] = 200
    write_frames(tmp_path / "a.mp4", frames)
    rotate(tmp_path / "a.mp4", 90)

    (utterance,) = predictor(tmp_path / "a.mp4").utterances

    assert utterance.evidence is not None
    # Clockwise: the upper half is now on the right.
    left, right = np.split(utterance.evidence.faces[0].mean((0, 2)), 2)
    assert left.mean() < 20
    assert right.mean() > 180


def test_a_warm_up_runs_the_program_of_each_shape_and_the_face_detector(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def infer(batch: Batch) -> list[ClipOutput]:
        ran.append(f"{batch.token_count.shape[1]} rows")
        return count_inputs(batch)

    monkeypatch.setattr(ClipReader, "warm_up", lambda _: ran.append("faces"))
    cold = Predictor(dataclasses.replace(predictor.model, infer=infer), predictor._reader)

    cold.warm_up(3.0)
    assert sorted(ran) == ["8 rows", "faces"]
    cold.warm_up(timed=True)
    assert sorted(ran) == ["1 rows", "8 rows", "faces", "faces"]


def test_a_face_at_the_side_is_found_and_its_box_is_a_share_of_the_picture(
    tmp_path: Path, predictor: Predictor
) -> None:
    pictures = np.full((20, 480, 1280, 3), 128, np.uint8)
    pictures[:10, 40:440, :400] = cv2.resize(data.astronaut(), (400, 400), interpolation=cv2.INTER_AREA)
    write_frames(tmp_path / "a.mp4", pictures)

    frames = predictor(tmp_path / "a.mp4", window=1.0, hop=0.5).frames

    assert [frame.time for frame in frames] == [0.0, 0.5, 1.0, 1.5]
    left, top, right, bottom = 175 * 400 / 512, 40 + 60 * 400 / 512, 270 * 400 / 512, 40 + 180 * 400 / 512
    for frame in frames[:2]:
        # By eye, so that the box may differ by a tenth of the face.
        assert frame.box == pytest.approx((left / 1280, top / 480, right / 1280, bottom / 480), abs=0.025)
    assert [frame.box for frame in frames[2:]] == [None, None]
    deaf = Predictor(dataclasses.replace(predictor.model, modalities="a"), predictor._reader)
    assert deaf(tmp_path / "a.mp4").frames == ()
