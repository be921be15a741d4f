"""Renders the HTML page of a report."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.evaluation.bootstrap import LEVEL, RESAMPLES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.page import render
from mme2e_jax.report import paper, tables
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.utterances import EACH

# A wider interval of mean F1 hides most differences between models.
_WIDE = 0.1


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
        dataset=content.config["data"]["dataset"],
        utterance_count=len(content.decisions[REPORTED].truth),
        single_label=content.task is Task.SINGLE_LABEL,
        cost=content.scores.get("cost"),
        counts=content.examples.counts,
        each=EACH,
        level=f"{LEVEL:.0%}",
        resamples=RESAMPLES,
        notes=list(notes(content)),
    )


def notes(content: Content) -> Iterator[str]:
    """Yields, as plain text, what a reader must know before reading the numbers."""
    n = len(content.decisions[REPORTED].truth)
    low, high = (content.intervals["mean"]["f1"][end] for end in ("low", "high"))
    if low is not None and high - low > _WIDE:
        yield (
            f"The {REPORTED} split has only {n:,} utterances, so intervals are wide: that of mean F1 spans "
            f"{high - low:.2f}. Smaller differences mean nothing here."
        )
    absent = [name for name, count in content.positives(REPORTED).items() if not count]
    if absent:
        yield (
            f"No utterance of the {REPORTED} split has: {', '.join(absent)}. Such an emotion has no ROC-AUC and no "
            "curves; its F1 is always 0, and is part of the mean."
        )
    if content.imported:
        yield (
            "The weights were imported: there is no training to show, and thresholds were chosen on the validation "
            "split at evaluation."
        )
    left_out = content.metrics["skipped"]
    if left_out:
        yield f"Utterances left out of all numbers because their records are invalid (see below): {len(left_out)}."
