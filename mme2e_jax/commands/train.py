"""Trains a model, or continues a run, and evaluates its best checkpoint."""

import dataclasses
from pathlib import Path
from typing import Protocol

import jax

from mme2e_jax.commands.evaluate import evaluate_run
from mme2e_jax.config.devices import devices_to_use
from mme2e_jax.config.schema import Config
from mme2e_jax.constants import EMBEDDED
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.distributed import is_first, report_lost_processes, wait_for_all
from mme2e_jax.runtime.files import OutputExistsError
from mme2e_jax.runtime.signals import Interrupted, Stopped, StopRequests
from mme2e_jax.training.loop import train


class MakeCorpus(Protocol):
    """Generates and prepares the embedded corpus; the launcher supplies it."""

    def __call__(self, records: Path, *, utterances: int, seed: int, kind: str, dataset: str) -> None: ...


def train_and_evaluate(config: Config, workdir: Path, make_corpus: MakeCorpus) -> None:
    """Trains, or continues the run in `workdir`, evaluates and writes the report.

    `make_corpus` is called if records of the embedded corpus are needed and missing. Raises `UserError` if devices,
    records, weights or the run directory do not fit the config, or the disk is full.
    """
    devices_to_use(config, jax.device_count())
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, dir=config.records_directory))
    if is_first():
        _make_records(config, make_corpus)
    wait_for_all("the records are there")
    dataset = open_dataset(config.data.dir, config.data.dataset, config.records_kind)
    try:
        with report_lost_processes():
            batches = train(config, dataset, workdir)
            with StopRequests() as stop:
                evaluate_run(workdir, batches=batches, while_wanted=stop.interruptible)
    except Stopped as stopped:
        console.print(stopped)
    except Interrupted:
        console.print("Stopped on request. Training is complete and saved. The same command evaluates the run.")


def _make_records(config: Config, make_corpus: MakeCorpus) -> None:
    records = Path(config.data.dir)
    if config.mini is None or config.data.dataset not in EMBEDDED or (records / "dataset_info.json").exists():
        return
    try:
        make_corpus(
            records,
            utterances=config.mini.utterances,
            seed=config.mini.seed,
            kind=config.records_kind,
            dataset=config.data.dataset,
        )
    except OutputExistsError as error:
        raise UserError(f"--config.data.dir: {error}") from error
