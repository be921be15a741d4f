"""Checks that files and packages exist before training starts.

Imports no framework, so that a failing check is fast.
"""

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
    """How to get records of a kind and pass them, as a sentence."""
    return (
        f"{_HOW_TO_PREPARE[dataset, kind]}; name their directory with --config.data.dir=RECORDS, or "
        "--data_dir=RECORDS to evaluate."
    )


def missing_records(directory: str | Path, dataset: str, kind: str) -> str | None:
    """Error message for a directory without records; None if it has records."""
    directory = Path(directory)
    if (directory / "dataset_info.json").is_file():
        return None
    found = "holds no dataset_info.json" if directory.exists() else "does not exist"
    return f"No prepared records of {dataset}: {str(directory)!r} {found}. {how_to_prepare(dataset, kind)}"


def missing_albert(directory: str, size: str) -> str | None:
    """Error message for a directory without an ALBERT checkpoint; None if it has one."""
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
    """The text section if training reads ALBERT's weights; None otherwise, also if `init.checkpoint` has text."""
    m = config.model
    from_checkpoint = config.init.checkpoint and "t" in config.init.modalities
    if not isinstance(m, EndToEndModelConfig) or "t" not in m.modalities or from_checkpoint:
        return None
    return m.text if m.text.init == "pretrained" else None


def missing_start(checkpoint: str) -> str | None:
    """Error message for a missing `init.checkpoint`; None if it exists or is not set."""
    if not checkpoint or Path(checkpoint).exists():
        return None
    return (
        "config.init.checkpoint: expected the directory of a run, or a file with a state dict of the paper's code "
        f"(.pt, .npz), to start from; {checkpoint!r} does not exist."
    )


def missing_wandb(project: str) -> str | None:
    """Error message if a W&B project is set and wandb is not installed; None otherwise."""
    spec = importlib.util.find_spec("wandb") if project else None
    # A folder `wandb` in the current directory, which W&B makes, looks like a namespace package.
    if not project or (spec is not None and spec.origin is not None):
        return None
    return (
        f"config.log.wandb: expected the package wandb to log to the project {project!r}, but it is not installed. "
        "Install it with `pip install wandb`, or leave this key empty: TensorBoard shows the same curves."
    )


def check(config: Config) -> None:
    """Checks that everything that training reads exists.

    Raises:
      UserError: listing everything that is missing, and how to get it.
    """
    missing = [missing_start(config.init.checkpoint), missing_wandb(config.log.wandb)]
    # Training generates the embedded corpus if it is missing.
    if config.data.dataset not in EMBEDDED:
        missing.append(missing_records(config.data.dir, config.data.dataset, config.records_kind))
    if text := pretrained_text(config):
        missing.append(missing_albert(text.dir, text.size))
    found = [problem for problem in missing if problem]
    if found:
        raise UserError("\n\n".join(found))
