"""Tests that extracted videos are reused exactly if nothing has changed."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_tools.preparation.spool import open_spool
from mme2e_jax.media.utterance import Finding, Media, Utterance
from mme2e_jax.media.workers import JobResult
from mme2e_jax.runtime.files import OutputExistsError

UTTERANCE = Utterance("v_0", "v", 0.0, 1.0, "text", (0, 1), "v")
SETTINGS: dict[str, Any] = {"frame_interval_ms": 500, "face_choice": "largest"}


@pytest.fixture
def media(tmp_path: Path) -> Media:
    (tmp_path / "v.mp4").write_bytes(b"video")
    return Media(tmp_path / "v.mp4", None)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "records" / "out"


class Killed(BaseException):
    """Stands for anything that ends a process."""


def finish(out: Path, media: Media, *findings: Finding) -> None:
    """A preparation that ends after one video."""
    with contextlib.suppress(Killed), open_spool(out) as spool:
        spool.store(JobResult(spool.job([UTTERANCE], media, SETTINGS, "media"), ["v_0"], list(findings), {}))
        raise Killed


def test_a_finished_video_is_found_again(out: Path, media: Media) -> None:
    finish(out, media, Finding("v_0", "no_wav", "why"))

    with open_spool(out) as spool:
        result = spool.load(spool.job([UTTERANCE], media, SETTINGS, "media"))

    assert result is not None
    assert (result.kept, result.findings) == (["v_0"], [Finding("v_0", "no_wav", "why")])


@pytest.mark.parametrize(
    ("utterance", "settings", "kind"),
    [
        (replace(UTTERANCE, end=2.0), SETTINGS, "media"),
        (replace(UTTERANCE, view="left"), SETTINGS, "media"),
        (UTTERANCE, SETTINGS | {"frame_interval_ms": 250}, "media"),
        (UTTERANCE, SETTINGS | {"face_choice": "central"}, "media"),
        (UTTERANCE, SETTINGS, "features"),
    ],
)
def test_what_was_asked_for_differently_is_not(
    utterance: Utterance, settings: dict[str, Any], kind: str, out: Path, media: Media
) -> None:
    finish(out, media)

    with open_spool(out) as spool:
        assert spool.load(spool.job([utterance], media, settings, kind)) is None


def test_a_media_file_that_changed_is_read_again(out: Path, media: Media) -> None:
    finish(out, media)
    assert isinstance(media.video, Path)
    media.video.write_bytes(b"another video")

    with open_spool(out) as spool:
        assert spool.load(spool.job([UTTERANCE], media, SETTINGS, "media")) is None


def test_a_video_whose_worker_died_is_tried_again(out: Path, media: Media) -> None:
    finish(out, media, Finding("v_0", "worker_died"))

    with open_spool(out) as spool:
        assert spool.load(spool.job([UTTERANCE], media, SETTINGS, "media")) is None


def test_nothing_stays_once_all_is_done(out: Path, media: Media) -> None:
    finish(out, media)
    assert [path.name for path in out.parent.iterdir()] == [".out.partial"]
    (out.parent / ".out.unfinished-x1").mkdir()  # of a process that was killed while it wrote records
    (out.parent / ".outer.unfinished-x1").mkdir()  # of somebody else

    with open_spool(out):
        assert sorted(path.name for path in out.parent.iterdir()) == [".out.partial", ".outer.unfinished-x1"]

    assert [path.name for path in out.parent.iterdir()] == [".outer.unfinished-x1"]


def test_two_processes_do_not_make_the_same_records(out: Path) -> None:
    with open_spool(out), pytest.raises(OutputExistsError, match=r"Another process prepares .*"):
        open_spool(out).__enter__()
