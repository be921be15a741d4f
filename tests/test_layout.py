"""Tests mirror the source, and source files keep to the rules of the house."""

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("mme2e_jax", "data_tools")
FOLDERS = (*PACKAGES, "benchmarks", "configs", "docs", "tests")
MOST_LINES, MOST_MEDIAN_LINES, MOST_WORDS = 400, 120, 12

# Modules without a test file of their own, and a test that fails if they are wrong.
COVERED_BY = {
    "data_tools/embedded.py": "tests/test_prepare_features.py::test_examples_hold_the_features_of_their_clips",
    "data_tools/mini_corpus/dialogue_video.py": (
        "tests/test_prepare_iemocap.py::test_the_speaker_is_loud_on_their_own_channel"
    ),
    "data_tools/mini_corpus/dialogues.py": "tests/test_prepare_iemocap.py::test_other_emotions_are_counted",
    "data_tools/mini_corpus/expressions.py": (
        "tests/mini_corpus/test_face.py::test_every_pair_of_expressions_looks_different"
    ),
    "data_tools/mini_corpus/iemocap_release.py": "tests/test_prepare_iemocap.py::test_the_generator_writes_the_layout",
    "data_tools/mini_corpus/media.py": (
        "tests/test_generate.py::test_movies_are_h264_with_sound_as_long_as_their_clips"
    ),
    "data_tools/mini_corpus/mosei_release.py": "tests/test_generate.py::test_files_are_those_of_a_mosei_release",
    "data_tools/mini_corpus/mouth.py": "tests/test_generate.py::test_videos_are_the_same_in_any_order_and_alone",
    "data_tools/mini_corpus/processed_release.py": (
        "tests/releases/test_processed.py::test_generated_folders_become_records"
    ),
    "data_tools/mini_corpus/published_features.py": (
        "tests/releases/test_published_features.py::test_generated_features_become_records"
    ),
    "data_tools/mini_corpus/speakers.py": (
        "tests/mini_corpus/test_face.py::test_speakers_look_different_and_fit_a_detector"
    ),
    "data_tools/mini_corpus/video.py": "tests/test_generate.py::test_videos_are_the_same_in_any_order_and_alone",
    "data_tools/preparation/dry_run.py": (
        "tests/test_prepare.py::test_a_dry_run_says_what_would_be_used_and_writes_nothing"
    ),
    "data_tools/preparation/extraction.py": "tests/test_prepare.py::test_one_process_writes_the_same_bytes_as_two",
    "data_tools/preparation/output.py": (
        "tests/test_prepare.py::test_splits_are_by_video_and_the_metadata_counts_them"
    ),
    "data_tools/preparation/published_extraction.py": (
        "tests/releases/test_published_features.py::test_what_the_features_lack_is_in_the_report"
    ),
    "data_tools/preparation/splitting.py": (
        "tests/test_prepare.py::test_splits_are_by_video_and_the_metadata_counts_them"
    ),
    "data_tools/records/inspection.py": (
        "tests/test_inspect_records.py::test_counts_and_balance_are_those_of_the_records"
    ),
    "data_tools/records/inspection_page.py": (
        "tests/test_inspect_records.py::test_the_page_needs_no_other_file_and_escapes_all_text"
    ),
    "data_tools/records/shards.py": (
        "tests/records/test_records.py::test_what_is_written_is_read_back_in_order_over_several_shards"
    ),
    "data_tools/releases/release.py": "tests/releases/test_mosei.py::test_a_release_is_read_in_both_layouts",
    "data_tools/releases/sources.py": "tests/preparation/test_settings.py::test_settings_that_cannot_work_are_refused",
    "mme2e_jax/checkpoints/digests.py": (
        "tests/checkpoints/test_reader.py::test_any_damage_to_any_file_is_noticed_and_the_one_before_counts"
    ),
    "mme2e_jax/checkpoints/writer.py": "tests/checkpoints/test_reader.py::test_the_best_and_the_last_are_kept",
    "mme2e_jax/commands/export.py": (
        "tests/export/test_load.py::test_the_command_exports_to_the_run_and_replaces_exports_only"
    ),
    "mme2e_jax/commands/flags.py": (
        "tests/docs/test_documented_commands.py::test_a_commands_flags_files_and_values_exist"
    ),
    "mme2e_jax/commands/main.py": (
        "tests/test_launch.py::test_a_bad_command_line_is_refused_before_anything_is_loaded"
    ),
    "mme2e_jax/commands/subprocess_run.py": (
        "tests/commands/test_sweep.py::test_a_sweep_resumes_survives_a_failure_and_reports_the_spread"
    ),
    "mme2e_jax/commands/train.py": (
        "tests/test_launch.py::test_training_without_data_stops_before_any_framework_is_imported"
    ),
    "mme2e_jax/config/cli.py": "tests/test_untrusted.py::test_any_override_is_taken_or_refused",
    "mme2e_jax/config/rules.py": "tests/config/test_parse.py::test_an_impossible_value_is_refused",
    "mme2e_jax/constants.py": "tests/data/test_dataset.py::test_missing_records_of_every_dataset_have_a_command",
    "mme2e_jax/errors.py": "tests/test_launch.py::test_a_user_sees_one_message_and_no_traceback",
    "mme2e_jax/evaluation/contributions.py": (
        "tests/predict/test_predictor.py::test_contributions_add_up_and_decisions_are_by_the_stored_thresholds"
    ),
    "mme2e_jax/evaluation/inference.py": (
        "tests/commands/test_evaluate.py::test_evaluation_runs_the_model_once_on_each_batch"
    ),
    "mme2e_jax/export/archive.py": "tests/export/test_load.py::test_unexpected_members_are_refused",
    "mme2e_jax/export/save.py": "tests/export/test_load.py::test_exporting_twice_gives_the_same_bytes",
    "mme2e_jax/export/signature.py": "tests/export/test_program.py::test_a_batch_that_does_not_fit_is_refused",
    "mme2e_jax/import_weights.py": (
        "tests/docs/test_documented_commands.py::test_a_commands_flags_files_and_values_exist"
    ),
    "mme2e_jax/media/findings.py": "tests/records/test_report.py::test_an_unknown_reason_is_a_mistake_of_ours",
    "mme2e_jax/media/track.py": "tests/media/test_extract.py::test_of_several_faces_the_chosen_one_is_cut_out",
    "mme2e_jax/media/transcripts.py": "tests/releases/test_mosei.py::test_an_unreadable_line_is_named_by_its_number",
    "mme2e_jax/media/utterance.py": "tests/test_untrusted.py::test_names_that_lead_elsewhere_are_no_identifiers",
    "mme2e_jax/models/albert.py": "tests/weights/test_pretrained.py::test_hidden_states_are_those_of_transformers",
    "mme2e_jax/models/fusion.py": (
        "tests/models/test_late_fusion.py::test_fusion_stacks_text_audio_video_in_whatever_order_they_are_given"
    ),
    "mme2e_jax/models/sequence.py": (
        "tests/models/test_oracle_models.py::test_evaluation_gives_the_paper_codes_logits_and_loss"
    ),
    "mme2e_jax/predict/batching.py": "tests/predict/test_predictor.py::test_logits_are_those_of_prepared_records",
    "mme2e_jax/predict/clip_reader.py": (
        "tests/predict/test_predictor.py::test_a_clip_read_in_parts_gives_the_same_logits"
    ),
    "mme2e_jax/predict/exported_model.py": "tests/test_run_exported.py::test_the_same_in_python",
    "mme2e_jax/predict/model.py": "tests/test_run_exported.py::test_the_same_in_python",
    "mme2e_jax/predict/run_model.py": "tests/predict/test_predictor.py::test_logits_are_those_of_prepared_records",
    "mme2e_jax/report/content.py": "tests/report/test_write.py::test_scores_are_shown_with_their_intervals",
    "mme2e_jax/report/figures.py": ("tests/report/test_write.py::test_the_page_needs_only_its_figures"),
    "mme2e_jax/report/gather.py": (
        "tests/commands/test_evaluate.py::test_a_baseline_that_chooses_one_emotion_has_a_report"
    ),
    "mme2e_jax/report/paper.py": "tests/report/test_write.py::test_our_scores_are_compared_with_the_papers",
    "mme2e_jax/report/tables.py": "tests/report/test_write.py::test_scores_are_shown_with_their_intervals",
    "mme2e_jax/report/terminal.py": "tests/test_launch.py::test_a_run_reports_its_best_checkpoint",
    "mme2e_jax/report/write_json.py": "tests/test_launch.py::test_evaluating_a_run_reports_what_training_did",
    "mme2e_jax/runs/spec.py": "tests/test_configs.py::test_a_config_with_the_papers_values_has_them",
    "mme2e_jax/runs/tokenizer.py": "tests/test_launch.py::test_training_keeps_the_tokenizer",
    "mme2e_jax/runtime/sharding.py": (
        "tests/training/test_devices.py::test_any_number_of_devices_trains_a_tower_as_one_does"
    ),
    "mme2e_jax/runtime/signals.py": (
        "tests/training/test_soak.py::test_a_baseline_that_is_stopped_saves_its_step_and_ends_as_if_left_alone"
    ),
    "mme2e_jax/sweep.py": ("tests/commands/test_sweep.py::test_a_stopped_sweep_lets_the_run_save_and_resumes_there"),
    "mme2e_jax/training/profiler.py": "tests/training/test_loop.py::test_steps_are_profiled_to_a_trace",
    "mme2e_jax/training/setup.py": "tests/training/test_accumulate.py::test_schedules_of_a_run_count_its_updates",
    "mme2e_jax/checkpoints/metadata.py": "tests/export/test_load.py::test_invalid_manifests_are_refused",
    "mme2e_jax/weights/paper_weights.py": (
        "tests/commands/test_import_weights.py::test_parts_of_other_modalities_are_left_out"
    ),
    "mme2e_jax/weights/torch_weights.py": (
        "tests/commands/test_import_weights.py::test_all_names_and_shapes_that_do_not_fit_are_in_one_message"
    ),
} | {
    str(path): "tests/test_configs.py::test_every_config_has_the_values_that_it_had"
    for path in Path("configs").glob("[!_]*.py")
}

