"""The program: its modes, and how each runs its command."""

import os

# JAX and TensorFlow, which only loads data here, read these when they are imported. XLA logs its alarm after two
# minutes of compiling as an error, and has no flag for it; what fails raises an exception, too.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mme2e_jax.commands.flags import PROCESSES, PROGRAM, Arguments, Mode, defined_flags, help_text
from mme2e_jax.config import preflight
from mme2e_jax.config.cli import config_file, config_name, loaded_config, parse_flags, with_config_paths
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import printable
from mme2e_jax.runtime.files import disk_errors
from mme2e_jax.runtime.jax_cache import configure_jax
from mme2e_jax.runtime.lock import check_unlocked

if TYPE_CHECKING:
    from mme2e_jax.commands.train import MakeCorpus


def run(make_corpus: "MakeCorpus | None", argv: Sequence[str] | None = None) -> None:
    """Runs the program; a user's mistake ends it with one message and exit status 1.

    Only training needs `make_corpus`, the generator of the embedded corpus. `argv` is by default that of this process.
    """
    argv = sys.argv if argv is None else argv
    # Python's default is 700. Frameworks make half a million objects that stay: searching them again and again for
    # garbage takes a second of CPU time of every command.
    gc.set_threshold(100_000, 20, 20)
    try:
        with disk_errors():
            main(argv, make_corpus)
    except UserError as error:
        if any(argument.lstrip("-").startswith("distributed") for argument in argv[1:]):
            # A regular exit would wait for the other processes, which wait for this one.
            print(printable(f"\nError: {error}"), file=sys.stderr, flush=True)
            os._exit(1)
        sys.exit(printable(f"\nError: {error}"))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")


def main(argv: Sequence[str], make_corpus: "MakeCorpus | None") -> None:
    """Parses a command line and runs its mode; raises `UserError` if it, or a file that it names, cannot be used."""
    if {"--help", "-help", "-h"} & set(argv[1:]):
        try:
            print(help_text(MODES), flush=True)
        except BrokenPipeError:
            # The reader, such as `head`, has ended. Python flushes standard output again at its own end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    argv = with_config_paths(argv)
    values = defined_flags(argv, MODES)
    surplus = parse_flags(argv, values)[1:]
    if surplus:
        raise UserError(f"Expected flags only, found {' '.join(surplus)!r}. A flag is written --name=value.")
    name = str(values["mode"].value)
    mode = MODES[name]
    for flag in values:
        if values[flag].present and flag not in ("mode", *mode.flags) and not flag.startswith("config."):
            known = ", ".join(f"--{flag}" for flag in mode.flags)
            raise UserError(f"--{flag} is not a flag of --mode={name}. Its flags are {known}.{mode.hint}")
    missing = [flag for flag in mode.required if not values[flag[2:].partition("=")[0]].value]
    if missing:
        raise UserError(
            f"Expected {', '.join(mode.required)} with --mode={name}; missing: {', '.join(missing)}. "
            f"Example: {PROGRAM} --mode={name} {mode.example}"
        )
    mode.run(Arguments(argv, values, make_corpus))


def _train(a: Arguments) -> None:
    config = parse_config(loaded_config(a.values))
    workdir = Path(a["workdir"] or Path("runs") / config_name(a.values))
    preflight.check(config, workdir)
    if not a["distributed"]:
        # The first of several processes may hold its own directory already.
        check_unlocked(workdir)
    _import_frameworks(a)
    from mme2e_jax.commands.train import train_and_evaluate

    assert a.make_corpus is not None, "only launch.py trains"
    train_and_evaluate(config, workdir, a.make_corpus)


def _evaluate(a: Arguments) -> None:
    _import_frameworks(a)
    from mme2e_jax.commands.ablation import ablation
    from mme2e_jax.commands.evaluate import evaluate_run
    from mme2e_jax.commands.sparsity_curve import sparsity_curve
    from mme2e_jax.runtime.distributed import report_lost_processes

    commands = {"evaluate": evaluate_run, "sparsity_curve": sparsity_curve, "ablation": ablation}
    with report_lost_processes():
        commands[a["mode"]](a["workdir"], a["data_dir"])


def _predict(a: Arguments) -> None:
    from mme2e_jax.commands.predict import ClipArguments, predict_clips

    predict_clips(a["workdir"], ClipArguments(*(a[flag] for flag in _CLIP)), a["tokenizer"])


def _demo(a: Arguments) -> None:
    from mme2e_jax.commands.demo import DemoArguments, serve_demo

    serve_demo(a["workdir"], DemoArguments(*(a[flag] for flag in _DEMO)))


def _export(a: Arguments) -> None:
    configure_jax()
    from mme2e_jax.commands.export import export_run, export_to_hub_layout

    export = {"file": export_run, "hub": export_to_hub_layout}[a["format"]]
    export(a["workdir"], a["out"], a["tokenizer"])


def _run_exported(a: Arguments) -> None:
    from mme2e_jax.commands.predict import ClipArguments, predict_exported

    predict_exported(a["model"], ClipArguments(*(a[flag] for flag in _CLIP)))


