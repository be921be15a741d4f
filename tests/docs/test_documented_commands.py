"""Every documented command is valid, and is run by a test or `.ci/run`, or has a reason why not."""

import ast
import importlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from mme2e_jax.commands.main import MODES
from mme2e_jax.config.cli import config_with
from tests.helpers.commands import PAGES, Command, commands, fences

PREPARE = "python -m data_tools.prepare"
RAW = "--raw=RELEASE --out=RECORDS"
MOSEI = "python launch.py --config=configs/mosei_sparse.py"
PAPER_SITES = "--config.model.sparse_region=1 --config.model.sparse_once=False"
TRAIN = f"{MOSEI} --config.data.dir=RECORDS --config.model.text.dir=ALBERT"
TWO_PROCESSES = "tests/runtime/test_distributed.py::test_two_processes_train_and_evaluate_as_one_does"
TWO = "--config.data.batch_size=128 --workdir=RUN --distributed --coordinator=HOST:PORT --process_count=2"
CLIPS = "python launch.py --config=configs/clips_sparse.py --config.data.dir=RECORDS"
OWN = "tests/docs/test_own_data.py::test_the_pages_commands_lead_from_a_table_to_predictions"
DEMO = "tests/commands/test_demo.py::test_an_uploaded_clip_has_the_page_that_the_command_writes"

