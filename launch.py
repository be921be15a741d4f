"""Trains, evaluates, predicts and exports.

    python launch.py --config=configs/mini_sparse.py                       # embedded corpus, nothing to download
    python launch.py --config=configs/mosei_sparse.py --config.data.dir=RECORDS --workdir=RUN
    python launch.py --mode=evaluate --workdir=RUN                         # from the best checkpoint
    python launch.py --mode=predict --workdir=RUN --input=clip.mp4 --transcript="What is said."
    python launch.py --mode=sparsity_curve --workdir=RUN                   # the same at other sparse thresholds
    python launch.py --mode=ablation --workdir=RUN                         # the same without some modalities
    python launch.py --mode=export --workdir=RUN --out=model.mme2e         # a file that runs without this program

Every value of a config can be overridden: --config.optim.lr=1e-4
"""

import os

# Before tensorflow is imported: it only feeds data here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import errno
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from mme2e_jax.config import preflight
from mme2e_jax.config.cli import config_path, loaded_config, parse_flags
from mme2e_jax.config.schema import Config, records_kind, validate, validate_devices
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.jax_cache import prepare_jax

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file; --config.KEY=VALUE overrides a value.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run. Default: runs/<config name>.")
_MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate", "sparsity_curve", "ablation", "predict", "export"], "What to do."
)
_DISTRIBUTED = flags.DEFINE_bool("distributed", False, "This process is one of several that are one run.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "distributed: HOST:PORT of process 0, where JAX finds no cluster."
)
_PROCESS_COUNT = flags.DEFINE_integer("process_count", None, "distributed: how many there are.", lower_bound=1)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "distributed: which of them this is, from 0.", lower_bound=0)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "evaluation: records, where they are not where training found them.")
_INPUT = flags.DEFINE_string("input", None, "predict: a video or sound file.")
_TRANSCRIPT = flags.DEFINE_string("transcript", "", "predict: what is said in it.")
_TRANSCRIPT_FILE = flags.DEFINE_string(
    "transcript_file",
    None,
    "predict: the same with times: .srt, .vtt, or .txt with lines ID___clip___start___end___text.",
)
_TOKENIZER = flags.DEFINE_string(
    "tokenizer", None, "predict, export: the data's tokenizer, where neither run nor data have it."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "predict: for the results. Default: WORKDIR/predictions/CLIP.")
_OUT = flags.DEFINE_string("out", None, "export: the file to write. Default: WORKDIR/model.mme2e.")


def main(argv: list[str]) -> None:
    """Dispatches to a mode."""
    if len(argv) > 1:
        raise UserError(f"Expected flags only, found {' '.join(argv[1:])!r}. A flag is written --name=value.")
    {"train": _train, "predict": _predict, "export": _export}.get(_MODE.value, _evaluate)()


def _train() -> None:
    if _DATA_DIR.value is not None:
        raise UserError("--data_dir is for evaluation; training takes --config.data.dir=RECORDS.")
    config = loaded_config()
    validate(config)
    preflight.check(config)
    workdir = Path(_WORKDIR.value or Path("runs") / config_path().stem)
    _import_frameworks()
    import jax

    from mme2e_jax.commands.evaluate import evaluate_run
    from mme2e_jax.data.dataset import open_dataset
    from mme2e_jax.runtime.console import console
    from mme2e_jax.runtime.distributed import is_first, losses_told, meet
    from mme2e_jax.runtime.signals import Interrupted, Stopped, StopRequests
    from mme2e_jax.training.loop import train

    validate_devices(config, jax.device_count())
    config.data.dir = _records_directory(config)
    if is_first():
        _make_records(config)
    meet("the records are there")
    dataset = open_dataset(config.data.dir, config.data.dataset, records_kind(config))
    try:
        with losses_told():
            batches = train(config, dataset, workdir)
            with StopRequests() as stop:
                evaluate_run(workdir, batches=batches, while_wanted=stop.interrupt)
    except Stopped as stopped:
        console.print(stopped)
    except Interrupted:
        console.print("Stopped as asked, training done and saved. The same command evaluates.")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(
            f"No space is left on the disk of {workdir}. Make some, and give the same command again."
        ) from error


