"""Trains and evaluates.

    python launch.py --config=configs/mini_sparse.py                       # embedded corpus, nothing to download
    python launch.py --config=configs/mosei_sparse.py --config.data.dir=RECORDS --workdir=RUN
    python launch.py --mode=evaluate --workdir=RUN                         # from the best checkpoint

Every value of a config can be overridden: --config.optim.lr=1e-4
"""

import os

# Before tensorflow is imported: it only feeds data here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import logging
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import ConfigDict, config_flags

from mme2e_jax.config import validate
from mme2e_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file; --config.KEY=VALUE overrides a value.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run. Default: runs/<config name>.")
_MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "What to do.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "evaluate: records, where they are not where training found them.")


def main(argv: list[str]) -> None:
    """Dispatches to a mode."""
    if len(argv) > 1:
        raise UserError(f"Expected flags only, found {' '.join(argv[1:])!r}. A flag is written --name=value.")
    if _MODE.value == "train":
        _train()
    else:
        _evaluate()


def _train() -> None:
    if _CONFIG.value is None:
        raise UserError("Expected --config=FILE, for instance --config=configs/mini_sparse.py.")
    config: ConfigDict = _CONFIG.value
    validate(config)
    workdir = Path(_WORKDIR.value or Path("runs") / _config_name())
    _import_frameworks()
    from mme2e_jax.data.dataset import open_dataset
    from mme2e_jax.run import evaluate_run
    from mme2e_jax.train import train

    config.data.dir = str(_records(config))
    batches = train(config, open_dataset(config.data.dir), workdir)
    evaluate_run(workdir, config.data.dir, batches)


def _evaluate() -> None:
    if _WORKDIR.value is None:
        raise UserError("Expected --workdir=RUN, the directory of a training run, with --mode=evaluate.")
    if _CONFIG.value is not None:
        raise UserError("--mode=evaluate takes its config from the checkpoint: leave out --config.")
    _import_frameworks()
    from mme2e_jax.run import evaluate_run, load_run

    evaluate_run(_WORKDIR.value, _DATA_DIR.value or load_run(_WORKDIR.value).config.data.dir)


def _config_name() -> str:
    return Path(flags.FLAGS["config"].config_filename.partition(":")[0]).stem


def _records(config: ConfigDict) -> Path:
    """The directory of prepared records; the embedded corpus is made where it is not yet there."""
    if config.data.dataset != "mini":
        return Path(config.data.dir)
    size = f"{config.mini.utterances}-{config.mini.seed}"
    records = Path(config.data.dir or f"records/mini-{size}")
    if not (records / "dataset_info.json").exists():
        from data_tools.embedded import prepare_embedded_corpus

        prepare_embedded_corpus(records, utterances=config.mini.utterances, seed=config.mini.seed)
    return records


def _import_frameworks() -> None:
    logging.getLogger("absl").setLevel(logging.WARNING)
    import tensorflow as tf

    # Accelerators belong to JAX.
    tf.config.set_visible_devices([], "GPU")


def _run() -> None:
    try:
        app.run(main)
    except UserError as error:
        sys.exit(f"\nError: {error}")


if __name__ == "__main__":
    _run()