# Test files that mirror no module, and the behaviour that they test.
WHOLE_BEHAVIOURS = {
    "tests/benchmarks/test_benchmarks.py": "inputs and figures of all benchmarks",
    "tests/docs/test_architecture.py": "the page on architecture agrees with the imports",
    "tests/docs/test_docs.py": "pages name what exists",
    "tests/docs/test_documented_commands.py": "every documented command works",
    "tests/docs/test_figures.py": "the pages' figures are current",
    "tests/docs/test_own_data.py": "a page's commands in order",
    "tests/media/test_media_matrix.py": "what each kind of media file yields",
    "tests/models/test_oracle_baselines.py": "parity of the baselines with the paper's code",
    "tests/models/test_oracle_models.py": "parity of the end-to-end models with the paper's code",
    "tests/predict/test_media_prediction.py": "what each kind of media file yields in a prediction",
    "tests/predict/test_page_in_browser.py": "the page of a prediction in a browser",
    "tests/releases/test_kept_or_named.py": "rows of outside texts, through all readers",
    "tests/report/test_page_in_browser.py": "the page of a report in a browser",
    "tests/test_configs.py": "all configs together",
    "tests/test_launch_bad_records.py": "training on damaged records",
    "tests/test_layout.py": "the repository's files",
    "tests/test_package.py": "what an import loads",
    "tests/test_prepare_features.py": "preparation of hand-crafted features",
    "tests/test_prepare_iemocap.py": "preparation of IEMOCAP",
    "tests/test_prepare_refusals.py": "what preparation refuses",
    "tests/test_process_faults.py": "processes that are killed, stopped or disturbed",
    "tests/test_untrusted.py": "input from others, through all readers",
    "tests/training/test_accumulate.py": "gradient accumulation, from config to checkpoint",
    "tests/training/test_devices.py": "training on several devices",
    "tests/training/test_precision.py": "bfloat16 in models and training",
    "tests/training/test_remat.py": "rematerialization in towers and compiler",
    "tests/training/test_soak.py": "runs that are killed again and again",
}

