"""The program: its flags, its help, and which module does what each mode asks for."""

import os

# TensorFlow reads these when it is imported; here it only feeds data.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from mme2e_jax.config import preflight
from mme2e_jax.config.cli import (
    config_file,
    config_name,
    define_config_flag,
    loaded_config,
    parse_flags,
    with_config_paths,
)
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.jax_cache import prepare_jax

if TYPE_CHECKING:
    from mme2e_jax.commands.train import MakeCorpus

PROGRAM = "python launch.py"


class Mode(NamedTuple):
    """One thing that a user can ask for."""

    purpose: str
    example: str  # arguments
    run: Callable[["Arguments"], None]
    flags: tuple[str, ...]  # that it reads
    refused: tuple[str, ...] = ()  # that it refuses itself, saying what to do instead


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A parsed command line."""

    argv: Sequence[str]
    values: flags.FlagValues
    make_corpus: "MakeCorpus | None"

    def __getitem__(self, flag: str) -> Any:
        return self.values[flag].value


def run(make_corpus: "MakeCorpus | None", argv: Sequence[str] | None = None) -> None:
    """Runs the program; a user's mistake ends it with one message and exit status 1.

    Args:
      make_corpus: generator of the embedded corpus; training needs it, other modes do not.
      argv: the program's name and its arguments; None for this process's.
    """
    argv = sys.argv if argv is None else argv
    try:
        main(argv, make_corpus)
    except UserError as error:
        if any(argument.lstrip("-").startswith("distributed") for argument in argv[1:]):
            # Without waiting for the other processes, which wait for this one.
            print(f"\nError: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        sys.exit(f"\nError: {error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")


def main(argv: Sequence[str], make_corpus: "MakeCorpus | None") -> None:
    """Parses a command line and runs its mode.

    Raises:
      UserError: if the command line or anything that it names cannot be used.
    """
    if {"--help", "-help", "-h"} & set(argv[1:]):
        print(help_text())
        return
    argv = with_config_paths(argv)
    values = flags.FlagValues()
    define_config_flag(values, argv)
    _define_flags(values)
    surplus = parse_flags(argv, values)[1:]
    if surplus:
        raise UserError(f"Expected flags only, found {' '.join(surplus)!r}. A flag is written --name=value.")
    mode = str(values["mode"].value)
    _refuse_other_flags(mode, values)
    MODES[mode].run(Arguments(argv, values, make_corpus))


def _refuse_other_flags(name: str, values: flags.FlagValues) -> None:
    mode = MODES[name]
    read = {"mode", *mode.flags, *mode.refused}
    for flag in values:
        if values[flag].present and flag not in read and not flag.startswith("config."):
            known = ", ".join(f"--{flag}" for flag in mode.flags)
            raise UserError(f"--{flag} is not a flag of --mode={name}. Its flags are {known}.")


def help_text() -> str:
    """All modes, each with an example and its flags."""
    values = flags.FlagValues()
    define_config_flag(values, [])
    _define_flags(values)
    lines = ["Emotion recognition from video, speech and transcript.", ""]
    for name, mode in MODES.items():
        option = "" if name == "train" else f" --mode={name}"
        lines += [f"{name}: {mode.purpose}", f"  {PROGRAM}{option} {mode.example}"]
        lines += [f"    --{flag:<17} {values[flag].help}" for flag in mode.flags] + [""]
    lines += ["all modes:", f"    --{'mode':<17} One of {', '.join(MODES)}. Default: train."]
    return "\n".join(lines)


def _define_flags(values: flags.FlagValues) -> None:
    def text(name: str, doc: str, default: str | None = None) -> None:
        flags.DEFINE_string(name, default, doc, values)

    flags.DEFINE_enum("mode", "train", list(MODES), "What to do.", values)
    text("workdir", "Run directory. For training the default is runs/<config name>.")
    text("data_dir", "Records to evaluate on, if they are not where training found them.")
    text("input", "A video or sound file.")
    text("transcript", "The words of the clip.", "")
    text("transcript_file", "Words with times: .srt, .vtt, or .txt with lines ID___clip___start___end___text.")
    text("tokenizer", "Directory of the records' tokenizer, if neither run nor records hold it.")
    text("output_dir", "Directory for the results. Default: predictions/<clip>, in the run if there is one.")
    text(
        "out", "export: file to write, default WORKDIR/model.mme2e; sweep: directory, default runs/sweep-<config name>."
    )
    text("model", "An exported model.")
    text("from", "State dict of the paper's code (.pt, .npz), or directory of an ALBERT v2 checkpoint.")
    flags.DEFINE_list("seeds", [], "Seeds of the runs, as in 0,1,2.", values)
    flags.DEFINE_multi_string("grid", [], "config.KEY=VALUE,VALUE; several --grid: all combinations.", values)
    flags.DEFINE_bool("distributed", False, "This process is one of several that form one run.", values)
    text("coordinator", "HOST:PORT of process 0, if JAX finds no cluster.")
    flags.DEFINE_integer("process_count", None, "Number of processes.", 1, flag_values=values)
    flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", 0, flag_values=values)


def _train(a: Arguments) -> None:
    if a["data_dir"] is not None:
        raise UserError("--data_dir is for evaluation; training takes --config.data.dir=RECORDS.")
    config = parse_config(loaded_config(a.values))
    preflight.check(config)
    workdir = Path(a["workdir"] or Path("runs") / config_name(a.values))
    _import_frameworks(a)
    from mme2e_jax.commands.train import train_and_evaluate

    assert a.make_corpus is not None  # `launch` gives it; it alone trains
    train_and_evaluate(config, workdir, a.make_corpus)


def _evaluate(a: Arguments) -> None:
    workdir = _run_directory(a)
    _import_frameworks(a)
    from mme2e_jax.commands.ablation import ablate_run
    from mme2e_jax.commands.evaluate import evaluate_run
    from mme2e_jax.commands.sparsity_curve import curve_of_run
    from mme2e_jax.runtime.distributed import losses_told

    commands = {"evaluate": evaluate_run, "sparsity_curve": curve_of_run, "ablation": ablate_run}
    with losses_told():
        commands[a["mode"]](workdir, a["data_dir"])


def _predict(a: Arguments) -> None:
    if a["workdir"] is None or a["input"] is None:
        raise UserError(
            "Expected --workdir=RUN, the directory of a training run, and --input=FILE with --mode=predict."
        )
    _run_directory(a)
    from mme2e_jax.commands.predict import predict_clip

    predict_clip(
        a["workdir"],
        a["input"],
        transcript=a["transcript"],
        transcript_file=a["transcript_file"],
        tokenizer=a["tokenizer"],
        output_dir=a["output_dir"],
    )


def _export(a: Arguments) -> None:
    workdir = _run_directory(a)
    prepare_jax()
    from mme2e_jax.export.save import export_run

    export_run(workdir, a["out"], a["tokenizer"])


def _run_exported(a: Arguments) -> None:
    if a["model"] is None or a["input"] is None:
        raise UserError(
            "Expected an exported model and a clip, --model=model.mme2e --input=clip.mp4; found "
            f"{a['model'] or a['input'] or 'neither'}. See --help."
        )
    from mme2e_jax.commands.run_exported import predict_exported

    predict_exported(
        a["model"],
        a["input"],
        transcript=a["transcript"],
        transcript_file=a["transcript_file"],
        output_dir=a["output_dir"],
    )


def _import_weights(a: Arguments) -> None:
    if not (a["from"] and config_file(a.values) and a["workdir"]):
        raise UserError("Expected --from=FILE, --config=CONFIG and --workdir=RUN. See --help.")
    from mme2e_jax.commands.import_weights import import_weights

    import_weights(parse_config(loaded_config(a.values)), Path(a["from"]), Path(a["workdir"]))


def _sweep(a: Arguments) -> None:
    loaded_config(a.values)
    from mme2e_jax.commands.sweep import sweep_command

    out = Path(a["out"] or Path("runs") / f"sweep-{config_name(a.values)}")
    sys.exit(sweep_command(config_file(a.values), a.argv, a["seeds"] or [], a["grid"] or [], out))


def _run_directory(a: Arguments) -> str:
    if a["workdir"] is None:
        raise UserError(f"Expected --workdir=RUN, the directory of a training run, with --mode={a['mode']}.")
    if config_file(a.values):
        raise UserError(f"--mode={a['mode']} takes its config from the checkpoint: leave out --config.")
    return a["workdir"]


def _import_frameworks(a: Arguments) -> None:
    prepare_jax()
    import tensorflow as tf

    # Accelerators belong to JAX.
    tf.config.set_visible_devices([], "GPU")
    named = {name: a[name] for name in _DISTRIBUTED[1:]}
    if not a["distributed"]:
        for flag, value in named.items():
            if value is not None:
                raise UserError(f"--{flag} is for --distributed, which was not given.")
        return
    from mme2e_jax.runtime.distributed import join

    join(*named.values())


_DISTRIBUTED = ("distributed", "coordinator", "process_count", "process_id")
_EVALUATION = ("workdir", "data_dir", *_DISTRIBUTED)
_CLIP = ("input", "transcript", "transcript_file", "output_dir")
_RUN = "--workdir=runs/mini_sparse"
MODES = {
    "train": Mode(
        "Trains a model, or continues a run, and evaluates its best checkpoint.",
        "--config=configs/mini_sparse.py --config.optim.epochs=5",
        _train,
        ("config", "workdir", *_DISTRIBUTED),
        ("data_dir",),
    ),
    "evaluate": Mode(
        "Evaluates the best checkpoint of a run and writes its report.", _RUN, _evaluate, _EVALUATION, ("config",)
    ),
    "predict": Mode(
        "Predicts the emotions in a clip.",
        f'{_RUN} --input=clip.mp4 --transcript="What is said in it."',
        _predict,
        ("workdir", *_CLIP, "tokenizer"),
        ("config",),
    ),
    "export": Mode(
        "Writes a run as one file that needs none of the model code.",
        f"{_RUN} --out=model.mme2e",
        _export,
        ("workdir", "out", "tokenizer"),
        ("config",),
    ),
    "run_exported": Mode(
        "Predicts the emotions in a clip with an exported model.",
        '--model=model.mme2e --input=clip.mp4 --transcript="What is said in it."',
        _run_exported,
        ("model", *_CLIP),
    ),
    "sparsity_curve": Mode(
        "Evaluates a sparse run at other attention thresholds.", _RUN, _evaluate, _EVALUATION, ("config",)
    ),
    "ablation": Mode("Evaluates a run with each subset of its modalities.", _RUN, _evaluate, _EVALUATION, ("config",)),
    "import_weights": Mode(
        "Makes a run from weights of the paper's code, or of ALBERT.",
        "--from=FILE --config=configs/mosei_sparse.py --workdir=RUN",
        _import_weights,
        ("from", "config", "workdir"),
    ),
    "sweep": Mode(
        "Runs one config under several seeds and values.",
        "--config=configs/mini_sparse.py --seeds=0,1,2 --grid=config.model.sparse_threshold=0.5,0.8",
        _sweep,
        ("config", "seeds", "grid", "out"),
    ),
}
