"""The page in a real browser, where there is one (Debian's chromium)."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mme2e_jax.prediction.page import page
from tests.test_prediction_page import prediction

CHROMIUM = shutil.which("chromium")
# Put into a copy of the page, whose document then tells.
PROBE = """<script>addEventListener("load", async () => {
  const links = [...document.querySelectorAll("image")].map(e => e.getAttribute("href"));
  const load = link => new Promise(done => { const i = new Image();
    i.onload = () => done(true); i.onerror = () => done(false); i.src = link; });
  const loaded = await Promise.all(links.map(load));
  document.title = JSON.stringify({width: document.body.clientWidth, needed: document.body.scrollWidth, loaded});
})</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_all_its_pictures_load(width: int, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    path = tmp_path / "page.html"
    # Windows are 500 pixels wide at least; the page has no rules that depend on the window.
    body = f'<body style="box-sizing:border-box;width:{width}px">'
    text = page(prediction()).replace("<body>", body).replace("</body>", f"{PROBE}</body>")
    path.write_text(text, encoding="utf-8")

    result = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1280,1000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert "CONSOLE" not in result.stderr
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title is not None
    found = json.loads(title[1])
    assert found["needed"] <= found["width"] == min(width, 1200)
    assert len(found["loaded"]) == 12
    assert all(found["loaded"])