# Dialect, and names of modules and functions that say nothing.
FORBIDDEN = re.compile(
    r"\b(?:whatever|none's|nobody|anybody|mend)\b|of_(?:run|file)(?![a-z])|\b(?:one|words)\.py\b", re.IGNORECASE
)
# Sentences that the embedded corpus speaks.
SPOKEN = {"data_tools/mini_corpus/sentences.toml": "nobody", "tests/mini_corpus/test_speech.py": "nobody"}


def _sources() -> list[str]:
    return sorted(str(path) for package in PACKAGES for path in Path(package).rglob("*.py"))


def _modules() -> list[str]:
    own = [name for name in _sources() if not name.endswith("__init__.py")]
    return [*own, "launch.py", *sorted(map(str, Path("configs").glob("[!_]*.py")))]


def _mirror(module: str) -> str:
    parts = Path(module).parts
    folders = parts[1:-1] if parts[0] in PACKAGES else parts[:-1]
    return str(Path("tests", *folders, f"test_{parts[-1]}"))


def _test_files() -> list[str]:
    return sorted(str(path) for path in Path("tests").rglob("test_*.py"))


def _docstring(source: str) -> str:
    return ast.get_docstring(ast.parse(Path(source).read_text(encoding="utf-8"))) or ""


def _texts() -> Iterator[str]:
    for pattern in ("*.py", "*.md", "*.toml"):
        yield from map(str, Path().glob(pattern))
        for folder in FOLDERS:
            yield from map(str, Path(folder).rglob(pattern))


