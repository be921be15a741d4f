"""Writes the model card of a shared model, with a YAML header."""

import re
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from mme2e_jax.checkpoints import hub
from mme2e_jax.config.schema import EndToEndModelConfig
from mme2e_jax.constants import EMBEDDED, MODALITY_NAMES
from mme2e_jax.errors import UserError
from mme2e_jax.html.formats import format_score
from mme2e_jax.models.variables import fusion_order, parameter_count
from mme2e_jax.runs.load import Run
from mme2e_jax.runs.stored_scores import REPORT, StoredReport, read_scores

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")
_DATASETS = {
    "mini": "the embedded corpus of mme2e_jax",
    "mini_iemocap": "the embedded corpus of mme2e_jax, as dialogues",
    "mosei": "CMU-MOSEI",
    "iemocap": "IEMOCAP",
    "clips": "the trainer's own clips",
}
_TASKS = {"v": "video-classification", "a": "audio-classification", "t": "text-classification"}


class _Metric(NamedTuple):
    identifier: str  # on the hub
    title: str


_METRICS = {
    "f1": _Metric("f1", "F1"),
    "auc": _Metric("roc_auc", "ROC AUC"),
    "weighted_accuracy": _Metric("balanced_accuracy", "balanced accuracy"),
    "accuracy": _Metric("accuracy", "accuracy"),
}


def render_card(run: Run, workdir: Path) -> str:
    """The card, with the scores of the run's report if it is of the same checkpoint.

    Raises `UserError` if the report is damaged.
    """
    config, report = run.config, _read_report(workdir, run.step)
    modalities = fusion_order(run.spec)
    name, dataset = workdir.resolve().name, _DATASETS[config.data.dataset]
    reads_clips = isinstance(config.model, EndToEndModelConfig)
    task = next(task for m, task in _TASKS.items() if m in modalities)
    own = config.data.dataset in EMBEDDED and not config.init.checkpoint
    data = ModelCardData(
        license="apache-2.0" if own else "other",
        library_name=hub.LIBRARY,
        pipeline_tag=task if reads_clips else None,
        tags=["emotion-recognition", "multimodal", "jax", config.model.name],
        model_name=name,
        eval_results=_results(report, task, config.data.dataset, dataset) if report else None,
    )
    template = _environment().get_template("model_card.md.jinja")
    return template.render(
        header=data.to_yaml(),
        name=name,
        dataset=dataset,
        run=run,
        reads_clips=reads_clips,
        modalities=[MODALITY_NAMES[m] for m in modalities],
        parameters=parameter_count(run.model.state.variables),
        report=report,
        metrics={key: metric.title for key, metric in _METRICS.items()},
        own=own,
    )


def _read_report(workdir: Path, step: int) -> StoredReport | None:
    try:
        return read_scores(workdir, step)
    except ValueError as error:
        raise UserError(f"{workdir / REPORT} is damaged or was edited: {error}. Evaluate the run again.") from error


def _results(report: StoredReport, task: str, dataset: str, title: str) -> list[EvalResult]:
    return [
        EvalResult(
            task_type=task,
            task_name="Emotion recognition",
            dataset_type=dataset,
            dataset_name=title,
            dataset_split="test",
            metric_type=metric.identifier,
            metric_name=f"{metric.title}, mean over labels",
            metric_value=round(value, 4),
        )
        for key, metric in _METRICS.items()
        if (value := report.test.mean.get(key)) is not None
    ]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("mme2e_jax.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"plain": _plain, "number": format_score, "thousands": "{:,}".format}
    return environment


def _plain(text: str) -> str:
    """Text without effect as Markdown, on one line."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