# The test that runs each command, with real paths and small sizes; or the reason why none does.
RUN_BY = {
    # README.md
    "pip install -r requirements.txt && python launch.py --config=configs/mini_sparse.py": ".ci/run",
    "pip install -r requirements.txt && python -m pytest": ".ci/run",
    "python launch.py --mode=evaluate --workdir=runs/mini_sparse": ".ci/run",
    "python launch.py --mode=sparsity_curve --workdir=runs/mini_sparse": (
        "tests/commands/test_sparsity_curve.py::test_the_table_has_a_row_for_each_threshold"
    ),
    "python launch.py --mode=ablation --workdir=runs/mini_sparse": (
        "tests/commands/test_ablation.py::test_all_modalities_have_the_evaluations_scores"
    ),
    'python launch.py --mode=predict --workdir=runs/mini_sparse --input=clip.mp4 --transcript="What is said in it."': (
        "tests/predict/test_predictor.py::test_the_command_writes_to_its_output_and_refuses_invalid_flags"
    ),
    "python launch.py --mode=predict --workdir=runs/mini_sparse --input=clip.mp4": (
        "tests/predict/test_predictor.py::test_the_command_writes_to_its_output_and_refuses_invalid_flags"
    ),
    "python launch.py --mode=predict --workdir=runs/mini_sparse --input=film.mkv --transcript_file=film.srt": OWN,
    "python launch.py --mode=predict --workdir=runs/mini_sparse --input=clips": (
        "tests/predict/test_predictor.py::test_the_command_predicts_a_folder_and_goes_on_where_it_was_stopped"
    ),
    "pip install -r requirements.txt -r requirements-demo.txt": ".ci/run",
    "python launch.py --mode=demo --workdir=runs/mini_sparse": DEMO,
    "python launch.py --mode=export --workdir=runs/mini_sparse --out=model.mme2e": (
        "tests/export/test_load.py::test_the_command_exports_to_the_run_and_replaces_exports_only"
    ),
    'python -m mme2e_jax.run_exported model.mme2e clip.mp4 --transcript="What is said in it."': (
        "tests/test_run_exported.py::test_an_exported_model_predicts_what_its_run_predicts"
    ),
    "python launch.py --mode=export --workdir=runs/mini_sparse --format=hub --out=my_model": (
        "tests/export/test_hub.py::test_an_export_holds_the_run_in_files_that_other_programs_read"
    ),
    "hf upload USER/my_model my_model": "not run: needs a network",
    "hf download USER/my_model --local-dir=my_model": "not run: needs a network",
    'python launch.py --mode=predict --workdir=my_model --input=clip.mp4 --transcript="What is said in it."': (
        "tests/predict/test_predictor.py::test_a_shared_model_predicts_what_its_run_predicts"
    ),
    "python launch.py --mode=config --config=configs/mini_dense.py --config.optim.lr=5e-4": (
        "tests/commands/test_config.py::test_values_come_from_the_file_a_flag_or_the_program"
    ),
    "python launch.py --config=configs/mini_dense.py --config.optim.lr=5e-4 --config.model.modalities=ta "
    "--workdir=runs/text_audio": TWO_PROCESSES,
    # from_the_papers_code.md, runs.md
    "python launch.py --mode=import_weights --from=model.pt --config=configs/mosei_sparse.py "
    f"{PAPER_SITES} --workdir=RUN": ("tests/commands/test_import_weights.py::test_a_state_dict_of_the_papers_own_size"),
    "python launch.py --mode=evaluate --workdir=RUN --data_dir=RECORDS": (
        "tests/test_launch.py::test_evaluating_on_records_that_moved"
    ),
    f"{MOSEI} --config.data.dir=RECORDS --config.init.checkpoint=model.pt --config.init.modalities=tav "
    f"--workdir=RUN {PAPER_SITES}": "tests/weights/test_warm_start.py::test_a_run_goes_on_without_its_start",
    # releases.md
    "hf download albert/albert-base-v2 --local-dir=ALBERT": "not run: needs a network",
    f"{PREPARE} --dataset=mosei {RAW} --tokenizer=ALBERT": (
        "tests/test_prepare.py::test_mosei_takes_a_given_tokenizer_split_files_and_the_videos_own_sound"
    ),
    f"{TRAIN} --workdir=RUN": "tests/test_configs.py::test_a_config_trains_a_step_and_evaluates",
    f"{PREPARE} --dataset=iemocap {RAW} --tokenizer=ALBERT --fold=5": (
        "tests/test_prepare_iemocap.py::test_sessions_are_on_one_side"
    ),
    "python launch.py --config=configs/iemocap_sparse.py --config.data.dir=RECORDS --config.model.text.dir=ALBERT "
    "--workdir=RUN": "tests/test_configs.py::test_a_config_trains_a_step_and_evaluates",
    f"{PREPARE} --dataset=processed_mosei {RAW} --tokenizer=ALBERT": (
        "tests/releases/test_processed.py::test_generated_folders_become_records"
    ),
    f"{PREPARE} --dataset=mosei {RAW} --kind=features": (
        "tests/test_prepare_features.py::test_examples_hold_the_features_of_their_clips"
    ),
    "python launch.py --config=configs/lf_rnn.py:mosei --config.data.dir=RECORDS --workdir=RUN": (
        "tests/releases/test_published_features.py::test_baselines_train_on_published_features"
    ),
    f"{PREPARE} --dataset=processed_mosei {RAW} --kind=features --features=published": (
        "tests/releases/test_published_features.py::test_generated_features_become_records"
    ),
    "python -m data_tools.inspect_records RECORDS": OWN,
    "python -m data_tools.generate --out=RELEASE --utterances=48": (
        "tests/docs/test_own_data.py::test_a_release_is_generated_by_the_command"
    ),
    "pip install -r requirements.txt -r requirements-beam.txt": ".ci/run",
    f"{PREPARE} --dataset=mosei {RAW} --tokenizer=ALBERT "
    "--beam_pipeline_options=runner=DirectRunner,direct_num_workers=4,direct_running_mode=multi_processing": (
        "tests/preparation/test_beam.py::test_the_local_runner_writes_the_same_bytes_as_the_process_pool"
    ),
    f"{PREPARE} --dataset=mosei {RAW} --tokenizer=ALBERT "
    "--beam_release=gs://BUCKET/RELEASE --beam_staging=gs://BUCKET/STAGING "
    "--beam_pipeline_options=runner=DataflowRunner,project=PROJECT,region=REGION,temp_location=gs://BUCKET/tmp,"
    "sdk_container_image=IMAGE,number_of_worker_harness_threads=1,max_num_workers=32": (
        "not run: needs a cloud; tests/preparation/test_beam.py knows its options"
    ),
    f"{PREPARE} --dataset=mosei {RAW} --tokenizer=ALBERT --beam_pipeline_options=runner=FlinkRunner,"
    "flink_master=HOST:8081,parallelism=64,environment_type=EXTERNAL,environment_config=localhost:50000": (
        "not run: needs a cluster; tests/preparation/test_beam.py knows its options"
    ),
    f"{PREPARE} --dataset=mosei {RAW} --tokenizer=ALBERT "
    "--beam_release=s3://BUCKET/RELEASE --beam_staging=s3://BUCKET/STAGING "
    "--beam_pipeline_options=runner=SparkRunner,spark_master_url=spark://HOST:7077,environment_type=DOCKER,"
    "environment_config=IMAGE": "not run: needs a cluster; tests/preparation/test_beam.py knows its options",
    # runs.md
    "tensorboard --logdir=runs": (
        "tests/training/test_loggers.py::test_tensorboard_reads_back_what_was_written_in_few_groups"
    ),
    "pip install wandb": ".ci/run",
    "python launch.py --config=configs/mini_sparse.py --config.log.wandb=PROJECT --workdir=RUN": (
        "tests/training/test_loop.py::test_a_run_logs_to_wandb_where_asked_to"
    ),
    "python -m benchmarks.soak --kills=50": (
        "tests/training/test_soak.py::test_a_run_killed_at_ten_moments_ends_as_if_left_alone"
    ),
    "python launch.py --config=configs/mini_sparse.py --config.model.remat=True --config.data.batch_size=2 "
    "--config.optim.accumulate=4 --workdir=RUN": (
        "tests/training/test_accumulate.py::test_a_run_that_stops_within_a_window_resumes_with_the_same_numbers"
    ),
    "python launch.py --mode=sweep --config=configs/mini_sparse.py --seeds=0,1,2 --grid "
    "config.model.sparse_threshold=0.5,0.8": (
        "tests/commands/test_sweep.py::test_a_sweep_resumes_survives_a_failure_and_reports_the_spread"
    ),
    # several_gpus.md
    'pip install "jax[cuda13]==0.10.2"': "not run: needs a GPU",
    f"{TRAIN} --config.data.batch_size=64 --workdir=RUN": (
        "tests/training/test_devices.py::test_four_devices_train_and_predict_as_one_does"
    ),
    "XLA_FLAGS=--xla_force_host_platform_device_count=4 python launch.py --config=configs/mini_dense.py "
    "--workdir=RUN": "tests/training/test_devices.py::test_four_devices_train_and_predict_as_one_does",
    f"srun {TRAIN} --config.data.batch_size=128 --workdir=RUN --distributed": "not run: needs Slurm",
    f"{TRAIN} {TWO} --process_id=0": TWO_PROCESSES,
    f"{TRAIN} {TWO} --process_id=1": TWO_PROCESSES,
    # sparse_blocks.md
    "python -m docs.figures.sparse_blocks": "tests/docs/test_figures.py::test_a_figure_is_current",
    # architecture.md
    "python -m docs.figures.teacher --workdir=runs/mini_sparse": (
        "tests/docs/test_figures.py::test_a_taught_run_has_a_figure"
    ),
    "python -m docs.figures.architecture": "tests/docs/test_figures.py::test_a_figure_is_current",
    # your_own_data.md
    f"{PREPARE} --dataset=clips --raw=FOLDER --tokenizer=mini --dry_run": OWN,
    f"{PREPARE} --dataset=clips --raw=FOLDER --out=RECORDS --tokenizer=mini": OWN,
    f"{CLIPS} --workdir=RUN": OWN,
    f"{PREPARE} --dataset=clips --raw=FOLDER --out=RECORDS --tokenizer=ALBERT": (
        "tests/predict/test_predictor.py::test_logits_are_those_of_prepared_records"
    ),
    f"{CLIPS} --config.model.text.size=base --config.model.text.init=pretrained --config.model.text.dir=ALBERT "
    "--config.optim.text_lr_factor=50 --workdir=RUN": (
        "tests/predict/test_predictor.py::test_logits_are_those_of_prepared_records"
    ),
    "python launch.py --mode=evaluate --workdir=RUN": ".ci/run",
    'python launch.py --mode=predict --workdir=RUN --input=clip.mp4 --transcript="What is said in it."': (
        "tests/predict/test_predictor.py::test_the_command_writes_to_its_output_and_refuses_invalid_flags"
    ),
    "pip install -r requirements.txt -r requirements-transcribe.txt": ".ci/run",
    "hf download Systran/faster-whisper-base --local-dir=MODEL_DIR": "not run: needs a network",
    "python launch.py --mode=predict --workdir=RUN --input=clip.mp4 --transcribe=MODEL_DIR": (
        "tests/predict/test_transcribe.py::"
        "test_clips_without_words_are_recognised_and_predicted_again_with_another_model"
    ),
    "python launch.py --mode=demo --workdir=RUN": DEMO,
}
# Programs of other projects.
_INSTALLED = ("pip", "hf", "tensorboard")


