"""Flags of the program and their help."""

import dataclasses
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from absl import flags

from mme2e_jax.config.cli import define_config_flag
from mme2e_jax.media.face_choice import CHOICES

if TYPE_CHECKING:
    from mme2e_jax.commands.train import MakeCorpus

PROGRAM = "python launch.py"
_TEXT_FLAGS = {
    "workdir": "Run directory. Default for training: runs/CONFIG_NAME. Other modes also take a shared model.",
    "data_dir": "Records to evaluate on. Default: the records of training.",
    "input": "Video or sound file. Or many: a folder with its subfolders, a pattern in quotes such as 'day*/*.mp4', or "
    "a .txt file with a path per line.",
    "transcript": "Words of the clip. Default: those of clip.srt, .vtt or .txt next to clip.mp4, if it exists.",
    "transcript_file": "Words with times: .srt, .vtt, or .txt of ID___clip___start___end___text.",
    "transcribe": "Directory of a Whisper model (CTranslate2) that recognises the words of clips without any.",
    "language": "Language that --transcribe recognises, such as en. Default: it is detected in each clip.",
    "tokenizer": "Tokenizer directory, if neither the run nor its records hold one.",
    "output_dir": "Output directory. Default: predictions/CLIP, or predictions/ for many; in the run if there is one.",
    "out": "File of an export (default WORKDIR/model.mme2e), or directory (WORKDIR/hub); directory of a sweep (default "
    "runs/sweep-CONFIG_NAME).",
    "model": "Exported model.",
    "host": "Address to bind to. Default: 127.0.0.1, which only this computer reaches.",
    "from": "State dict of the paper's code (.pt, .npz), or ALBERT v2 directory.",
    "coordinator": "HOST:PORT of process 0; not needed where JAX finds a cluster.",
}
PROCESSES = ("distributed", "coordinator", "process_count", "process_id")
_COLUMNS = 100


@dataclasses.dataclass(frozen=True)
class Arguments:
    """A parsed command line."""

    argv: Sequence[str]
    values: flags.FlagValues
    make_corpus: "MakeCorpus | None"

    def __getitem__(self, flag: str) -> Any:
        return self.values[flag].value


class Mode(NamedTuple):
    """A command of the program."""

    purpose: str
    example: str  # arguments after --mode
    run: Callable[[Arguments], None]
    flags: tuple[str, ...]
    required: tuple[str, ...] = ()  # as the user writes them
    hint: str = ""  # for a user who gives a flag of another mode


def help_text(modes: Mapping[str, Mode]) -> str:
    """Every mode with an example and its flags; the flags for several processes once, at the end."""
    values = defined_flags([], modes)

    def described(names: Sequence[str]) -> list[str]:
        docs = [f"    --{name:<15} {' '.join(str(values[name].help).split())}" for name in names]
        return [textwrap.fill(doc, _COLUMNS, subsequent_indent=" " * 22, break_on_hyphens=False) for doc in docs]

    lines = [
        "Emotion recognition from video, speech and transcript.",
        "",
        f"Usage: {PROGRAM} [--mode=MODE] FLAGS, where MODE is train by default",
        "",
    ]
    for name, mode in modes.items():
        option = "" if name == "train" else f" --mode={name}"
        lines += [f"{name}: {mode.purpose}", f"  {PROGRAM}{option} {mode.example}"]
        lines += [*described([flag for flag in mode.flags if flag not in PROCESSES]), ""]
    several = ", ".join(name for name, mode in modes.items() if "distributed" in mode.flags)
    return "\n".join([*lines, f"Several processes that form one run ({several}):", *described(PROCESSES)])


def defined_flags(argv: Sequence[str], modes: Mapping[str, Mode]) -> flags.FlagValues:
    """All flags, with their defaults; `argv` tells which config values are overridden."""
    values = flags.FlagValues()
    define_config_flag(values, argv)
    flags.DEFINE_enum("mode", "train", list(modes), "Command to run.", values)
    export_doc = "One file, or a directory in the layout of the Hugging Face hub."
    flags.DEFINE_enum("format", "file", ["file", "hub"], export_doc, values)
    face_doc = "Face to take if a frame shows several. Default: the choice of the model's data."
    flags.DEFINE_enum("face_choice", None, list(CHOICES), face_doc, values)
    for name, doc in _TEXT_FLAGS.items():
        flags.DEFINE_string(name, {"transcript": "", "host": "127.0.0.1"}.get(name), doc, values)
    windows = "Seconds of overlapping windows, for words without times; 0 for up to 10 s side by side. Default: 3."
    flags.DEFINE_float("window", 3.0, windows, 0.0, flag_values=values)
    flags.DEFINE_float("hop", 0.5, "Seconds from window to window. Default: 0.5.", 0.0, flag_values=values)
    port = "Port of the demo. Default: the first free one from 7860."
    flags.DEFINE_integer("port", None, port, 1, 65535, flag_values=values)
    size = "Largest file that the demo takes. Default: 100."
    flags.DEFINE_float("max_megabytes", 100.0, size, 0.001, flag_values=values)
    length = "Length in seconds of the longest clip that the demo takes. Default: 120."
    flags.DEFINE_float("max_seconds", 120.0, length, 0.1, flag_values=values)
    flags.DEFINE_list("seeds", [], "Seeds of the runs, such as 0,1,2.", values)
    flags.DEFINE_multi_string("grid", [], "config.KEY=VALUE,VALUE. All combinations are run", values)
    flags.DEFINE_bool("distributed", False, "This process is one of several.", values)
    flags.DEFINE_integer("process_count", None, "Number of processes.", 1, flag_values=values)
    flags.DEFINE_integer("process_id", None, "Number of this process, from 0.", 0, flag_values=values)
    return values
