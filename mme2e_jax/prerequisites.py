"""What must lie on disk before a run can start. Imports no framework, so that a run that cannot start ends at once."""

from pathlib import Path

from mme2e_jax.config import END_TO_END_MODELS, Config, records_kind
from mme2e_jax.errors import UserError

_FROM_RELEASE = (
    "Make them from the raw release with\n"
    "  python -m data_tools.prepare --dataset={dataset} --raw=RELEASE --out=RECORDS {flags}\n"
    "(see its --help)"
)
_FROM_EMBEDDED_CORPUS = "`python launch.py --config=configs/{config}.py` makes those of the embedded corpus"
_HOW_TO_PREPARE = {
    ("mini", "media"): _FROM_EMBEDDED_CORPUS.format(config="mini_sparse"),
    ("mini", "features"): _FROM_EMBEDDED_CORPUS.format(config="mini_lf_rnn"),
    ("mosei", "media"): _FROM_RELEASE.format(dataset="mosei", flags="--tokenizer=albert-base-v2"),
    ("mosei", "features"): _FROM_RELEASE.format(dataset="mosei", flags="--kind=features"),
    # Its release has another layout, which data_tools does not read.
    ("iemocap", "media"): (
        "Write them with data_tools.records.write_dataset, which documents what an utterance consists of"
    ),
    ("iemocap", "features"): _FROM_RELEASE.format(dataset="iemocap", flags="--kind=features"),
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


def needs_pretrained_text(config: Config) -> bool:
    """Whether a run of the config starts from ALBERT's weights."""
    model = config.model
    return model.name in END_TO_END_MODELS and "t" in model.modalities and model.text.init == "pretrained"


def check(config: Config) -> None:
    """Looks for everything that training reads.

    Args:
      config: validated.

    Raises:
      UserError: naming all that is missing, and how to get it.
    """
    missing = []
    # The embedded corpus is made where it is missing.
    if config.data.dataset != "mini":
        missing.append(missing_records(config.data.dir, config.data.dataset, records_kind(config)))
    if needs_pretrained_text(config):
        missing.append(missing_albert(config.model.text.dir, config.model.text.size))
    found = [problem for problem in missing if problem]
    if found:
        raise UserError("\n\n".join(found))
