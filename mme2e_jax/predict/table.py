"""Terminal output of a prediction."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from rich.markup import escape
from rich.table import Table

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.formats import format_time
from mme2e_jax.predict.results import Prediction, Utterance

_ROWS = 40
# Longer label names may be cut.
_WIDE = 8


def predictions_table(prediction: Prediction) -> Table:
    """Returns a table with one row per utterance: time, scores (decided labels in bold), modality shares, text."""
    kind = {Task.REGRESSION: "values"}.get(prediction.task, "probabilities")
    table = Table(title=f"{escape(prediction.clip)}: {kind}, * where an emotion is predicted")
    # On a narrow terminal the text column shrinks first.
    times = [_span(utterance) for utterance in prediction.utterances[:_ROWS]]
    table.add_column("time", no_wrap=True, min_width=max(map(len, times), default=None))
    for name in prediction.label_names:
        table.add_column(escape(name), justify="right", no_wrap=True, min_width=min(len(name), _WIDE))
    table.add_column(" / ".join(MODALITY_NAMES[m] for m in prediction.modalities), no_wrap=True)
    table.add_column("words", no_wrap=True, overflow="ellipsis")
    if prediction.thresholds:
        table.add_row("threshold", *(f"{prediction.thresholds[name]:.2f} " for name in prediction.label_names), "", "")
        table.add_section()
    for utterance in prediction.utterances[:_ROWS]:
        table.add_row(*_cells(prediction, utterance))
    left = len(prediction.utterances) - _ROWS
    if left > 0:
        table.add_section()
        table.add_row(f"{left} more", *("" for _ in prediction.label_names), "", "see predictions.csv")
    return table


def notes(prediction: Prediction) -> Iterator[str]:
    """Yields the notes on the clip and its utterances; a note on several utterances appears once."""
    yield from prediction.notes
    noted: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in prediction.utterances:
        for note in utterance.notes:
            noted[note].append(utterance)
    for note, utterances in noted.items():
        more = f" and {len(utterances) - 1} more" if len(utterances) > 1 else ""
        yield f"{_span(utterances[0])}{more}: {note}"


def _span(u: Utterance) -> str:
    return f"{format_time(u.start)}-{format_time(u.end)}"


def _cells(prediction: Prediction, u: Utterance) -> Iterable[str]:
    yield _span(u)
    for name in prediction.label_names:
        cell = f"{u.scores[name]:.2f}"
        yield f"[bold]{cell}*[/bold]" if name in u.decided else f"{cell} "
    yield " / ".join(f"{u.shares[m]:.0%}" for m in prediction.modalities)
    yield escape(u.transcript)