def test_every_command_has_a_test_or_a_reason() -> None:
    shown = {command.text for command in commands()}

    assert not shown - set(RUN_BY), "documented commands that nothing runs"
    assert not set(RUN_BY) - shown, "commands that are no longer documented"


@pytest.mark.parametrize("test_id", sorted({where for where in RUN_BY.values() if not where.startswith("not run: ")}))
def test_the_tests_that_run_commands_exist(test_id: str) -> None:
    file, _, test = test_id.partition("::")
    assert Path(file).is_file()
    assert not test or re.search(rf"^def {test}\(", Path(file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("command", commands(), ids=lambda command: f"{command.page}: {command.text[:60]}")
def test_a_commands_flags_files_and_values_exist(command: Command) -> None:
    for program in command.parts:
        named = [word for word in program if re.fullmatch(r"requirements[\w-]*\.txt", word)]
        assert all(Path(name).is_file() for name in named)
    program = command.parts[-1]
    if program[0] == "srun":
        program = program[1:]
    if program[0] in _INSTALLED or program[1:3] == ["-m", "pytest"]:
        return
    assert program[0] == "python"
    source = Path(program[1]) if program[1] != "-m" else Path(*program[2].split(".")).with_suffix(".py")
    assert source.is_file()
    given = [flag.removeprefix("--").partition("=")[0] for flag in command.flags]
    plain = {name for name in given if not name.startswith("config.")}
    assert plain <= _flags_of(source, command.flags)
    overrides = [flag.removeprefix("--config.") for flag in command.flags if flag.startswith("--config.")]
    config = [flag.removeprefix("--config=") for flag in command.flags if flag.startswith("--config=")]
    assert bool(config) or not overrides
    if config:
        # Raises on unknown keys and invalid values.
        config_with(config[0], overrides)


def _flags_of(source: Path, given: Sequence[str]) -> set[str]:
    modes = [flag.removeprefix("--mode=") for flag in given if flag.startswith("--mode=")]
    if source.name == "launch.py":
        return {"mode", *MODES[modes[0] if modes else "train"].flags}
    if source.parent.name == "mme2e_jax":
        return set(MODES[source.stem].flags)
    text = source.read_text(encoding="utf-8")
    return set(re.findall(r'(?:DEFINE_\w+\(\s*"|add_argument\("--)(\w+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_python_in_a_page_compiles_and_its_imports_exist(page: Path) -> None:
    for language, content in fences(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names)
