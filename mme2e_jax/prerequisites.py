"""What must lie on disk before a run can start. Imports no framework, so that a run that cannot start ends at once."""

from pathlib import Path

from mme2e_jax.config import Config
from mme2e_jax.errors import UserError

_HOW_TO_PREPARE = {
    "mini": "`python launch.py --config=configs/mini_sparse.py` makes those of the embedded corpus",
    "mosei": (
        "Make them from the raw release with\n"
        "  python -m data_tools.prepare --dataset=mosei --raw=RELEASE --out=RECORDS --tokenizer=albert-base-v2\n"
        "(see its --help)"
    ),
    # Its release has another layout, which data_tools does not read.
    "iemocap": "Write them with data_tools.records.write_dataset, which documents what an utterance consists of",
}


def missing_records(directory: str | Path, dataset: str) -> str | None:
    """What is wrong with a directory of records and how to get them; None if they are there."""
    directory = Path(directory)
    if (directory / "dataset_info.json").is_file():
        return None
    found = "holds no dataset_info.json" if directory.exists() else "does not exist"
    return (
        f"No prepared records of {dataset}: {str(directory)!r} {found}. {_HOW_TO_PREPARE[dataset]}; name their "
        "directory with --config.data.dir=RECORDS, or --data_dir=RECORDS to evaluate."
    )


def missing_albert(directory: str, size: str) -> str | None:
    """What is wrong with a directory of ALBERT's weights and how to get them; None if they are there."""
    names = ("config.json", "model.safetensors")
    if directory and all((Path(directory) / name).is_file() for name in names):
        return None
    found = f"{directory!r} has none" if directory else "it is empty"
    return (
        f"config.model.text.dir: expected a directory with {' and '.join(names)} of an ALBERT v2 checkpoint, but "
        f"{found}. Download one (for size {size}: albert/albert-{size}-v2 on the Hugging Face hub, for instance with "
        f"`hf download albert/albert-{size}-v2 --local-dir=DIR`) and pass --config.model.text.dir=DIR, or start from "
        "random weights with --config.model.text.init=random."
    )


def check(config: Config) -> None:
    """Looks for everything that training reads.

    Args:
      config: validated.

    Raises:
      UserError: naming all that is missing, and how to get it.
    """
    text, missing = config.model.text, []
    # The embedded corpus is made where it is missing.
    if config.data.dataset != "mini":
        missing.append(missing_records(config.data.dir, config.data.dataset))
    if text.init == "pretrained" and "t" in config.model.modalities:
        missing.append(missing_albert(text.dir, text.size))
    found = [problem for problem in missing if problem]
    if found:
        raise UserError("\n\n".join(found))
