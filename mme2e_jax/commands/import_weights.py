"""Makes a run from weights of the paper's code or of ALBERT.

    python -m mme2e_jax.import_weights --from=FILE --config=CONFIG --workdir=RUN
    python launch.py --mode=evaluate --workdir=RUN --data_dir=RECORDS
    python launch.py --config=CONFIG --config.init.checkpoint=RUN --workdir=OTHER

FILE is a state dict of the paper's code (.pt from torch.save, or .npz with the same names), or the directory of an
ALBERT v2 checkpoint from the Hugging Face hub, which fills the text encoder only. CONFIG gives the architecture.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mme2e_jax.checkpoints.reader import DIRECTORY, RunRecord, list_steps
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.config.preflight import how_to_prepare
from mme2e_jax.config.schema import Config, EndToEndModelConfig
from mme2e_jax.constants import LABEL_NAMES
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import Variables, abstract_variables, initial_variables
from mme2e_jax.pickles import torch_file
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.console import console
from mme2e_jax.weights import paper_weights, pretrained
from mme2e_jax.weights.torch_weights import convert, paper_rules


class _DataFacts(NamedTuple):
    """Labels, tokenizer and preprocessing of the config's records, as far as there are any."""

    label_names: Sequence[str]
    tokenizer: Mapping[str, Any]
    preprocessing: Mapping[str, Any]


_Imported = tuple[Variables, Mapping[str, Any], list[str]]  # variables, tokenizer metadata, notes


def import_weights(config: Config, source: Path, workdir: Path) -> None:
    """Makes a run with the architecture of a config from weights; writes nothing unless all of them fit.

    `source` is a file with a state dict of the paper's code, or the directory of an ALBERT v2 checkpoint. Raises
    `UserError` if the weights cannot be read or do not fit, or `workdir` holds checkpoints.
    """
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir: expected a directory, or a new one, found the file {workdir}.")
    if list_steps(workdir / DIRECTORY):
        raise UserError(f"{workdir} holds checkpoints already; import into another --workdir.")
    data = _data_facts(config)
    variables, tokenizer, notes = (_from_albert if source.is_dir() else _from_state_dict)(config, source, data)
    record = RunRecord(
        config=config.to_dict(),
        label_names=list(data.label_names),
        tokenizer=dict(tokenizer),
        preprocessing=dict(data.preprocessing),
        thresholds={},
        history=[],
    )
    writer = CheckpointWriter(workdir)
    writer.save_imported(variables, record)
    writer.wait()
    for note in notes:
        console.print(note)
    if not data.preprocessing:
        console.print("config.data.dir has no records: the tokenizer and preprocessing of the weights are unknown")
    console.print(f"Wrote {workdir}; evaluate it with python launch.py --mode=evaluate --workdir={workdir}")


def _data_facts(config: Config) -> _DataFacts:
    directory = Path(config.data.dir)
    if not config.data.dir or not (directory / "dataset_info.json").is_file():
        if config.data.dataset not in LABEL_NAMES:
            how = how_to_prepare(config.data.dataset, config.records_kind)
            raise UserError(
                f"config.data.dir: expected prepared records, which hold the labels of {config.data.dataset}, found "
                f"none in {config.data.dir!r}. {how}"
            )
        return _DataFacts(LABEL_NAMES[config.data.dataset], {}, {})
    # Slow to import.
    from mme2e_jax.data.dataset import open_dataset

    dataset = open_dataset(directory, config.data.dataset, config.records_kind)
    if dataset.name != config.data.dataset:
        raise UserError(f"config.data.dir: expected records of {config.data.dataset}, found those of {dataset.name}.")
    return _DataFacts(dataset.label_names, dataset.tokenizer, dataset.preprocessing)


def _from_state_dict(config: Config, source: Path, data: _DataFacts) -> _Imported:
    tensors = torch_file.read(source)
    paper_weights.check_model(tensors, config.model.name, str(source))
    embedding = tensors.get(paper_weights.WORD_EMBEDDING, np.zeros(()))
    rows = embedding.shape[0] if embedding.ndim else None
    has_text = isinstance(config.model, EndToEndModelConfig) and "t" in config.model.modalities
    tokenizer = _tokenizer(rows if has_text else None, {}, data, source)
    spec = model_spec(config, len(data.label_names), tokenizer)
    used, left_out = paper_weights.drop_unused(tensors, spec)
    variables = abstract_variables(spec)
    shapes = {path: x.shape for path, x in variables.arrays().items()}
    arrays = convert(used, paper_rules(spec), str(source), shapes)
    notes = [f"{config.model.name}: {len(arrays)} weights of {source}, {config.model.modalities}"]
    notes += [f"  left out: {reason} ({len(names)})" for reason, names in left_out.items()]
    return variables.with_arrays(arrays), tokenizer, notes


def _from_albert(config: Config, source: Path, data: _DataFacts) -> _Imported:
    if not isinstance(config.model, EndToEndModelConfig) or "t" not in config.model.modalities:
        raise UserError(
            f"{source} is a directory, as of ALBERT, but the config's model ({config.model.name}, "
            f"{config.model.modalities}) has no text encoder. Give a file with a state dict of the paper's code."
        )
    weights = pretrained.read_albert(str(source), config.model.text.size)
    rows = len(weights["text/word"])
    tokenizer = _tokenizer(rows, pretrained.read_tokenizer(str(source), rows), data, source)
    spec = model_spec(config, len(data.label_names), tokenizer)
    variables = pretrained.with_albert(initial_variables(spec, config.seed), weights)
    note = f"{config.model.name}: text encoder of {source}; all other weights are random (seed {config.seed})"
    return variables, tokenizer, [note]


def _tokenizer(rows: int | None, found: Mapping[str, Any], data: _DataFacts, source: Path) -> Mapping[str, Any]:
    """Tokenizer metadata of the records, or else of the weights."""
    if not data.tokenizer or rows is None:
        return data.tokenizer or ({"vocab_size": rows, **found} if rows is not None else {})
    wrong = {k: v for k, v in {"vocab_size": rows, **found}.items() if data.tokenizer.get(k) != v}
    if wrong:
        differences = "; ".join(f"{k}: weights {v}, records {data.tokenizer.get(k)}" for k, v in wrong.items())
        raise UserError(f"{source} does not fit the records of config.data.dir: {differences}.")
    return data.tokenizer
