"""The chapters of the page below their figures: what is shown, in words and tables, or why there is nothing."""

import html
from collections.abc import Iterator, Sequence

from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import faces, shares, sound
from mme2e_jax.html.page import note, table
from mme2e_jax.report import tables
from mme2e_jax.report.content import REPORTED, Content
from mme2e_jax.report.paper import SOURCE, TABLES
from mme2e_jax.report.tables import Table, number
from mme2e_jax.report.utterances import EACH, PARTLY, RIGHT, WRONG, Shown


def scores(c: Content) -> Iterator[str]:
    """Scores of the reported split, and of the validation split folded up."""
    yield _p(
        "Weighted accuracy is the mean of the recall of an emotion's positives and that of its negatives. In brackets: "
        "95 % intervals."
    )
    yield from _table(tables.scores(c, REPORTED), mean=True)
    for split in c.judged:
        if split != REPORTED:
            yield f"<details><summary>The same on the {tables.SPLITS[split]} split</summary>"
            chosen = "Checkpoint and thresholds were" if c.thresholds else "The checkpoint was"
            yield _p(f"{chosen} chosen on it: these scores flatter the model.")
            yield from _table(tables.scores(c, split), mean=True)
            yield "</details>"


def curves(c: Content) -> Iterator[str]:
    """What the curves are."""
    yield _p(
        f"On the {REPORTED} split. Behind an emotion's name: the area under its ROC curve, and its average precision. "
        "A dot is where the decisions are."
    )
    if c.task is Task.SINGLE_LABEL:
        yield _p("The highest score decides, not a threshold: so a dot need not lie on its curve.")


def thresholds(c: Content) -> Iterator[str]:
    """The threshold table."""
    yield _p(tables.decided_by(c.task))
    if not c.thresholds:
        return
    smoothing = c.config["evaluation"]["threshold_smoothing"]
    yield _p(
        "Thresholds were chosen on the validation split, of 0.05, 0.10, ... 0.95: the best F1"
        + (f", smoothed over {smoothing} neighbours on either side." if smoothing else ".")
        + " Where the two splits differ much, there were too few positives to choose by."
    )
    yield from _table(tables.thresholds(c))


def confusion(c: Content) -> Iterator[str]:
    """Co-occurrence of true and predicted labels."""
    yield _p(
        f"Utterances of the {REPORTED} split that have the row's emotion and are said to have the column's."
        + (
            ""
            if c.task is Task.SINGLE_LABEL
            else " An utterance with several emotions, true or predicted, counts in several cells; "
            f"{tables.NONE} is no emotion at all."
        )
    )
    yield from _table(tables.confusion(c))


def training(c: Content) -> Iterator[str]:
    """The course of the run."""
    if c.training is None:
        yield _p("Does not apply: this program did not train these weights, or knows nothing of their training.")
        return
    epochs = len(c.training.loss)
    yield _p(
        f"{epochs} epochs. The checkpoint that is reported is the one with the best mean F1 on the validation split: "
        f"epoch {c.training.best}, the dashed line."
    )
    if c.unlearned_steps:
        yield note(f"{len(c.unlearned_steps)} steps were not learned from: their loss or gradient was not finite.")


def cost(c: Content) -> Iterator[str]:
    """Active sites and multiply-adds."""
    if "cost" not in c.scores:
        yield _p("Does not apply: this model reads features that others extracted, and what that cost is not known.")
        return
    found = c.scores["cost"]
    yield _p(
        f"GFLOPs of feature extraction: {number(found['extraction_gflops'])} per utterance, mean over the {REPORTED} "
        f"split; the dense model with the same layers: {number(found['dense_extraction_gflops'])}. Two operations per "
        "multiply-add, of the towers of faces and sound. Compare shares with the paper's, not GFLOPs: it does not say "
        "what it counts."
    )
    if c.sparse_threshold is None:
        yield _p("Active sites do not apply: this model works on all sites of its pictures.")
    else:
        yield _p(
            "Active sites: in each stage, the share of a picture's sites that the model worked on. Each stage "
            "selects among what the one before kept, at half the height and width."
        )
    yield "<details><summary>Millions of multiply-adds per utterance, by part</summary>"
    yield from _table(tables.cost(c))
    yield "</details>"


