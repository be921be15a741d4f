"""Tests that invalid settings are refused."""

from pathlib import Path
from typing import Any

import pytest

from data_tools.preparation.settings import PrepareError, Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset": "imdb"}, "dataset 'imdb': expected one of mini, mini_iemocap, mosei, iemocap, processed_mosei"),
        ({"fold": 2}, "fold: mini has no sessions to leave out; expected no --fold, found 2"),
        (
            {"dataset": "iemocap", "fold": 2, "splits": Path("s")},
            "--fold or --splits, found both: --fold=2, --splits=s",
        ),
        ({"kind": "faces"}, "kind 'faces': expected one of media, features"),
        ({"kind": "features", "tokenizer": "albert"}, "expected no tokenizer, found 'albert': leave --tokenizer out"),
        ({"dataset": "mosei", "kind": "features", "tokenizer": "albert"}, "expected no tokenizer, found 'albert'"),
        (
            {"face_choice": "nearest"},
            "face_choice 'nearest': expected one of tracked, most_probable, largest, central, previous",
        ),
        ({"features": "ours"}, "features 'ours': expected one of computed, published"),
        (
            {"dataset": "mosei", "kind": "features", "features": "published"},
            "expected --kind=features and a processed dataset, found --kind=features --dataset=mosei",
        ),
        (
            {"dataset": "processed_mosei", "tokenizer": "albert", "features": "published"},
            "expected --kind=features and a processed dataset, found --kind=media --dataset=processed_mosei",
        ),
        ({"frame_interval_ms": 0}, "frame_interval_ms: expected 1 or more, found 0"),
        ({"seed": -1}, "seed: expected 0 or more, found -1"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PrepareError, match=message):
        Settings(**values)


def test_a_report_says_the_same_wherever_the_release_lies() -> None:
    settings = Settings(dataset="iemocap", splits=Path("/somewhere"), tokenizer="albert")

    assert settings.to_json() == {
        "dataset": "iemocap",
        "kind": "media",
        "seed": 0,
        "frame_interval_ms": 500,
        "tokenizer": "albert",
        "fold": None,
        "audio_from_video": False,
        "source_fps": None,
        "face_choice": "tracked",
        "features": "computed",
    }


def test_any_release_can_train_a_tokenizer_of_its_own() -> None:
    settings = Settings(dataset="clips", tokenizer="mini")
    settings.require_tokenizer()

    assert settings.named_tokenizer is None
    assert Settings(dataset="clips", tokenizer="albert").named_tokenizer == "albert"
    with pytest.raises(PrepareError, match="or --tokenizer=mini to train a small one on the training transcripts"):
        Settings(dataset="clips").require_tokenizer()
