"""The page of a prediction in a real browser."""

import dataclasses
import html
from pathlib import Path

import pytest

from tests.helpers.browser import needs_browser, opened
from tests.helpers.media import tone, write_video
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