def _evaluate() -> None:
    _expect_run()
    _import_frameworks()
    from mme2e_jax.commands.ablation import ablate_run
    from mme2e_jax.commands.evaluate import evaluate_run
    from mme2e_jax.commands.sparsity_curve import curve_of_run
    from mme2e_jax.runtime.distributed import losses_told

    evaluations = {"evaluate": evaluate_run, "sparsity_curve": curve_of_run, "ablation": ablate_run}
    with losses_told():
        evaluations[_MODE.value](_WORKDIR.value, _DATA_DIR.value)


def _predict() -> None:
    if _WORKDIR.value is None or _INPUT.value is None:
        raise UserError(
            "Expected --workdir=RUN, the directory of a training run, and --input=FILE with --mode=predict."
        )
    _expect_run()
    from mme2e_jax.commands.predict import predict_clip

    predict_clip(
        _WORKDIR.value,
        _INPUT.value,
        transcript=_TRANSCRIPT.value,
        transcript_file=_TRANSCRIPT_FILE.value,
        tokenizer=_TOKENIZER.value,
        output_dir=_OUTPUT_DIR.value,
        prepare_jax=prepare_jax,
    )


def _export() -> None:
    workdir = _expect_run()
    prepare_jax()
    from mme2e_jax.export.save import export_run

    export_run(workdir, _OUT.value, _TOKENIZER.value)


def _expect_run() -> str:
    if _WORKDIR.value is None:
        raise UserError(f"Expected --workdir=RUN, the directory of a training run, with --mode={_MODE.value}.")
    if _CONFIG.value is not None:
        raise UserError(f"--mode={_MODE.value} takes its config from the checkpoint: leave out --config.")
    return _WORKDIR.value


def _records_directory(config: Config) -> str:
    """Where prepared records are, or for the embedded corpus are to be."""
    if config.data.dir or config.data.dataset not in EMBEDDED:
        return config.data.dir
    name = config.data.dataset.replace("_", "-") + {"media": "", "features": "-features"}[records_kind(config)]
    return f"records/{name}-{config.mini.utterances}-{config.mini.seed}"


def _make_records(config: Config) -> None:
    """Makes the embedded corpus where the config asks for it and it is not yet there."""
    records = Path(config.data.dir)
    if config.data.dataset not in EMBEDDED or (records / "dataset_info.json").exists():
        return
    from data_tools.embedded import prepare_embedded_corpus
    from mme2e_jax.runtime.files import OutputExistsError

    try:
        prepare_embedded_corpus(
            records,
            utterances=config.mini.utterances,
            seed=config.mini.seed,
            kind=records_kind(config),
            dataset=config.data.dataset,
        )
    except OutputExistsError as error:
        raise UserError(f"--config.data.dir: {error}") from error


def _import_frameworks() -> None:
    prepare_jax()
    import tensorflow as tf

    # Accelerators belong to JAX.
    tf.config.set_visible_devices([], "GPU")
    _join_processes()


def _join_processes() -> None:
    named = {"coordinator": _COORDINATOR.value, "process_count": _PROCESS_COUNT.value, "process_id": _PROCESS_ID.value}
    if not _DISTRIBUTED.value:
        for flag, value in named.items():
            if value is not None:
                raise UserError(f"--{flag} is for --distributed, which was not given.")
        return
    from mme2e_jax.runtime.distributed import join

    join(*named.values())


def run() -> None:
    """Parses the command line and does what it says; a mistake ends the program with one message."""
    try:
        app.run(main, flags_parser=parse_flags)
    except UserError as error:
        if flags.FLAGS.is_parsed() and _DISTRIBUTED.value:
            # Without waiting for the others, which wait for this one.
            print(f"\nError: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        sys.exit(f"\nError: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")


if __name__ == "__main__":
    run()
