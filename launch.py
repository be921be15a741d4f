"""Trains, evaluates, predicts and exports: `python launch.py --help` lists the modes.

    python launch.py --config=configs/mini_sparse.py                       # embedded corpus, nothing to download
    python launch.py --config=configs/mosei_sparse.py --config.data.dir=RECORDS --workdir=RUN
    python launch.py --mode=evaluate --workdir=RUN                         # from the best checkpoint
    python launch.py --mode=predict --workdir=RUN --input=clip.mp4 --transcript="What is said."

Every value of a config can be overridden: --config.optim.lr=1e-4
"""

from pathlib import Path

from mme2e_jax.commands import main as program
from mme2e_jax.runtime.huge_pages import use_huge_pages


def make_corpus(records: Path, *, utterances: int, seed: int, kind: str, dataset: str) -> None:
    """Generates the records of the embedded corpus; see `data_tools.embedded.prepare_embedded_corpus`."""
    # Slow to import: it decodes and draws.
    from data_tools.embedded import prepare_embedded_corpus

    prepare_embedded_corpus(records, utterances=utterances, seed=seed, kind=kind, dataset=dataset)


def run() -> None:
    """Runs the command line of this process."""
    use_huge_pages()
    program.run(make_corpus)


if __name__ == "__main__":
    run()
