"""Checks that files and packages exist, before any framework is imported."""

import importlib.util
from pathlib import Path

from mme2e_jax.config.schema import Config, EndToEndModelConfig, TextConfig
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.errors import UserError

ALBERT_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def how_to_prepare(dataset: str, kind: str) -> str:
    """How to get records of a kind and pass them, as a sentence."""
    if dataset in EMBEDDED:
        config = {"media": "mini_sparse.py", "features": "lf_rnn.py"}[kind]
        option = "" if dataset == "mini" else f" --config.data.dataset={dataset}"
        how = f"`python launch.py --config=configs/{config}{option}` makes those of the embedded corpus"
    else:
        tokenizer = "mini" if dataset == "clips" else "albert-base-v2"
        option = {"media": f"--tokenizer={tokenizer}", "features": "--kind=features"}[kind]
        how = (
            "Make them from the raw release with\n"
            f"  python -m data_tools.prepare --dataset={dataset} --raw=RELEASE --out=RECORDS {option}\n(see its --help)"
        )
    return f"{how}; name their directory with --config.data.dir=RECORDS, or --data_dir=RECORDS to evaluate."


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
        found = f"{directory!r} is no directory"
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
    """The text section if training reads ALBERT's weights; None otherwise, also if text starts from another run."""
    m = config.model
    from_run = config.teacher or (config.init.checkpoint and "t" in config.init.modalities)
    if not isinstance(m, EndToEndModelConfig) or "t" not in m.modalities or from_run:
        return None
    return m.text if m.text.init == "pretrained" else None


def check(config: Config, workdir: Path | None = None) -> None:
    """Raises `UserError` with everything that training reads and that is missing, and how to get it.

    A run that has checkpoints in `workdir` resumes and reads no initial weights.
    """
    missing: list[str | None] = []
    start, teacher, project = config.init.checkpoint, config.teacher, config.log.wandb
    text = pretrained_text(config)
    if workdir and any(path.name.isdigit() for path in (workdir / "checkpoints").glob("*")):
        start, teacher, text = "", "", None
    if start and not Path(start).exists():
        missing.append(
            "config.init.checkpoint: expected a run directory, a shared model, or a file with a state dict of the "
            f"paper's code (.pt, .npz); {start!r} does not exist."
        )
    if teacher and not (Path(teacher) / "checkpoints").is_dir():
        found = "holds no checkpoints/" if Path(teacher).is_dir() else "does not exist"
        missing.append(f"config.init.teacher: expected the directory of a dense run; {teacher!r} {found}.")
    wandb = importlib.util.find_spec("wandb") if project else None
    # A folder `wandb` in the current directory, which W&B makes, looks like a namespace package.
    if project and (wandb is None or wandb.origin is None):
        missing.append(
            f"config.log.wandb: expected the package wandb to log to the project {project!r}, but it is not installed. "
            "Install it with `pip install wandb`, or leave this key empty: TensorBoard shows the same curves."
        )
    # Training generates the embedded corpus if it is missing.
    if config.data.dataset not in EMBEDDED:
        missing.append(missing_records(config.data.dir, config.data.dataset, config.records_kind))
    if text:
        missing.append(missing_albert(text.dir, text.size))
    if any(missing):
        raise UserError("\n\n".join(filter(None, missing)))