def test_every_module_has_its_test_file_or_a_test_that_covers_it() -> None:
    without = {module for module in _modules() if not Path(_mirror(module)).is_file()}

    assert without - set(COVERED_BY) == set(), "modules without a test"
    assert set(COVERED_BY) - without == set(), "modules of the table that are gone or have their own test file"


@pytest.mark.parametrize("test_id", sorted(set(COVERED_BY.values())))
def test_a_test_that_covers_modules_exists(test_id: str) -> None:
    file, _, test = test_id.partition("::")

    assert re.search(rf"^def {test}\(", Path(file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_test_file_mirrors_a_module_or_tests_a_whole_behaviour() -> None:
    mirrors = {_mirror(str(module)) for module in [*_modules(), *Path("benchmarks").glob("*.py")]}
    others = {file for file in _test_files() if file not in mirrors}

    assert others - set(WHOLE_BEHAVIOURS) == set(), "test files that mirror no module"
    assert set(WHOLE_BEHAVIOURS) - others == set(), "test files of the table that are gone or mirror a module"


def test_folders_of_tests_hold_tests_only() -> None:
    allowed = {"__init__.py", "conftest.py"}
    python = {str(path) for path in Path("tests").rglob("*.py") if path.name not in allowed}

    assert {name for name in python - set(_test_files()) if not name.startswith("tests/helpers/")} == set()
    assert {path.parent for path in Path("tests").rglob("*.npz")} == {Path("tests/arrays")}


def test_every_folder_is_a_package_that_says_what_it_holds() -> None:
    folders = {Path(source).parent for source in _sources()}
    packages = {folder for folder in folders if (folder / "__init__.py").is_file()}

    assert folders - packages == set()
    assert {str(folder) for folder in packages if not _docstring(f"{folder}/__init__.py")} == set()


def test_a_modules_first_line_is_short() -> None:
    first_lines = {source: _docstring(source).partition("\n")[0] for source in [*_sources(), *_modules()]}

    assert {source: line for source, line in first_lines.items() if not 0 < len(line.split()) <= MOST_WORDS} == {}


def test_files_are_short() -> None:
    lines = {source: Path(source).read_text(encoding="utf-8").count("\n") for source in _sources()}

    assert {source: count for source, count in lines.items() if count > MOST_LINES} == {}
    assert statistics.median(lines.values()) < MOST_MEDIAN_LINES


def test_no_file_uses_forbidden_words() -> None:
    found = {}
    for name in set(_texts()) - {"tests/test_layout.py"}:
        words = set(FORBIDDEN.findall(f"{name}\n{Path(name).read_text(encoding='utf-8')}".lower()))
        if words - {SPOKEN.get(name)}:
            found[name] = words

    assert found == {}
