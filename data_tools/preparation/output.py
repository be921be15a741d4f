"""Writes extracted, split and encoded utterances as a directory of records."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_tools.preparation.settings import Settings
from data_tools.records import records
from data_tools.records.record_kinds import RecordKind
from data_tools.records.report import Report
from mme2e_jax.media.utterance import Utterance
from mme2e_jax.media.workers import JobResult
from mme2e_jax.runtime.files import write_json


def write_records(
    out: Path,
    settings: Settings,
    label_names: Sequence[str],
    parts: Mapping[str, Sequence[Utterance]],
    results: Sequence[JobResult],
    kind: RecordKind,
    report: Report,
) -> None:
    """Writes the records of the splits `parts`, with metadata and reports; `results` name the files of the arrays."""
    spools = {name: result.job.spool for result in results for name in result.kept}

    def add_files(directory: Path) -> None:
        if kind.encoder is not None:
            kind.encoder.save(directory / "tokenizer")
        write_json(directory / "report.json", report.to_json(), indent=1, ensure_ascii=False)

    records.write_dataset(
        out,
        name=settings.source.dataset,
        splits={split: _examples(part, spools, kind) for split, part in parts.items()},
        metadata={"dataset": settings.source.dataset, "label_names": list(label_names), **kind.metadata},
        schema=kind.schema,
        add_files=add_files,
    )


def _examples(part: Sequence[Utterance], spools: dict[str, Path], kind: RecordKind) -> Iterator[dict[str, Any]]:
    for utterance in part:
        with np.load(spools[utterance.id]) as spool:
            keys = {name: f"{utterance.id}/{name}" for name in kind.schema.arrays}
            arrays = {name: spool[key] for name, key in keys.items() if key in spool}
        yield {
            "utterance_id": utterance.id,
            "dialogue_id": utterance.video,
            "speaker": utterance.speaker,
            "transcript": utterance.transcript,
            "label": np.array(utterance.label, np.float32),
            **kind.encode_text(utterance.transcript),
            **arrays,
        }