def _import_weights(a: Arguments) -> None:
    from mme2e_jax.commands.import_weights import import_weights

    import_weights(parse_config(loaded_config(a.values)), Path(a["from"]), Path(a["workdir"]))


def _sweep(a: Arguments) -> None:
    loaded_config(a.values)
    from mme2e_jax.commands.sweep import sweep_command

    out = Path(a["out"] or Path("runs") / f"sweep-{config_name(a.values)}")
    sys.exit(sweep_command(config_file(a.values), a.argv, a["seeds"] or [], a["grid"] or [], out))


def _config(a: Arguments) -> None:
    config = parse_config(loaded_config(a.values))
    from mme2e_jax.commands.config import print_config

    overrides = {flag.removeprefix("config.") for flag in a.values if a.values[flag].present}
    print_config(config, Path(config_file(a.values).partition(":")[0]), overrides)


def _import_frameworks(a: Arguments) -> None:
    configure_jax()
    _import_tensorflow()
    settings = {flag: a[flag] for flag in PROCESSES[1:]}
    if a["distributed"]:
        from mme2e_jax.runtime.distributed import join_processes

        join_processes(*settings.values())
        return
    for flag, value in settings.items():
        if value is not None:
            raise UserError(f"--{flag} is for --distributed, which was not given.")


def _import_tensorflow() -> None:
    # TensorFlow imports Keras for its optimisers and goes on where it is missing: a third less to import.
    keras = "keras.src.optimizers"
    absent: dict[str, Any] = {} if keras in sys.modules else {keras: None}
    sys.modules.update(absent)
    import tensorflow as tf

    for name in absent:
        del sys.modules[name]
    # Accelerators belong to JAX.
    tf.config.set_visible_devices([], "GPU")


_CLIP = (
    *("input", "transcript", "transcript_file", "face_choice", "output_dir", "window", "hop"),
    *("transcribe", "language"),
)
_DEMO = (
    *("tokenizer", "face_choice", "window", "hop", "host", "port", "max_megabytes", "max_seconds"),
    *("transcribe", "language"),
)
_TRANSCRIPT = '--input=clip.mp4 --transcript="Hello."'
_STORED_CONFIG = " The config comes from the checkpoint: leave out --config."
_EVALUATION = ("--workdir=RUN", _evaluate, ("workdir", "data_dir", *PROCESSES), ("--workdir=RUN",), _STORED_CONFIG)
MODES = {
    "train": Mode(
        "Trains a model, or continues a run, and evaluates its best checkpoint.",
        "--config=configs/mini_dense.py --config.optim.epochs=5",
        _train,
        ("config", "workdir", *PROCESSES),
        hint=" Records for training are --config.data.dir=RECORDS.",
    ),
    "evaluate": Mode("Evaluates the best checkpoint of a run and writes its report.", *_EVALUATION),
    "predict": Mode(
        "Predicts the emotions in a clip, or in many.",
        f"--workdir=RUN {_TRANSCRIPT}",
        _predict,
        ("workdir", *_CLIP, "tokenizer"),
        ("--workdir=RUN", "--input=FILE"),
        _STORED_CONFIG,
    ),
    "demo": Mode(
        "Serves a page that predicts the emotions in clips that you upload or record.",
        "--workdir=RUN",
        _demo,
        ("workdir", *_DEMO),
        ("--workdir=RUN",),
        _STORED_CONFIG,
    ),
    "export": Mode(
        "Writes a run as one file that needs none of the model code, or as a directory to share.",
        "--workdir=RUN --out=model.mme2e",
        _export,
        ("workdir", "format", "out", "tokenizer"),
        ("--workdir=RUN",),
        _STORED_CONFIG,
    ),
    "run_exported": Mode(
        "Predicts the emotions in a clip, or in many, with an exported model.",
        f"--model=model.mme2e {_TRANSCRIPT}",
        _run_exported,
        ("model", *_CLIP),
        ("--model=FILE", "--input=FILE"),
    ),
    "sparsity_curve": Mode("Evaluates a sparse run at other attention thresholds.", *_EVALUATION),
    "ablation": Mode("Evaluates a run with each subset of its modalities.", *_EVALUATION),
    "import_weights": Mode(
        "Makes a run from weights of the paper's code, or of ALBERT.",
        "--from=FILE --config=configs/mosei_sparse.py --workdir=RUN",
        _import_weights,
        ("from", "config", "workdir"),
        ("--from=FILE", "--config=CONFIG", "--workdir=RUN"),
    ),
    "config": Mode(
        "Prints the values that training would use, what they mean and where they come from.",
        "--config=mini_sparse --config.optim.lr=5e-4",
        _config,
        ("config",),
    ),
    "sweep": Mode(
        "Trains one config with several seeds and values.",
        "--config=mini_sparse --seeds=0,1 --grid=config.optim.lr=1e-3,5e-4",
        _sweep,
        ("config", "seeds", "grid", "out"),
    ),
}
