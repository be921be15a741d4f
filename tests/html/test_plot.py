"""Positions of lines, ticks and bins, against hand-computed values; and values under the pointer in a browser."""

import math
from pathlib import Path

import pytest

from mme2e_jax.html.page import render
from mme2e_jax.html.plot import Line, Plot, Tip, even_bins, histogram, ticks, whole_bins
from tests.helpers.browser import needs_browser, opened


def unit_plot(*lines: Line) -> Plot:
    return Plot("x", "y", (0, 1), (0, 1), lines)


def test_a_line_spans_the_box_and_breaks_where_it_has_no_value() -> None:
    plot = unit_plot(Line("a", [0, 0.5, 0.75, 1], [0, 1, math.nan, 0.5], "red"))
    left, top, right, bottom = plot.box

    middle = (top + bottom) / 2
    assert plot.path(plot.lines[0]) == f"M{left}.0 {bottom}.0L{(left + right) / 2:.1f} {top}.0M{right}.0 {middle:.1f}"


def test_steps_keep_their_value_up_to_the_next_x() -> None:
    plot = unit_plot(Line("a", [0, 1], [0, 1], "red", steps=True))
    left, top, right, bottom = plot.box

    assert plot.path(plot.lines[0]) == f"M{left}.0 {bottom}.0H{right}.0V{top}.0"


def test_intervals_that_are_undefined_are_left_out() -> None:
    plot = unit_plot(Line("a", [0, 1], [0, 1], "red", low=[0, math.nan], high=[1, math.nan]))
    left, top, _, bottom = plot.box

    assert plot.whiskers(plot.lines[0]) == f"M{left}.0 {bottom}.0V{top}.0"
    assert unit_plot(Line("b", [0], [0], "red")).whiskers(Line("b", [0], [0], "red")) == ""


def test_ticks_are_round_numbers() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-0.5, 41.5) == [0, 10, 20, 30, 40]
    assert ticks(0, 0.0023) == [0, 0.0005, 0.001, 0.0015, 0.002]


def test_histograms_have_bins_around_whole_numbers() -> None:
    assert whole_bins([[0, 2], [3]]) == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert whole_bins([[7]]) == [6.5, 7.5]
    # 91 lengths in bins of 4.
    bins = whole_bins([[10, 100]])
    assert (bins[0], bins[1] - bins[0], len(bins) - 1) == (9.5, 4.0, 23)
    assert bins[-1] > 100


def test_even_bins_hold_all_values() -> None:
    bins = even_bins([[-3.0], [27.0, 5.0]])
    assert (bins[0], bins[-1], len(bins)) == (-3, 27, 31)
    assert len(even_bins([[2.0], [2.0]])) == 31


def test_a_histogram_has_shares_of_each_group() -> None:
    plot = histogram({"train": [1, 1, 1, 2], "valid": [], "test": [2]}, [0.5, 1.5, 2.5], "frames")

    assert plot is not None
    train, test = plot.lines
    assert (train.name, list(train.x), list(train.y)) == ("train", [0.5, 0.5, 1.5, 2.5], [0, 0.75, 0.25, 0])
    assert list(test.y) == [0, 0, 1, 0]
    assert train.tips[0] == Tip(1, 0.75, "train\nframes: 1\n3 utterances (75%)")
    assert histogram({"train": []}, [0, 1], "frames") is None


_POINT = """<script>addEventListener("load", () => {
  const drawing = document.querySelector(".plot > svg"), tip = document.querySelector(".tip");
  drawing.scrollIntoView();
  const [x, y, text] = JSON.parse(drawing.querySelector("[data-tips]").dataset.tips)[0];
  const at = new DOMPoint(x, y).matrixTransform(drawing.getScreenCTM());
  const event = type => new PointerEvent(type, {clientX: at.x + 3, clientY: at.y - 3});
  drawing.dispatchEvent(event("pointermove"));
  const shown = {hidden: tip.hidden, text: tip.textContent};
  drawing.dispatchEvent(event("pointerleave"));
  document.title = JSON.stringify({...shown, left: tip.hidden});
})</script>"""


@pytest.mark.slow
@needs_browser
def test_the_page_shows_the_nearest_value_under_the_pointer(tmp_path: Path) -> None:
    values = {"train": [1.0, 2.0], "test": [2.0]}
    lengths, table = [histogram(values, [0.5, 1.5, 2.5], "frames")], {"headings": [], "rows": []}
    found = {"dataset": "mini", "kind": "features", "splits": {}}
    tables = {"problems": table, "splits": table, "quantiles": table}
    page = render("inspection", found=found, label_rows=[], lengths=lengths, **tables)

    assert opened(page, tmp_path, 800, probe=_POINT) == {
        "hidden": False,
        "text": "train\nframes: 1\n1 utterance (50%)",
        "left": True,
    }
