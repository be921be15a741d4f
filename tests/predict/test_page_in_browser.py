"""The page of a prediction in a real browser."""

from pathlib import Path

import pytest

from tests.helpers.browser import needs_browser, opened
from tests.predict.test_results import prediction


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_all_its_pictures_load(width: int, tmp_path: Path) -> None:
    found = opened(prediction().to_html(), tmp_path, width)

    assert found["needed"] <= found["width"] == min(width, 1200)
    assert len(found["loaded"]) == 12
    assert all(found["loaded"])
