"""What must lie on disk before a run can start. Imports no framework, so that a run that cannot start ends at once."""

import importlib.util
from pathlib import Path

from mme2e_jax.config.schema import Config, EndToEndModelConfig, TextConfig
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.errors import UserError

ALBERT_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FROM_RELEASE = (
    "Make them from the raw release with\n"
    "  python -m data_tools.prepare --dataset={dataset} --raw=RELEASE --out=RECORDS {flags}\n"
    "(see its --help)"
)
_FROM_EMBEDDED_CORPUS = "`python launch.py --config=configs/{config}` makes those of the embedded corpus"
_TOKENIZER, _FEATURES = "--tokenizer=albert-base-v2", "--kind=features"
_HOW_TO_PREPARE = {
    ("mini", "media"): _FROM_EMBEDDED_CORPUS.format(config="mini_sparse.py"),
    ("mini", "features"): _FROM_EMBEDDED_CORPUS.format(config="lf_rnn.py"),
    ("mosei", "media"): _FROM_RELEASE.format(dataset="mosei", flags=_TOKENIZER),
    ("mosei", "features"): _FROM_RELEASE.format(dataset="mosei", flags=_FEATURES),
    ("mini_iemocap", "media"): _FROM_EMBEDDED_CORPUS.format(config="mini_sparse.py --config.data.dataset=mini_iemocap"),
    ("mini_iemocap", "features"): _FROM_EMBEDDED_CORPUS.format(config="lf_rnn.py --config.data.dataset=mini_iemocap"),
    ("iemocap", "media"): _FROM_RELEASE.format(dataset="iemocap", flags=_TOKENIZER),
    ("iemocap", "features"): _FROM_RELEASE.format(dataset="iemocap", flags=_FEATURES),
    ("clips", "media"): _FROM_RELEASE.format(dataset="clips", flags=_TOKENIZER),
    ("clips", "features"): _FROM_RELEASE.format(dataset="clips", flags=_FEATURES),
}


def how_to_prepare(dataset: str, kind: str) -> str:
    """A sentence on how to get records of a kind, and how to name them then."""
    return (
        f"{_HOW_TO_PREPARE[dataset, kind]}; name their directory with --config.data.dir=RECORDS, or "
        "--data_dir=RECORDS to evaluate."
    )


def missing_records(directory: str | Path, dataset: str, kind: str) -> str | None:
    """What is wrong with a directory of records of a kind and how to get them; None if there are records."""
    directory = Path(directory)
    if (directory / "dataset_info.json").is_file():
        return None
    found = "holds no dataset_info.json" if directory.exists() else "does not exist"
    return f"No prepared records of {dataset}: {str(directory)!r} {found}. {how_to_prepare(dataset, kind)}"


def missing_albert(directory: str, size: str) -> str | None:
    """What is wrong with a directory of ALBERT's weights and how to get them; None if they are there."""
    if not directory:
        found = "it is empty"
    elif not Path(directory).is_dir():
        found = f"{directory!r} is none"
    else:
        weights = any((Path(directory) / name).is_file() for name in ALBERT_WEIGHTS)
        absent = ["config.json"] * (not (Path(directory) / "config.json").is_file()) + ["weights"] * (not weights)
        if not absent:
            return None
        found = f"{directory!r} has no {' and no '.join(absent)}"
    return (
        f"config.model.text.dir: expected a directory with config.json and {' or '.join(ALBERT_WEIGHTS)} of an ALBERT "
        f"v2 checkpoint, but {found}. Download one (for size {size}: albert/albert-{size}-v2 on the Hugging Face hub, "
        f"for instance with `hf download albert/albert-{size}-v2 --local-dir=DIR`) and pass "
        "--config.model.text.dir=DIR, or start from random weights with --config.model.text.init=random."
    )


def pretrained_text(config: Config) -> TextConfig | None:
    """The text encoder's section if training reads ALBERT's weights; None if it does not.

    A checkpoint to start from may have a text encoder of its own.
    """
    m = config.model
    from_checkpoint = config.init.checkpoint and "t" in config.init.modalities
    if not isinstance(m, EndToEndModelConfig) or "t" not in m.modalities or from_checkpoint:
        return None
    return m.text if m.text.init == "pretrained" else None


def missing_start(checkpoint: str) -> str | None:
    """What is wrong with a checkpoint to start from; None if it is there, or none is asked for."""
    if not checkpoint or Path(checkpoint).exists():
        return None
    return (
        "config.init.checkpoint: expected the directory of a run, or a file with a state dict of the paper's code "
        f"(.pt, .npz), to start from; {checkpoint!r} does not exist."
    )


def missing_wandb(project: str) -> str | None:
    """What is wrong with this Python, and how to mend it; None if it can log to a W&B project, or none is asked for."""
    spec = importlib.util.find_spec("wandb") if project else None
    # W&B's own folder `wandb` in the current directory passes for a package without files.
    if not project or (spec is not None and spec.origin is not None):
        return None
    return (
        f"config.log.wandb: expected the package wandb to log to the project {project!r}, but it is not installed. "
        "Install it with `pip install wandb`, or leave this out: TensorBoard shows the same curves."
    )


def check(config: Config) -> None:
    """Looks for everything that training reads.

    Args:
      config: validated.

    Raises:
      UserError: naming all that is missing, and how to get it.
    """
    missing = [missing_start(config.init.checkpoint), missing_wandb(config.log.wandb)]
    # The embedded corpus is made where it is missing.
    if config.data.dataset not in EMBEDDED:
        missing.append(missing_records(config.data.dir, config.data.dataset, config.records_kind))
    if text := pretrained_text(config):
        missing.append(missing_albert(text.dir, text.size))
    found = [problem for problem in missing if problem]
    if found:
        raise UserError("\n\n".join(found))