def paper(c: Content) -> Iterator[str]:
    """The paper's rows."""
    dataset = c.config["data"]["dataset"]
    if dataset not in TABLES:
        yield _p(f"Does not apply: the paper has no results on {dataset}, only on CMU-MOSEI and IEMOCAP.")
        return
    yield _p(f"In percent. {SOURCE}.")
    yield from _table(tables.paper(c))
    yield _p("The two compare only on the same utterances. The paper's numbers are of its own splits.")
    if dataset == "iemocap":
        yield _p(
            "The paper's split of IEMOCAP is random over utterances, so that its speakers are in training and test. "
            "Saying no emotion ever has 83.3 % accuracy there: look at F1."
        )


def utterances(c: Content) -> Iterator[str]:
    """What the model was given of a few utterances, and which sites it kept."""
    n, counts = len(c.judged[REPORTED].truth), c.examples.counts
    yield _p(
        f"Of the {n:,} utterances of the {REPORTED} split {counts[RIGHT]:,} are right (the predicted set of emotions "
        f"is the true one), {counts[PARTLY]:,} partly right (the sets share an emotion) and {counts[WRONG]:,} wrong. "
        f"Shown are {EACH} right and {EACH} wrong ones, or partly right ones where there are too few; drawn at random "
        "with the run's seed."
    )
    if c.sparse_threshold is not None:
        yield _p(
            f"In each of three stages the model keeps the sites that together hold {c.sparse_threshold:.0%} of its "
            "attention, and works on nothing else. What it did not keep is covered."
        )
        yield (
            "<p><strong>Kept sites show what the model looked at; they are not an explanation of its decision."
            "</strong></p>"
        )
    elif any(shown.evidence for shown in c.examples.shown):
        yield _p("Kept sites do not apply: this model works on all sites of its pictures.")
    else:
        yield _p("Pictures do not apply: this model reads features.")
    for place, shown in enumerate(c.examples.shown):
        yield from _utterance(c, shown, f"u{place}")


def _utterance(c: Content, u: Shown, name: str) -> Iterator[str]:
    truth, decided = (", ".join(labels) or "no emotion" for labels in (u.truth, u.decided))
    yield f"<section><h3>{u.kind.capitalize()}: {html.escape(decided)}</h3>"
    yield _p(f"Utterance {u.identity}. True: {truth}. Predicted: {decided}.")
    yield f"<blockquote>{html.escape(u.transcript) or '<em>no words</em>'}</blockquote>"
    yield from map(note, u.notes)
    yield from _table(tables.utterance(c, u))
    if len(c.modalities) > 1:
        yield from shares(u.shares, c.modalities)
    if u.evidence is not None:
        yield from faces(u.evidence, name)
        yield from sound(u.evidence, f"{name}-sound")
    yield "</section>"


def data(c: Content) -> Iterator[str]:
    """What preparation dropped, and what evaluation left out."""
    if c.preparation is None:
        yield _p(
            "The directory of the records has no report.json that can be read: what preparation left out is not known."
        )
    else:
        counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in c.preparation.counts.items())
        yield _p(
            f"Preparation: {counts}. Dropped utterances were lost to a defect; excluded ones were never part of the "
            "task; degraded ones were kept with something missing; of noted ones nothing is missing."
        )
        yield from map(note, c.preparation.warnings)
        if c.preparation.reasons:
            yield from _table(tables.reasons(c.preparation), words=(3, 4))
    left_out = c.metrics["skipped"]
    if left_out:
        yield _p("Left out by this program, because their records are of no use (data.skip_bad):")
        yield from _table(Table(["utterance", "why"], [list(pair) for pair in left_out.items()]), words=(1,))
    else:
        yield _p("Evaluation used every utterance of the records.")


def run(c: Content) -> Iterator[str]:
    """Config, versions, seed."""
    yield from _table(tables.provenance(c), words=(1,))
    yield f"<details><summary>Config</summary><p>Run: {html.escape(c.run)}</p>"
    yield from _table(tables.settings(c), words=(1,))
    yield "</details>"


def _p(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _table(t: Table, words: Sequence[int] = (), mean: bool = False) -> Iterator[str]:
    yield from table(t.headings, t.rows, words, mean)
