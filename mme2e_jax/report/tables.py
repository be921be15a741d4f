"""Builds the tables of a report as plain text."""

from collections.abc import Mapping

import numpy as np

from mme2e_jax.config.parse import flatten
from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation.curves import cooccurrence
from mme2e_jax.html.formats import format_score
from mme2e_jax.html.page import Table
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.paper import TABLES
from mme2e_jax.report.preparation import Preparation
from mme2e_jax.report.terminal import cost_cells
from mme2e_jax.report.utterances import Shown

NONE = "(none)"
# Names of splits and of parts of models on the page.
SPLITS = {"valid": "validation", "test": "test"}
_PARTS = {"albert": "ALBERT", "stage_0": "first stage", "stage_1": "second stage", "stage_2": "third stage"}
_NAMED = 5  # number of utterances that are named per reason
_TITLES = {
    "f1": "F1",
    "auc": "AUC",
    "accuracy": "accuracy",
    "weighted_accuracy": "weighted accuracy",
    "precision": "precision",
    "recall": "recall",
    "mae": "mean absolute error",
    "corr": "correlation",
}
_WITH_INTERVAL = ("f1", "auc", "weighted_accuracy", "accuracy")


def with_interval(value: float | None, interval: Mapping[str, float | None]) -> str:
    """Formats a score and its interval."""
    if value is None or interval["low"] is None:
        return format_score(value)
    return f"{format_score(value)} ({format_score(interval['low'], 2)} to {format_score(interval['high'], 2)})"


def scores(c: Content, split: str) -> Table:
    """Scores of each emotion and their mean, with intervals."""
    found, around, positives = c.metrics[split], c.metrics["intervals"][split], c.positives(split)
    plain = [name for name in ("precision", "recall", "mae", "corr") if name in found["mean"]]
    names = [*_WITH_INTERVAL, *plain]
    labels = [
        (label, found["per_label"][label], around["per_label"][label], str(positives[label])) for label in positives
    ]
    rows = []
    for label, values, intervals, count in (*labels, ("mean", found["mean"], around["mean"], "")):
        cells = [with_interval(values[name], intervals[name]) for name in _WITH_INTERVAL]
        rows.append([label, *cells, *(format_score(values[name]) for name in plain), count])
    return Table(["emotion", *(_TITLES[name] for name in names), "positives"], rows)


def undefined(c: Content) -> dict[str, int]:
    """Number of resamples in which some score of an emotion is undefined, for emotions with any such resample."""
    counts = {
        label: max(interval["undefined"] for interval in intervals.values())
        for label, intervals in c.intervals["per_label"].items()
    }
    return {label: count for label, count in counts.items() if count}


def thresholds(c: Content) -> Table:
    """The threshold of each emotion, and its effect on both splits."""
    headings = ["emotion", "threshold"]
    for split in c.decisions:
        headings += [f"{SPLITS[split]}: positives", "predicted", "precision", "recall", "F1"]
    rows = []
    for i, label in enumerate(c.label_names):
        cells = [label, format_score(c.thresholds[label], 2)]
        for split, decisions in c.decisions.items():
            values = c.metrics[split]["per_label"][label]
            cells += [str(int(labels[:, i].sum())) for labels in (decisions.truth, decisions.predicted)]
            cells += [format_score(values[name]) for name in ("precision", "recall", "f1")]
        rows.append(cells)
    return Table(headings, rows)


def matrix(c: Content) -> tuple[list[str], list[str], np.ndarray]:
    """Names of rows (true) and columns (predicted), and counts; "no label" comes last, if it occurs."""
    counts = cooccurrence(*c.decisions[REPORTED][1:])
    rows, columns = (
        [*c.label_names, NONE] if values.any() else [*c.label_names] for values in (counts[-1], counts[:, -1])
    )
    return rows, columns, counts[: len(rows), : len(columns)]


def cost(c: Content) -> Table:
    """Multiply-adds of each part, compared with the dense model."""
    rows = [
        [f"{MODALITY_NAMES[m]}: {_PARTS.get(name, name.replace('_', ' '))}", *cells]
        for m in c.scores["cost"]["macs"]
        for name, *cells in cost_cells(c.scores["cost"], m)
    ]
    return Table(["part", "this model", "dense model", "active sites"], rows)


def paper(c: Content) -> Table:
    """The paper's results on this dataset, and ours below; percent."""
    dataset, model = c.config["data"]["dataset"], c.config["model"]["name"]
    found = TABLES[dataset]
    rows = []
    for row in found.rows:
        mark = " (this model)" if row.model == model else ""
        rows.append([f"{row.name}{mark}", f"{row.accuracy:.1f}", f"{row.f1:.1f}", format_score(row.gflops, 2)])
    around, mean = c.intervals["mean"], c.scores["mean"]
    ours = [percent(mean[name], around[name]) for name in (found.accuracy, "f1")]
    gflops = c.scores["cost"]["extraction_gflops"] if "cost" in c.scores else None
    rows.append([f"this run, {REPORTED} split", *ours, format_score(gflops, 2)])
    return Table(["mean over the emotions", _TITLES[found.accuracy], "F1", "GFLOPs of feature extraction"], rows)


def percent(value: float, interval: Mapping[str, float | None]) -> str:
    """Formats a score in percent, with its interval."""
    low, high = interval["low"], interval["high"]
    around = "" if low is None or high is None else f" ({100 * low:.1f} to {100 * high:.1f})"
    return f"{100 * value:.1f}{around}"


def utterance(c: Content, u: Shown) -> Table:
    """Scores, thresholds, decisions and ground truth of one utterance."""
    rows = []
    for label in c.label_names:
        threshold = [format_score(c.thresholds[label], 2)] if c.thresholds else []
        decided, true = ("yes" if label in labels else "" for labels in (u.decided, u.truth))
        rows.append([label, format_score(u.scores[label], 2), *threshold, decided, true])
    return Table(["emotion", "score", *(["threshold"] if c.thresholds else []), "predicted", "true"], rows)


def reasons(preparation: Preparation) -> Table:
    """Reasons why utterances were left out of the data, or kept with something missing."""
    rows = []
    for name, reason in preparation.reasons.items():
        named = [utterance.id for utterance in reason.utterances[:_NAMED]]
        more = reason.count - len(named)
        some = ", ".join(named) + (f" and {more} more" if named and more > 0 else "")
        rows.append([name.replace("_", " "), reason.effect, str(reason.count), reason.meaning, some])
    return Table(["reason", "effect", "count", "meaning", "utterances"], rows)


def settings(c: Content) -> Table:
    """The config."""
    return Table(["key", "value"], [[key, str(value)] for key, value in flatten(c.config)])


def provenance(c: Content) -> Table:
    """Seed, versions and devices."""
    return Table(["name", "value"], [["seed", str(c.config["seed"])], *map(list, c.provenance.items())])
