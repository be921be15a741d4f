"""Where predictions are written."""

from pathlib import Path

import pytest

from mme2e_jax.commands.predict import ClipArguments, output_directory
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.files import write_json
from tests.helpers.runs import run


def write(directory: Path, clip: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / "predictions.json", {"path": str(clip.absolute())})


def test_clips_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    clips = [tmp_path / "a" / "clip.mp4", tmp_path / "b" / "clip.wav", tmp_path / "c" / "clip.mp4"]
    for clip, name in zip(clips, ("clip", "clip-2", "clip-3"), strict=True):
        directory = output_directory(tmp_path / "out", clip)
        assert directory == tmp_path / "out" / name
        write(directory, clip)

    assert [output_directory(tmp_path / "out", clip).name for clip in clips] == ["clip", "clip-2", "clip-3"]


@pytest.mark.parametrize(
    ("clip", "name"), [("...mp4", "clip"), ("..", "clip"), ("x\n/y\\z|.mp4", "y_z_"), ("my film.mp4", "my film")]
)
def test_no_name_leads_elsewhere(clip: str, name: str, tmp_path: Path) -> None:
    assert output_directory(tmp_path, Path(clip)) == tmp_path / name


def test_the_choice_of_a_face_is_a_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    clips: list[ClipArguments] = []
    monkeypatch.setattr("mme2e_jax.commands.predict.predict_clip", lambda workdir, clip, tokenizer: clips.append(clip))
    monkeypatch.setattr("mme2e_jax.commands.predict.predict_exported", lambda model, clip: clips.append(clip))

    run("--mode=predict", "--workdir=r", "--input=a.mp4", "--face_choice=central")
    run("--mode=run_exported", "--model=m", "--input=a.mp4", "--face_choice=largest")
    run("--mode=predict", "--workdir=r", "--input=a.mp4", "--output_dir=o")

    assert [(clip.face_choice, clip.output_dir) for clip in clips] == [
        ("central", None),
        ("largest", None),
        (None, "o"),
    ]
    with pytest.raises(UserError, match="face_choice"):
        run("--mode=predict", "--workdir=r", "--input=a.mp4", "--face_choice=nearest")
