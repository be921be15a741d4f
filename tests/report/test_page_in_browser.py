"""The page of a report in a real browser."""

from pathlib import Path

import pytest

from mme2e_jax.report.write import write
from tests.helpers.browser import needs_browser, opened
from tests.report.test_write import FIGURES, content


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_all_its_pictures_load(width: int, tmp_path: Path) -> None:
    text = write(content(dataset="mosei"), tmp_path).read_text(encoding="utf-8")

    # What is folded up must fit too.
    found = opened(text.replace("<details>", "<details open>"), tmp_path, width)

    assert found["needed"] <= found["width"] == min(width, 1200)
    # Two utterances with two faces and a sound each, and what three stages kept of each.
    assert len(found["loaded"]) == 2 * (2 + 1) * (1 + 3)
    assert all(found["loaded"])
    assert dict(found["files"]) == {f"{name}.png": True for name in FIGURES}
