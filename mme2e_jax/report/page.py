"""The page of a report: one HTML file beside its figures, which needs neither network nor scripts."""

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mme2e_jax.evaluation.bootstrap import LEVEL, RESAMPLES
from mme2e_jax.html.evidence import STYLE as EVIDENCE_STYLE
from mme2e_jax.html.page import document, note
from mme2e_jax.report import sections
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.tables import number, undefined

# Wider than this, an interval of mean F1 hides most differences between models.
_WIDE = 0.1
_STYLE = """
nav { margin: 12px 0; line-height: 1.9; }
nav a { margin-right: 14px; color: #1f5a99; white-space: nowrap; }
h2 { scroll-margin-top: 8px; padding-top: 4px; border-top: 1px solid #ccc; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 160px), 1fr)); gap: 10px;
  margin: 16px 0; }
.card { border: 1px solid #ccc; border-left: 4px solid #1f5a99; padding: 6px 12px; }
.card b { display: block; font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 8px 24px;
  align-items: start; margin: 8px 0; }
.figures > * { min-width: 0; }
img { display: block; max-width: 100%; height: auto; }
th { white-space: normal; vertical-align: bottom; }
table.mean tr:last-child { font-weight: 700; }
details { margin: 8px 0; }
summary { cursor: pointer; color: #1f5a99; }
blockquote { overflow-wrap: anywhere; }
"""


class Picture(NamedTuple):
    """A figure's file."""

    file: str  # beside the page
    alt: str  # what it shows, in words
    width: int  # pixels on a screen of usual density
    height: int


def page(c: Content, pictures: Mapping[str, Picture]) -> str:
    """The page, as HTML.

    Args:
      c: of the report.
      pictures: its figures, by name.
    """
    name = Path(c.run).name
    return document(f"{name}: report", _STYLE + EVIDENCE_STYLE, _parts(c, pictures, name))


def _parts(c: Content, pictures: Mapping[str, Picture], name: str) -> Iterator[str]:
    chapters: Sequence[tuple[str, str, Sequence[str], Iterable[str]]] = (
        ("scores", "Scores", ("f1", "auc"), sections.scores(c)),
        ("curves", "ROC and precision-recall", ("roc", "precision_recall"), sections.curves(c)),
        ("thresholds", "Thresholds", (), sections.thresholds(c)),
        ("confusion", "True and predicted emotions", ("cooccurrence",), sections.confusion(c)),
        ("training", "Training", ("loss", "validation"), sections.training(c)),
        ("cost", "What an utterance costs", ("active",), sections.cost(c)),
        ("paper", "Beside the paper", (), sections.paper(c)),
        ("utterances", "A few utterances", (), sections.utterances(c)),
        ("data", "What was left out of the data", (), sections.data(c)),
        ("run", "Config, versions, seed", (), sections.run(c)),
    )
    yield f"<h1>Report of {html.escape(name)}</h1>"
    yield f'<p class="small">{html.escape(_subtitle(c))}</p>'
    yield from map(note, notes(c))
    yield from _cards(c)
    yield "<nav>" + " ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _, _ in chapters) + "</nav>"
    for anchor, title, shown, text in chapters:
        yield f'<h2 id="{anchor}">{title}</h2>'
        images = [_image(pictures[key]) for key in shown if key in pictures]
        # Beside a single figure there is room.
        if len(images) == 1:
            yield f'<div class="figures">{images[0]}<div>'
            yield from text
            yield "</div></div>"
        else:
            if images:
                yield f'<div class="figures">{"".join(images)}</div>'
            yield from text


def _subtitle(c: Content) -> str:
    data = c.config["data"]["dataset"]
    split = c.judged[REPORTED]
    return (
        f"{c.config['model']['name']} with {c.parameters:,} parameters, step {c.metrics['step']:,}, on the {REPORTED} "
        f"split of {data}: {len(split.truth):,} utterances. The numbers are in metrics.json beside this page."
    )


def notes(c: Content) -> Iterator[str]:
    """What a reader must know before any number; plain text."""
    n = len(c.judged[REPORTED].truth)
    low, high = (c.intervals["mean"]["f1"][end] for end in ("low", "high"))
    if low is not None and high - low > _WIDE:
        yield (
            f"The {REPORTED} split has {n:,} utterances, and so intervals are wide: that of mean F1 spans "
            f"{high - low:.2f}. Smaller differences mean nothing here."
        )
    absent = [name for name, count in c.positives(REPORTED).items() if not count]
    if absent:
        yield (
            f"No utterance of the {REPORTED} split has: {', '.join(absent)}. Such an emotion has no ROC-AUC and no "
            "curves; its F1 is 0 whatever the model says, and is part of the mean."
        )
    if c.imported:
        yield (
            "The weights were imported: there is no training to show, and thresholds were chosen on the validation "
            "split at evaluation."
        )
    left_out = c.metrics["skipped"]
    if left_out:
        yield f"Utterances left out of all numbers, because their records are of no use (see below): {len(left_out)}."


def _cards(c: Content) -> Iterator[str]:
    yield '<div class="cards">'
    for name, title in (("f1", "mean F1"), ("auc", "mean ROC-AUC"), ("weighted_accuracy", "mean weighted accuracy")):
        around = c.intervals["mean"][name]
        spread = (
            f"{LEVEL:.0%}: {number(around['low'])} to {number(around['high'])}" if around["low"] is not None else ""
        )
        yield _card(number(c.scores["mean"][name]), title, spread)
    yield _card(number(c.scores["always_f1"]), "mean F1 of saying every emotion always", "what a model must beat")
    if "cost" in c.scores:
        own, dense = (c.scores["cost"][f"{kind}extraction_gflops"] for kind in ("", "dense_"))
        share = f"{own / dense:.0%} of the dense model" if c.sparse_threshold is not None and dense else ""
        yield _card(number(own), "GFLOPs of feature extraction, an utterance", share)
    yield "</div>"
    yield (
        f'<p class="small">{LEVEL:.0%} intervals: percentile bootstrap, {RESAMPLES:,} resamples of the {REPORTED} '
        "split's utterances. They cover the choice of utterances. They do not cover other seeds of training, and "
        "they take utterances for independent: where several are of one video or speaker, the true intervals are "
        "wider.</p>"
    )
    rare = undefined(c)
    if rare:
        counts = ", ".join(f"{name} {count:,}" for name, count in rare.items())
        yield (
            '<p class="small">Resamples left out of an interval, because a score of the emotion does not exist in '
            f"them: {html.escape(counts)}.</p>"
        )


def _card(value: str, title: str, more: str) -> str:
    return f'<div class="card"><b>{value}</b>{title}<br><span class="small">{more}</span></div>'


def _image(p: Picture) -> str:
    return f'<img src="{p.file}" width="{p.width}" height="{p.height}" alt="{html.escape(p.alt)}">'
