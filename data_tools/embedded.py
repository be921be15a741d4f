"""Generates and prepares the embedded corpus in one call."""

import tempfile
from pathlib import Path

from data_tools.generate import generate
from data_tools.prepare import Settings, prepare
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.runtime.console import PlainConsole
from mme2e_jax.runtime.files import require_free


def prepare_embedded_corpus(
    records: Path, *, utterances: int, seed: int, kind: str = "media", dataset: str = "mini"
) -> None:
    """Creates the records of the embedded corpus; its raw media are written to a temporary directory.

    `kind` is `media` or `features`, `dataset` `mini` or `mini_iemocap` (in the layout of CMU-MOSEI or IEMOCAP). Raises
    `OutputExistsError` if `records` exists and is not empty, `PrepareError` for another kind.
    """
    settings = Settings(dataset=dataset, kind=kind, seed=seed)
    require_free(records)
    # Log files need a fixed width, as in `prepare.default_console`.
    console = PlainConsole()
    console.print(f"No records at {records}: generating the embedded corpus of {utterances} utterances, kind {kind}.")
    with tempfile.TemporaryDirectory(prefix="mme2e-mini-") as scratch:
        raw = generate(Path(scratch) / "release", utterances, seed, layout=EMBEDDED[dataset])
        prepare(raw, records, settings, console=console)
