"""Reports the contents of prepared records: counts, balance, lengths, faces, sounds, leaks.

    python -m data_tools.inspect_records RECORDS [--out=DIR]

Prints tables, and writes the page `index.html` and its counts, `inspection.json`, to DIR, by default
RECORDS-inspection. The page needs neither network nor other files.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging
from rich.table import Table

from data_tools.records.inspection import PROBLEMS, Inspection, inspect_records
from data_tools.records.inspection_page import inspection_page
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import PlainConsole
from mme2e_jax.runtime.files import disk_errors, write_json, write_text

_SHOWN = 5


def write_inspection(found: Inspection, out: Path) -> list[Path]:
    """Writes the inspection as a page and as JSON; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    page, counts = out / "index.html", out / "inspection.json"
    write_text(page, inspection_page(found))
    write_json(counts, found.to_json(), indent=1)
    return [page, counts]


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
