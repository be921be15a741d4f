"""Tests that preparation on Apache Beam gives the same records."""

import filecmp
import io
import re
import shutil
from pathlib import Path

import pytest

from data_tools.generate import generate
from data_tools.preparation.spool import open_spool
from data_tools.prepare import PrepareError, Settings, prepare
from mme2e_jax.media import workers
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.media.utterance import Media, Utterance
from mme2e_jax.media.workers import Job
from mme2e_jax.runtime.console import PlainConsole

pytest.importorskip("apache_beam", reason="needs requirements-beam.txt")

from apache_beam.options.pipeline_options import PipelineOptions

from data_tools.preparation.beam import run_on_beam

# What DirectRunner comes to where it cannot download another runner, which it would try. In processes, so that what
# goes to workers is pickled, as for a cluster.
LOCAL = "runner=FnApiRunner,direct_num_workers=2,direct_running_mode=multi_processing"


def quiet() -> PlainConsole:
    return PlainConsole(file=io.StringIO(), width=120)


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    train_mini(["some words", "more words"]).save(tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer")


def assert_same_files(expected: Path, found: Path) -> None:
    names = sorted(str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file())
    assert "report.json" in names
    assert any(".array_record" in name for name in names)
    assert names == sorted(str(path.relative_to(found)) for path in found.rglob("*") if path.is_file())
    assert filecmp.cmpfiles(expected, found, names, shallow=False)[1:] == ([], [])


@pytest.mark.slow
def test_the_local_runner_writes_the_same_bytes_as_the_process_pool(tmp_path: Path) -> None:
    # All awkward cases: the report must be the same, too.
    raw = generate(tmp_path / "raw", 24, seed=0)
    prepare(raw, tmp_path / "local", Settings(), processes=2, console=quiet())

    prepare(raw, tmp_path / "beam", Settings(), run=run_on_beam(raw, LOCAL), console=quiet())

    assert_same_files(tmp_path / "local", tmp_path / "beam")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beam", "local", "raw"]


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "dataset"), [("mosei", "mini"), ("processed_mosei", "processed_mosei")])
def test_workers_that_see_neither_release_nor_records_use_copies(
    layout: str, dataset: str, tmp_path: Path, tokenizer: str
) -> None:
    raw = generate(tmp_path / "raw", 8, seed=0, layout=layout)
    settings = Settings(dataset=dataset, tokenizer=tokenizer)
    prepare(raw, tmp_path / "local", settings, processes=2, console=quiet())
    copy, staging = tmp_path / "copy", tmp_path / "staging"
    shutil.copytree(raw, copy)
    pictures = [path for path in raw.rglob("*") if path.suffix in (".mp4", ".jpg")]
    assert pictures
    for path in pictures:
        path.write_bytes(b"")

    def prepare_again(out: Path) -> None:
        run = run_on_beam(raw, LOCAL, release=str(copy), staging=str(staging))
        prepare(raw, out, settings, run=run, console=quiet())

    prepare_again(tmp_path / "beam")
    assert_same_files(tmp_path / "local", tmp_path / "beam")

    # What was extracted lies in the staging directory: nothing is read a second time.
    shutil.rmtree(copy)
    prepare_again(tmp_path / "again")
    assert_same_files(tmp_path / "local", tmp_path / "again")


def job(directory: Path, video: Path | None = None) -> Job:
    utterances = [Utterance("v_0", "v", 0.0, 1.0, "text", (0,) * 6, "v")]
    return Job(utterances, Media(video, None), {}, directory / "v.npz")


def test_utterances_whose_worker_dies_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class DyingWorker:
        def ask(self, job: Job) -> None:
            return None

        def close(self) -> None:
            pass

    monkeypatch.setattr(workers, "_Worker", DyingWorker)

    (result,) = run_on_beam(tmp_path, "runner=FnApiRunner")([job(tmp_path)])

    assert [(finding.id, finding.reason) for finding in result.findings] == [("v_0", "worker_died")]
    assert result.kept == []


def test_media_outside_of_a_copied_release_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with (
        open_spool(tmp_path / "out"),
        pytest.raises(PrepareError, match=r"Expected all media below .*raw, which is copied"),
    ):
        list(run_on_beam(tmp_path / "raw", LOCAL, release="gs://b/raw")([job(tmp_path, tmp_path / "v.mp4")]))


def test_beam_knows_every_option_in_the_documentation(caplog: pytest.LogCaptureFixture) -> None:
    shown = re.findall(
        r'--beam_pipeline_options="?([\w=,:/.\-]+)', Path("docs/releases.md").read_text(encoding="utf-8")
    )

    runners = {PipelineOptions([f"--{o}" for o in s.split(",")]).get_all_options()["runner"] for s in shown}

    assert {"DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner"} <= runners
    assert "unparseable" not in caplog.text
