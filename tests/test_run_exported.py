"""Prediction with exported models, in processes that cannot import the model code."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from configs import mini_dense
from mme2e_jax import Predictor
from mme2e_jax.commands.export import export_run
from mme2e_jax.commands.main import main
from mme2e_jax.errors import UserError
from tests.export.test_program import checkpoint_outputs
from tests.helpers.exports import MODEL_CODE, REPOSITORY, make_run, run_without
from tests.helpers.media import tone, write_video, write_wav

AS_A_PROGRAM = """
import runpy
runpy.run_module("mme2e_jax.run_exported", run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("dense") / "run", mini_dense)


@pytest.fixture(scope="module")
def exported(workdir: Path) -> Path:
    return export_run(workdir)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "film.mp4"
    levels = np.random.default_rng(0).integers(0, 256, 110).tolist()
    write_video(path, levels, size=(160, 120), wave=tone(11.0))
    return path


@pytest.mark.slow
def test_an_exported_model_predicts_what_its_run_predicts(
    workdir: Path, exported: Path, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = [str(exported), str(clip), "--transcript=one two <3", f"--output_dir={out}"]

    process = run_without(MODEL_CODE, AS_A_PROGRAM, *arguments)

    assert process.returncode == 0, process.stderr
    assert re.search(r"0:00\.0.*one two <3", process.stdout)
    assert "an exported model does not report its kept sites" in process.stdout
    assert sorted(path.name for path in out.iterdir()) == ["predictions.csv", "predictions.json", "timeline.csv"]
    with Predictor.from_workdir(workdir) as predictor:
        prediction = predictor(clip, "one two <3", window=3.0)
    expected, found = prediction.to_json(), json.loads((out / "predictions.json").read_text())
    assert found["run"] == str(exported)
    assert found["thresholds"] == expected["thresholds"]
    starts = [u["start"] for u in found["utterances"]]
    assert starts == [u["start"] for u in expected["utterances"]]
    assert starts[:3] == [0, 0.5, 1]
    for a, b in zip(found["utterances"], expected["utterances"], strict=True):
        assert a["logits"] == pytest.approx(b["logits"], abs=1e-5)
        assert a["shares"] == pytest.approx(b["shares"], abs=1e-4)
        assert (a["tokens"], a["frames"], a["notes"]) == (b["tokens"], b["frames"], list(b["notes"]))


def test_the_same_in_python(exported: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(1.5))

    with Predictor.from_exported(exported) as predictor:
        (utterance,) = predictor(tmp_path / "a.wav", "one two").utterances

    assert (utterance.frames, utterance.chunks, utterance.evidence) == (0, 4, None)
    assert sum(utterance.shares.values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_the_pages_program_needs_nothing_of_this_one(workdir: Path, exported: Path, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "export.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    assert 'ZipFile("model.mme2e")' in program
    named = program.replace("model.mme2e", str(exported))
    saved = "from safetensors.numpy import save_file\nsave_file(batch | {'said': np.asarray(logits)}, sys.argv[1])\n"

    process = run_without((*MODEL_CODE, "mme2e_jax", "data_tools"), named + saved, str(tmp_path / "said"))

    assert process.returncode == 0, process.stderr
    assert "anger" in process.stdout
    batch = load_file(tmp_path / "said")
    said = batch.pop("said")
    np.testing.assert_allclose(said, checkpoint_outputs(workdir, batch)["logits"], rtol=0, atol=1e-5)


def flags_of(*arguments: str) -> list[str]:
    names = iter(("--model=", "--input="))
    return [a if a.startswith("-") else next(names) + a for a in arguments]


def test_what_cannot_be_used_is_refused_at_once(exported: Path, clip: Path, tmp_path: Path) -> None:
    cues = tmp_path / "film.txt"
    cues.write_text("no cues")
    for arguments, message in [
        ((), "Expected --model=FILE, --input=FILE .*; missing: --model=FILE, --input=FILE"),
        ((str(exported),), "Expected --model=FILE, --input=FILE .*; missing: --input=FILE"),
        ((str(exported), str(clip), "--out=x"), "--out is not a flag of --mode=run_exported"),
        ((str(exported), "absent.mp4"), "found nothing at 'absent.mp4'"),
        (("absent.mme2e", str(clip)), "Expected an exported model, found nothing at 'absent.mme2e'"),
        ((str(tmp_path), str(clip)), "Expected an exported model, found a directory"),
        ((str(clip), str(clip)), r"film\.mp4 is damaged, was edited, or is no such model"),
        ((str(exported), str(clip), f"--transcript_file={cues}"), "film.txt, line 1"),
        ((str(exported), str(clip), f"--transcript_file={exported}"), "invalid byte .*mme2e. Save it as UTF-8"),
    ]:
        with pytest.raises(UserError, match=message):
            main(["launch.py", "--mode=run_exported", *flags_of(*arguments)], None)
