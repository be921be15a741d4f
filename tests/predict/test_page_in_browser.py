"""The page of a prediction in a real browser."""

import dataclasses
import html
from pathlib import Path

import pytest

from mme2e_jax.predict.results import SeenFrame
from tests.helpers.browser import needs_browser, opened
from tests.helpers.devtools import browser
from tests.helpers.media import tone, write_video, write_wav
from tests.predict.test_results import prediction

_CLICK = """<script>addEventListener("load", async () => {
  const media = document.querySelector("video"), drawing = document.querySelector("svg[data-seconds]");
  if (media.readyState < 1) await new Promise(done => media.addEventListener("loadedmetadata", done));
  const box = drawing.getBoundingClientRect();
  drawing.dispatchEvent(new MouseEvent("click", {clientX: box.left + box.width / 4, clientY: box.top + 5}));
  document.title = JSON.stringify({at: media.currentTime, length: media.duration});
})</script>"""

_POINT = """<script>addEventListener("load", () => {
  const drawing = document.querySelector("svg[data-seconds]"), seen = document.querySelector(".seen");
  const box = drawing.getBoundingClientRect();
  drawing.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + 0.06 * box.width, clientY: box.top + 5}));
  document.title = JSON.stringify({tip: document.querySelector(".tip").textContent,
    face: seen.querySelector("use").getAttribute("href"), caption: seen.querySelector("span").textContent});
})</script>"""


# The box at a time, as shares of the video; null if it is hidden.
_BOX = """(async () => {
  const media = document.querySelector("video"), box = document.querySelector(".box");
  const there = new Promise(done => media.addEventListener("seeked", done, {once: true}));
  media.currentTime = TIME;
  await there;
  const outer = media.getBoundingClientRect(), { left, top, right, bottom } = box.getBoundingClientRect();
  return box.hidden ? null : [(left - outer.left) / outer.width, (top - outer.top) / outer.height,
    (right - outer.left) / outer.width, (bottom - outer.top) / outer.height];
})()"""


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_all_its_pictures_load(width: int, tmp_path: Path) -> None:
    found = opened(prediction().to_html(), tmp_path, width)

    assert found["needed"] <= found["width"] == min(width, 1200)
    assert len(found["loaded"]) == 12
    assert all(found["loaded"])


@pytest.mark.slow
@needs_browser
def test_a_click_on_the_timeline_moves_the_player_there(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", list(range(0, 200, 2)), size=(64, 48), wave=tone(10.0))
    page = dataclasses.replace(prediction(), path=str(tmp_path / "a.mp4")).to_html(tmp_path)

    found = opened(page, tmp_path, 800, probe=_CLICK)

    assert found["length"] == pytest.approx(10, abs=0.2)
    assert found["at"] == pytest.approx(2.5, abs=0.1)


@pytest.mark.slow
@needs_browser
def test_the_timeline_tells_scores_and_the_face_at_the_pointer(tmp_path: Path) -> None:
    found = opened(prediction().to_html(), tmp_path, 800, probe=_POINT)

    # At 0.6 s of 10.
    assert html.unescape(found["tip"]).splitlines() == ["0:00.5 to 0:01.0", "happy 0.62, predicted", "<sad> 0.27"]
    assert found["face"] == "#u0-1"
    assert found["caption"] == "0:00.5: no face, the middle of the frame"


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_a_box_frames_the_face_of_the_time_that_is_played(width: int, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", list(range(0, 200, 2)), size=(640, 480), wave=tone(10.0))
    first, third = (0.25, 0.5, 0.5, 0.75), (0.0, 0.125, 0.75, 1.0)
    frames = (SeenFrame(0.0, first), SeenFrame(0.5, None), SeenFrame(1.0, third))
    text = dataclasses.replace(prediction(), path=str(tmp_path / "a.mp4"), frames=frames).to_html(tmp_path)
    (tmp_path / "a.html").write_text(text, encoding="utf-8")

    with browser(tmp_path / "profile") as page:
        page.open((tmp_path / "a.html").as_uri(), width)
        page.wait_for("document.querySelector('video')?.readyState > 1")
        found = [page.evaluate(_BOX.replace("TIME", str(time))) for time in (0.1, 0.6, 1.2, 5.0)]
        assert page.messages == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    at_first, without, at_third, later = found
    assert at_first == pytest.approx(first, abs=0.001)
    assert at_third == pytest.approx(third, abs=0.001)
    # No face was found; no frame is near.
    assert (without, later) == (None, None)


def test_a_page_that_plays_no_pictures_has_no_box(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", tone(1.0))
    frames = (SeenFrame(0.0, (0.0, 0.0, 1.0, 1.0)),)
    seen = dataclasses.replace(prediction(), path=str(tmp_path / "a.wav"), frames=frames)
    utterances = tuple(dataclasses.replace(u, frames=0) for u in seen.utterances)
    heard = dataclasses.replace(seen, frames=(), utterances=utterances)

    assert '<div class="box" hidden>' in seen.to_html(tmp_path)
    assert '<div class="box"' not in heard.to_html(tmp_path)
    assert '<div class="box"' not in seen.to_html()
