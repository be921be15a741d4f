"""The launcher: what it refuses and how, and whole runs on synthetic records."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import launch
from configs import lf_rnn, mini_sparse
from mme2e_jax.checkpoints import reader
from mme2e_jax.commands.main import main
from mme2e_jax.config import preflight
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.runs.load import load_run
from tests.helpers.runs import REPOSITORY, last_arrays, launched, metrics_of, run
from tests.helpers.synthetic import METADATA, SIZES, make_records, shrunk_run

SPARSE = "--config=configs/mini_sparse.py"
RNN = "--config=configs/lf_rnn.py"


def test_help_has_an_example_of_every_mode_in_narrow_lines(capsys: pytest.CaptureFixture[str]) -> None:
    main(["launch.py", "--help"], None)

    text = capsys.readouterr().out
    assert "python launch.py --mode=import_weights --from=FILE --config=configs/mosei_sparse.py --workdir=RUN" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_ends_quietly_if_its_reader_has_ended() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "launch.py", "--help"], cwd=REPOSITORY, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.optim.lr=1"], r"expected --config=FILE too"),
        ([], r"Expected --config=FILE"),
        (["--config=configs/absent.py"], r"one of configs/clips_dense\.py, .*found 'configs/absent\.py'"),
        (["--config=configs"], r"expected a config file.*found 'configs'"),
        ([SPARSE, "--config.nope=1"], r"config\.nope: no such key\. Valid keys: .*seed"),
        ([SPARSE, "--config.optim.nope=1"], r"config\.optim\.nope: no such key\. Valid keys: .*optim\.lr"),
        (
            [SPARSE, "--config.optim.lr=abc"],
            r"config\.optim\.lr: expected a number above 0 that float32 can hold, found 'abc'",
        ),
        ([SPARSE, "--config.optim.epochs=1.5"], r"config\.optim\.epochs: expected a whole number .* found '1\.5'"),
        ([SPARSE, "--config.optim=3"], r"config\.optim: expected a section's keys one by one.* found '3'"),
        ([SPARSE, "--config.log.tensorboard=abc"], r"tensorboard: expected True or False, found 'abc'"),
        ([SPARSE, "--config.seed"], r"Missing value for flag --config\.seed"),
        ([SPARSE, "--config.model.sparse_threshold=0"], r"a number above 0 and at most 1, found 0\.0"),
        ([SPARSE, "--config.model.modalities=x"], r"config\.model\.modalities: expected .* found 'x'"),
        ([SPARSE, "--config.model.modalities=av"], r"expected t among them, found 'av'"),
        ([SPARSE, "--config.data.batch_size=3"], r"batch_size: expected a multiple of the 8 devices"),
        (["--config=configs/mosei_dense.py", "--config.mini.seed=1"], r"This config has no key 'mini'"),
        ([RNN, "--config.optim.text_lr_factor=1"], r"This config has no key 'text_lr_factor'"),
        ([RNN, "--config.model.text.size=base"], r"This config has no key 'text'"),
        ([RNN, "--config.model.feature_sizes=300,144"], r"expected 3 whole numbers .* found \(300, 144\)"),
        ([SPARSE, "--data_dir=records"], r"--data_dir is not a flag .* training are --config\.data\.dir=RECORDS"),
        ([SPARSE, "extra"], r"Expected flags only, found 'extra'"),
        ([SPARSE, "--nope"], r"Unknown command line flag 'nope'"),
        (["--mode=dance"], r"should be one of <train\|evaluate\|"),
        (["--mode=evaluate"], r"Expected --workdir=RUN"),
        (["--mode=evaluate", "--workdir=absent"], r"absent does not exist"),
        (["--mode=evaluate", "--workdir=docs"], r"with checkpoints/ in it; docs holds"),
        (
            ["--mode=evaluate", "--workdir=runs", "--input=x"],
            r"--input is not a flag of --mode=evaluate\. Its flags are",
        ),
        (
            ["--config=configs/lf_rnn.py:moseii"],
            r"expected one of mini, mosei, iemocap after the colon, found 'moseii'",
        ),
        (["--mode=evaluate", "--workdir=runs", SPARSE], r"config comes from the checkpoint: leave out --config"),
    ],
)
def test_a_bad_command_line_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    def loaded(*_):
        pytest.fail("the data were looked for")

    monkeypatch.setattr(preflight, "check", lambda config, workdir: None)
    monkeypatch.setattr(launch, "make_corpus", loaded)

    with pytest.raises(UserError, match=message):
        run(*arguments)


def test_training_without_data_stops_before_any_framework_is_imported(tmp_path: Path) -> None:
    # Modules that fail to import, in place of the slow ones.
    for name in ("jax", "tensorflow", "tensorflow_datasets", "flax"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('imported too early')")

    result = launched("--config=configs/mosei_sparse.py", "--config.data.dir=nowhere", PYTHONPATH=str(tmp_path))

    assert result.returncode == 1
    assert "No prepared records of mosei: 'nowhere' does not exist." in result.stderr
    assert "python -m data_tools.prepare --dataset=mosei" in result.stderr
    assert "hf download albert/albert-base-v2" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_user_sees_one_message_and_no_traceback() -> None:
    result = launched(SPARSE, "--config.optim.lrr=1")

    assert result.returncode == 1
    assert result.stderr.startswith("\nError: The config is not valid:\n  - config.optim.lrr: no such key.")
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def finished(sparse_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(sparse_run, tmp_path_factory.mktemp("runs") / "whole"))


def test_a_run_reports_its_best_checkpoint(finished: Path) -> None:
    report = json.loads(metrics_of(finished))

    assert report["test"]["utterances"] == SIZES["test"]
    assert report["valid"]["utterances"] == SIZES["valid"]
    assert set(report["test"]["mean"]) == {
        "accuracy",
        "weighted_accuracy",
        "recall",
        "precision",
        "f1",
        "weighted_f1",
        "auc",
    }
    assert set(report["test"]["per_label"]) == set(report["test"]["thresholds"]) == set(METADATA["label_names"])
    # 20 utterances in batches of 8 are 3 steps an epoch.
    checkpoints, best = reader.open_checkpoints(finished)
    assert report["step"] == best
    history = checkpoints.read_record(6).history
    assert [entry["epoch"] for entry in history] == [0, 1]
    assert report["valid"]["mean"] == history[best // 3 - 1]["valid"]
    cost = report["test"]["cost"]
    assert 0 < cost["extraction_gflops"] < cost["dense_extraction_gflops"]
    assert all(0 < share < 1 for m in "av" for share in cost["active_fraction"][m])


def test_training_moves_every_part_and_not_the_scores_that_only_select(sparse_run: Path) -> None:
    loaded = load_run(sparse_run)
    start = initial_variables(loaded.spec, loaded.config.seed).arrays()
    end = last_arrays(sparse_run)

    moved = {path for path, before in start.items() if not np.array_equal(before, end[path])}
    assert {path.split("/")[0] for path in moved} == {"text", "towers", "sequences", "heads", "fusion"}
    still = {path for path in start if "/scores/" in path}
    assert len(still) == 2 * 5  # one score layer of each tower
    assert not still & moved
    # In every layer of a tower and a sequence, kernels and statistics too.
    unmoved = {path for path in set(start) - moved - still if not path.startswith("text/")}
    assert {path for path in unmoved if path.endswith(("kernel", "kernel1", "kernel2", "mean", "var"))} == set()


def test_training_keeps_the_tokenizer(records: Path, sparse_run: Path) -> None:
    kept = (sparse_run / "tokenizer" / "tokenizer.json").read_bytes()

    assert kept == (records / "tokenizer" / "tokenizer.json").read_bytes()


def test_running_a_finished_run_again_trains_nothing_and_reports_the_same(records: Path, finished: Path) -> None:
    before = metrics_of(finished)
    kept = sorted((finished / "checkpoints").iterdir())

    run(*shrunk_run(mini_sparse, records, finished))

    assert metrics_of(finished) == before
    assert sorted((finished / "checkpoints").iterdir()) == kept


def test_evaluating_a_run_reports_what_training_did(finished: Path) -> None:
    before = metrics_of(finished)
    (finished / "report" / "metrics.json").unlink()

    run("--mode=evaluate", f"--workdir={finished}")

    assert metrics_of(finished) == before


def test_evaluating_on_records_that_moved(finished: Path, tmp_path: Path) -> None:
    before = metrics_of(finished)
    moved = make_records(tmp_path / "moved")

    run("--mode=evaluate", f"--workdir={finished}", f"--data_dir={moved}")

    assert metrics_of(finished) == before


def test_records_of_another_tokenizer_are_refused(finished: Path, tmp_path: Path) -> None:
    other = make_records(tmp_path / "other", tokenizer=METADATA["tokenizer"] | {"sha256": "1"})

    with pytest.raises(UserError, match=r"does not fit the run: tokenizer: trained with .* found"):
        run("--mode=evaluate", f"--workdir={finished}", f"--data_dir={other}")


def test_records_of_another_dataset_are_refused(records: Path, tmp_path: Path) -> None:
    other = make_records(tmp_path / "other", dataset="mosei")

    with pytest.raises(UserError, match=r"dataset: trained with mini, found mosei"):
        run(*shrunk_run(mini_sparse, records, tmp_path / "run"), f"--config.data.dir={other}")


def test_a_run_is_not_resumed_with_another_config(records: Path, finished: Path) -> None:
    with pytest.raises(UserError, match=r"config\.optim\.lr: started with 0\.001, found 0\.5"):
        run(*shrunk_run(mini_sparse, records, finished), "--config.optim.lr=0.5")


def assert_same_end(found: Path, expected: Path) -> None:
    assert metrics_of(found) == metrics_of(expected)
    ours, theirs = last_arrays(found), last_arrays(expected)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.slow
def test_a_run_that_got_no_further_than_its_first_epoch_ends_with_the_same_numbers(
    records: Path, finished: Path, tmp_path: Path
) -> None:
    # What a run leaves that is killed within its second epoch.
    workdir = Path(shutil.copytree(finished, tmp_path / "run"))
    shutil.rmtree(workdir / "checkpoints" / "6")
    shutil.rmtree(workdir / "report")
    log = (workdir / "steps.jsonl").read_text().splitlines(keepends=True)
    (workdir / "steps.jsonl").write_text("".join(log[:4]) + log[4][:9])

    run(*shrunk_run(mini_sparse, records, workdir))

    assert_same_end(workdir, finished)
    steps = [[json.loads(line) for line in (w / "steps.jsonl").open()] for w in (workdir, finished)]
    found, expected = ([(line["step"], line["loss"]) for line in lines] for lines in steps)
    assert found == expected


@pytest.mark.slow
def test_a_run_killed_while_its_threshold_falls_ends_with_the_same_numbers(records: Path, tmp_path: Path) -> None:
    whole, workdir = tmp_path / "whole", tmp_path / "killed"
    anneal = "--config.model.sparse_anneal=0.5"
    run(*shrunk_run(mini_sparse, records, whole), anneal)
    command = [*shrunk_run(mini_sparse, records, workdir), anneal]
    process = subprocess.Popen([sys.executable, "launch.py", *command], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 600
        while not (workdir / "checkpoints" / "3").exists() and process.poll() is None:
            assert time.monotonic() < deadline, "no checkpoint after ten minutes"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (workdir / "checkpoints" / "3").exists()

    run(*command)

    assert_same_end(workdir, whole)


def test_a_baseline_is_trained_resumed_and_evaluated_on_features(feature_records: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "baseline"
    command = [*shrunk_run(lf_rnn, feature_records, workdir), "--config.model.feature_sizes=300,34,35"]
    command += ["--config.data.audio_feature_type=3", "--config.model.modalities=a"]
    run(*command)

    report = json.loads(metrics_of(workdir))
    assert report["test"]["utterances"] == SIZES["test"]
    assert "cost" not in report["test"]
    assert len(reader.open_checkpoints(workdir)[0].read_record(6).history) == 2

    before = metrics_of(workdir)
    run(*command)
    assert metrics_of(workdir) == before
    (workdir / "report" / "metrics.json").unlink()
    run("--mode=evaluate", f"--workdir={workdir}")
    assert metrics_of(workdir) == before


@pytest.mark.parametrize("experiment", [mini_sparse, lf_rnn])
def test_a_model_of_one_family_refuses_the_others_records(
    records: Path, feature_records: Path, tmp_path: Path, experiment
) -> None:
    wrong = feature_records if experiment is mini_sparse else records

    with pytest.raises(UserError, match=r"of the kind '\w+'; this model reads the kind '\w+'"):
        run(*shrunk_run(experiment, wrong, tmp_path / "run"))


@pytest.mark.parametrize(("environment", "silent"), [({}, True), ({"TF_CPP_MIN_LOG_LEVEL": "1"}, False)])
def test_errors_in_xlas_log_are_silent_unless_the_user_wants_them(environment: dict[str, str], silent: bool) -> None:
    # Its alarm for slow compilation is such an error; this one comes at once.
    inherited = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    failing = {"XLA_FLAGS": "--xla_dump_to=/proc/nowhere"}
    program = "import mme2e_jax.commands.main, jax; print(jax.jit(lambda x: x + 1)(1.0))"

    process = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=inherited | failing | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )

    assert process.stdout == "2.0\n"
    assert ("Could not create directory" in process.stderr) is not silent
    assert (process.stderr == "") is silent
