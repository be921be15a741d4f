"""The embedded corpus in one call: generated, prepared, ready to train on."""

import tempfile
from pathlib import Path

from rich.console import Console

from data_tools.generate import generate
from data_tools.prepare import Settings, prepare
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.runtime.files import require_free


def prepare_embedded_corpus(
    records: Path, *, utterances: int, seed: int, kind: str = "media", dataset: str = "mini"
) -> None:
    """Makes the records of the embedded corpus; the raw media live in a temporary directory meanwhile.

    Args:
      records: directory to make; it appears only once it is complete.
      utterances: of the corpus; some are dropped on purpose.
      seed: of its content and its splits.
      kind: of records, `media` for the end-to-end models or `features` for the baselines.
      dataset: `mini`, in the layout of CMU-MOSEI, or `mini_iemocap`, in that of IEMOCAP.

    Raises:
      OutputExistsError: if `records` is there already and holds something else.
      PrepareError: if there is no such kind.
    """
    settings = Settings(dataset=dataset, kind=kind, seed=seed)
    require_free(records)
    # A width of its own where the output is a log file, as in `prepare.default_console`.
    console = Console(width=None if Console().is_terminal else 110)
    console.print(f"No records at {records}: making the embedded corpus of {utterances} utterances, as {kind}.")
    with tempfile.TemporaryDirectory(prefix="mme2e-mini-") as scratch:
        raw = generate(Path(scratch) / "release", utterances, seed, layout=EMBEDDED[dataset])
        prepare(raw, records, settings, console=console)
