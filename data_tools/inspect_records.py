"""Reports the contents of prepared records: counts, balance, lengths, faces, sounds, leaks.

    python -m data_tools.inspect_records RECORDS [--out=DIR]

Prints tables and writes `inspection.json`, `lengths.png`, `labels.png`, and, for records with faces, a contact sheet of
random crops (`faces.png`) and mel spectrograms (`mel.png`) to DIR, by default RECORDS-inspection.
"""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from matplotlib.figure import Figure
from rich.table import Table

from data_tools.records.inspection import PROBLEMS, Inspection, Sample, inspect_records
from mme2e_jax.constants import CHUNK_FRAMES
from mme2e_jax.errors import UserError
from mme2e_jax.html.images import mel_picture
from mme2e_jax.runtime.console import PlainConsole
from mme2e_jax.runtime.files import disk_errors, write_figure, write_json

_COLUMNS = 8
_MELS = 6
_SHOWN = 5
_BINS = 30
_MAX_AXIS_LETTERS = 70  # letters of all label names that fit next to each other
_MAX_TITLE_LETTERS = 24  # letters that fit above a face


def write_inspection(found: Inspection, out: Path) -> list[Path]:
    """Writes the inspection as JSON and figures; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "inspection.json", found.to_json(), indent=1)
    figures = {"lengths.png": _lengths(found), "labels.png": _labels(found)}
    if found.samples:
        figures["faces.png"] = _faces(found.samples)
    if heard := [sample for sample in found.samples if len(sample.mel)][:_MELS]:
        figures["mel.png"] = _mels(heard)
    for name, figure in figures.items():
        write_figure(out / name, figure, dpi=100)
    return [out / "inspection.json", *(out / name for name in figures)]


def print_inspection(found: Inspection, console: PlainConsole) -> None:
    """Prints counts, label balance and problems."""
    table = Table("split", "utterances", "dialogues", "speakers", *found.label_names)
    for split, counts in found.splits.items():
        total = max(counts["utterances"], 1)
        shares = [f"{positive} ({positive / total:.0%})" for positive in counts["positives"].values()]
        table.add_row(split, *(str(counts[name]) for name in ("utterances", "dialogues", "speakers")), *shares)
    console.print(f"{found.dataset}, records of kind {found.kind}")
    console.print(table)
    for problem, names in found.problems.items():
        some = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        noun, meaning = PROBLEMS[problem]
        console.print(f"{len(names)} {noun}{'s' * (len(names) > 1)} {meaning}: {some}")
    if not found.problems:
        console.print("No leaks between splits; every utterance has words, sound and a face.")


def _lengths(found: Inspection) -> Figure:
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    for axes, count in zip(figure.subplots(1, 3), ("frames", "chunks", "tokens"), strict=True):
        values = [lengths[count] for lengths in found.lengths.values() if lengths[count]]
        names = [split for split, lengths in found.lengths.items() if lengths[count]]
        axes.hist(values, bins=whole_bins(values), stacked=True, label=names)
        axes.set(xlabel=f"{count} per utterance", ylabel="utterances")
    figure.axes[0].legend()
    return figure


def whole_bins(values: Sequence[Sequence[int]]) -> np.ndarray:
    """At most 30 bins of equal width, centred at whole numbers."""
    low, high = min(map(min, values), default=0), max(map(max, values), default=0)
    width = math.ceil((high - low + 1) / _BINS)
    return np.arange(low - 0.5, high + width, width)


def _labels(found: Inspection) -> Figure:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(len(found.splits), 1)
    for i, (split, counts) in enumerate(found.splits.items()):
        shares = np.array(list(counts["positives"].values())) / max(counts["utterances"], 1)
        axes.bar(np.arange(len(shares)) + i * width, shares, width, label=split)
    names = [textwrap.shorten(name, _MAX_TITLE_LETTERS, placeholder="..") for name in found.label_names]
    crowded = sum(map(len, names)) > _MAX_AXIS_LETTERS
    rotation, alignment = (30, "right") if crowded else (0, "center")
    axes.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names, rotation=rotation, ha=alignment)
    axes.set(ylabel="share of the split's utterances")
    axes.legend()
    return figure


def _faces(samples: Sequence[Sample]) -> Figure:
    rows = math.ceil(len(samples) / _COLUMNS)
    figure = Figure(figsize=(1.5 * _COLUMNS, 2.0 * rows), layout="constrained")
    grid = np.atleast_2d(figure.subplots(rows, _COLUMNS, squeeze=False))
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, sample in zip(grid.flat, samples, strict=False):
        axes.imshow(sample.face)
        title = textwrap.fill(", ".join(sample.labels) or "none", _MAX_TITLE_LETTERS, max_lines=2, placeholder="..")
        if not sample.face_found:
            title += "\n(no face found)"
        axes.set_title(title, fontsize=8, color="black" if sample.face_found else "tab:red")
    return figure


def _mels(samples: Sequence[Sample]) -> Figure:
    figure = Figure(figsize=(10, 1.6 * len(samples)), layout="constrained")
    longest = max(len(sample.mel) for sample in samples) * CHUNK_FRAMES
    column = figure.subplots(len(samples), squeeze=False, sharex=True)[:, 0]
    for axes, sample in zip(column, samples, strict=True):
        # As pages draw it: in decibels, dark is loud. The model reads power.
        picture = mel_picture(sample.mel)
        bands, steps = picture.shape
        extent = (-0.5, steps - 0.5, -0.5, bands - 0.5)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, extent=extent, aspect="auto")
        axes.set_title(f"{sample.id}: {', '.join(sample.labels) or 'none'}", fontsize=9)
        # One scale with ticks at chunks for all; white after an utterance's last chunk.
        axes.set(ylabel="mel band", xlim=(-0.5, longest - 0.5), xticks=range(0, longest, CHUNK_FRAMES))
    column[-1].set_xlabel(f"time step; a chunk has {CHUNK_FRAMES}; dark is loud")
    return figure


def main(argv: Sequence[str]) -> None:
    if len(argv) != 2:
        raise app.UsageError(f"expected one directory of records, found {' '.join(argv[1:]) or 'none'}")
    # tensorflow-datasets logs every directory that it opens.
    logging.set_verbosity(logging.WARNING)
    records = Path(argv[1])
    default_out = records.resolve().with_name(f"{records.resolve().name}-inspection")
    out = Path(flags.FLAGS.out) if flags.FLAGS.out else default_out
    try:
        with disk_errors():
            found = inspect_records(records, seed=flags.FLAGS.seed)
    except UserError as error:
        raise SystemExit(f"inspect: {error}") from None
    print_inspection(found, PlainConsole(width=120))
    for path in write_inspection(found, out):
        print(f"Wrote {path}")


if __name__ == "__main__":
    flags.DEFINE_string("out", None, "Directory to write; default: RECORDS-inspection.")
    flags.DEFINE_integer("seed", 0, "Seed of the random faces.", lower_bound=0)
    app.run(main)
