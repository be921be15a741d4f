"""Renders the page of an inspection of records."""

from collections.abc import Iterator, Mapping

from data_tools.records.inspection import CHUNK_SECONDS, PROBLEMS, Inspection, summary
from mme2e_jax.html.page import Table, render
from mme2e_jax.html.plot import Plot, even_bins, histogram, whole_bins

_EXAMPLES = 6  # utterances that are shown with all their input
_NAMED = 10  # of each problem
_ROWS = ("frames", "chunks", "tokens")


def inspection_page(found: Inspection) -> str:
    """Returns the page as HTML; it needs neither network nor other files."""
    lengths = ["seconds", *_ROWS] if found.kind == "media" else [*_ROWS]
    plots = [_plot(found, name, f"{_length_name(found, name)} per utterance") for name in lengths]
    return render(
        "inspection",
        found=found,
        problems=_problem_table(found),
        splits=_split_table(found),
        label_rows=list(_label_rows(found)),
        lengths=[plot for plot in plots if plot is not None],
        quantiles=_quantile_table(found, lengths),
        face_share=_plot(found, "face_share", "share of an utterance's frames that show a face"),
        decibels=_plot(found, "decibels", "mean mel power of an utterance in dB"),
        silent_share=_plot(found, "silent_share", "share of an utterance's chunks that are silent"),
        chunk_seconds=CHUNK_SECONDS,
        examples=found.samples[:_EXAMPLES],
    )


def _plot(found: Inspection, name: str, x_name: str) -> Plot | None:
    values = {split: of_split[name] for split, of_split in found.values.items() if of_split.get(name)}
    if name.endswith("_share"):
        edges = [k / 20 for k in range(21)]
    else:
        edges = (whole_bins if name in _ROWS else even_bins)([*values.values()])
    return histogram(values, edges, x_name)


def _length_name(found: Inspection, name: str) -> str:
    if found.kind == "media":
        return name
    return {"frames": "rows of video", "chunks": "rows of audio", "tokens": "rows of text"}[name]


def _problem_table(found: Inspection) -> Table:
    rows = []
    for problem, names in found.problems.items():
        noun, meaning = PROBLEMS[problem]
        some = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        rows.append([f"{len(names):,} {noun}{'s' * (len(names) > 1)}", meaning, some])
    return Table(["what", "why it matters", "which"], rows)


def _split_table(found: Inspection) -> Table:
    media = found.kind == "media"
    headings = ["split", "utterances", "dialogues", "speakers"]
    rows = []
    for split, counts in found.splits.items():
        cells = [split, *(f"{counts[name]:,}" for name in headings[1:])]
        if media:
            cells.append(f"{sum(found.values[split].get('seconds', [])) / 60:,.1f}")
            cells.append(_share(counts, "frames_with_face", "frames"))
            cells.append(_share(counts, "silent_chunks", "chunks"))
        rows.append(cells)
    return Table([*headings, *(["minutes", "frames with a face", "silent chunks"] if media else [])], rows)


def _share(counts: Mapping[str, int], part: str, whole: str) -> str:
    return f"{counts[part] / counts[whole]:.1%} of {counts[whole]:,}" if counts[whole] else "–"


def _label_rows(found: Inspection) -> Iterator[tuple[str, list[tuple[int, float]]]]:
    """Yields each label, with number and share of its positives in each split; then no label and several labels."""
    totals = {split: max(counts["utterances"], 1) for split, counts in found.splits.items()}
    names = {"no_label": "(no label)", "several_labels": "(several labels)"}
    for label in found.label_names:
        yield label, [(c["positives"][label], c["positives"][label] / totals[s]) for s, c in found.splits.items()]
    for key, name in names.items():
        yield name, [(c[key], c[key] / totals[s]) for s, c in found.splits.items()]


def _quantile_table(found: Inspection, names: list[str]) -> Table:
    rows = []
    for name in names:
        for split, values in found.values.items():
            cells = [f"{value:.4g}" for value in summary(values.get(name, [])).values()]
            if cells:
                rows.append([_length_name(found, name), split, *cells])
    return Table(["per utterance", "split", "smallest", "5 %", "median", "95 %", "largest"], rows)
