"""Pages in a real browser, where there is one (Debian's chromium)."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
# Put into a copy of the page, whose document then tells.
_PROBE = """<script>addEventListener("load", async () => {
  const links = [...document.querySelectorAll("image")].map(e => e.getAttribute("href"));
  const load = link => new Promise(done => { const i = new Image();
    i.onload = () => done(true); i.onerror = () => done(false); i.src = link; });
  const loaded = await Promise.all(links.map(load));
  const files = [...document.images].map(i => [i.getAttribute("src"), i.complete && i.naturalWidth > 0]);
  document.title = JSON.stringify({width: document.body.clientWidth, needed: document.body.scrollWidth, loaded, files});
})</script>"""


def opened(page: str, directory: Path, width: int, probe: str = _PROBE) -> dict[str, Any]:
    """Opens a page from a file and says how it looks; fails if the browser's console says anything.

    Args:
      page: as HTML.
      directory: where its pictures are; a copy of the page is written there.
      width: of its body in pixels.
      probe: script that makes the result the document's title, as JSON.

    Returns:
      What the probe finds; by default the body's `width` and the width that is `needed`, whether each picture within
      the page is `loaded`, and of each of its picture `files` the name and whether it is.
    """
    assert CHROMIUM is not None
    path = directory / "opened.html"
    # Windows are 500 pixels wide at least; pages have no rules that depend on the window.
    body = f'<body style="box-sizing:border-box;width:{width}px">'
    path.write_text(page.replace("<body>", body).replace("</body>", f"{probe}</body>"), encoding="utf-8")
    result = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            f"--user-data-dir={directory / 'profile'}",
            "--window-size=1280,1000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert "CONSOLE" not in result.stderr
    title = re.search(r"<title>(.*?)</title>", result.stdout)
    assert title is not None
    return json.loads(title[1])
