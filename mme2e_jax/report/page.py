"""Renders the HTML page of a report."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.evaluation.bootstrap import LEVEL, RESAMPLES
from mme2e_jax.html.page import render
from mme2e_jax.report import paper, tables
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.utterances import EACH


class Picture(NamedTuple):
    """The file of a figure."""

    file: str  # name, in the directory of the page
    alt: str  # description
    width: int  # pixels at standard density
    height: int


def page(content: Content, pictures: Mapping[str, Picture]) -> str:
    """Returns the page as HTML; it needs its figures, `pictures` by name, but neither network nor scripts."""
    return render(
        "report",
        c=content,
        pictures=pictures,
        t=tables,
        paper=paper,
        name=Path(content.run).name,
        split=REPORTED,
        each=EACH,
        level=f"{LEVEL:.0%}",
        resamples=RESAMPLES,
    )
