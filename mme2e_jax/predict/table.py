"""Terminal output of a prediction."""

from collections import defaultdict
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.formats import format_time
from mme2e_jax.predict.results import Prediction, Utterance
from mme2e_jax.runtime.console import printable

_ROWS = 40
_WORDS = 20  # columns for words below which padding is left out
_FEWEST_WORDS = 4  # columns for words below which these are left out


def predictions_table(prediction: Prediction, width: int) -> Table:
    """Returns a table with one row per utterance: time, scores (decided labels in bold), modality shares, words.

    With few columns, `width`, padding is left out, then words and long label names are cut, then words and shares left
    out; times and numbers are not cut.
    """
    kind = {Task.REGRESSION: "values"}.get(prediction.task, "probabilities")
    labels = prediction.label_names
    shown = prediction.utterances[:_ROWS]
    rows = [_cells(prediction, utterance) for utterance in shown]
    names = ["time", *labels, " / ".join(MODALITY_NAMES[m] for m in prediction.modalities)]
    widths = [max((len(row[number]) for row in rows), default=4) for number in range(len(names))]
    padding = 1 if sum(widths) + 3 * len(widths) + _WORDS <= width else 0
    # Left for longer names and for words, beyond the frame and the numbers.
    left = width - sum(widths) - (len(widths) + 1) * (1 + 2 * padding) - 1
    longer = [max(0, len(name) - cells) for name, cells in zip(labels, widths[1:], strict=False)]
    if sum(longer) + _WORDS <= left:
        left -= sum(longer)
        widths[1 : 1 + len(labels)] = map(sum, zip(widths[1:], longer, strict=False))
    # The columns that fit: words are the last one, shares the one before.
    columns = len(names) + (left >= _FEWEST_WORDS) - (sum(widths) + len(widths) + 1 > width)
    title = f"{prediction.clip}: {kind}, * where an emotion is predicted"
    table = Table(title=title, padding=(0, padding))
    for number, (name, cells) in enumerate(zip(names[:columns], widths[:columns], strict=True)):
        label = 0 < number <= len(labels)
        heading = Text(printable(name), no_wrap=label, overflow="ellipsis" if label else "fold")
        table.add_column(heading, justify="right" if label else "left", no_wrap=True, width=cells)
    if columns > len(names):
        table.add_column("words", no_wrap=True, overflow="ellipsis", max_width=left)
    if prediction.thresholds:
        table.add_row("threshold", *(f"{prediction.thresholds[name]:.2f} " for name in prediction.label_names))
        table.add_section()
    for row, utterance in zip(rows, shown, strict=True):
        table.add_row(*[*row, utterance.transcript][:columns])
    more = len(prediction.utterances) - len(shown)
    if more > 0:
        table.caption = f"{more} more: see predictions.csv"
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


def _cells(prediction: Prediction, u: Utterance) -> list[str | Text]:
    scores = [
        Text(f"{u.scores[name]:.2f}*", style="bold") if name in u.decided else f"{u.scores[name]:.2f} "
        for name in prediction.label_names
    ]
    return [_span(u), *scores, " / ".join(f"{u.shares[m]:.0%}" for m in prediction.modalities)]
