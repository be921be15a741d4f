"""The inputs and figures of the benchmarks are as documented."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from benchmarks import paper_size, prepare, start
from benchmarks.long_videos import Sizes, make_long_videos
from data_tools.releases.mosei import read_release
from mme2e_jax.config.schema import SparseModelConfig
from mme2e_jax.errors import UserError
from mme2e_jax.media.sound import read_wav
from mme2e_jax.media.video import frames_at, video_duration
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.runs.spec import model_spec


@pytest.mark.parametrize("model", ["dense", "sparse"])
def test_the_models_have_the_papers_size(model: str) -> None:
    dataset = paper_size.dataset(24)
    spec = model_spec(paper_size.experiment(model, []), 6, dataset.tokenizer)

    assert isinstance(spec, ModelSpec)
    assert spec.sparse == (model == "sparse")
    assert (spec.width, spec.trans_layers, spec.trans_dim, spec.text) == (1.0, 4, 64, SIZES["base"])


def test_the_batch_has_no_padding() -> None:
    batch, lengths = paper_size.batch(24), paper_size.lengths(24)

    assert batch.token_ids.shape == (1, 8, 24)
    assert batch.faces.shape[1] == batch.frame_count.sum() == lengths.frames.sum() == 112
    assert batch.mel.shape[1] == batch.chunk_count.sum() == lengths.chunks.sum() == 144
    np.testing.assert_array_equal(batch.token_count[0], lengths.tokens)


def test_overrides_have_the_types_of_their_keys_and_are_checked() -> None:
    config = paper_size.experiment("sparse", ["model.width=0.25", "model.attention_grad=renormalized"])

    assert isinstance(config.model, SparseModelConfig)
    assert (config.model.width, config.model.attention_grad) == (0.25, "renormalized")
    with pytest.raises(UserError, match=r"config\.model\.widht: no such key"):
        paper_size.experiment("dense", ["model.widht=0.25"])
    with pytest.raises(UserError, match=r"expected KEY=VALUE.*found 'model\.width'"):
        paper_size.experiment("dense", ["model.width"])


def test_long_videos_have_their_size_and_are_labelled_from_end_to_end(tmp_path: Path) -> None:
    make_long_videos(tmp_path / "release", Sizes(videos=3, seconds=5), workers=1)

    release = read_release(tmp_path / "release")

    assert release.findings == []
    assert len(release.media) == 3
    for name, media in release.media.items():
        assert isinstance(media.video, Path)
        assert media.wav is not None
        assert video_duration(media.video) == pytest.approx(5.0, abs=0.05)
        assert read_wav(media.wav).duration == 5.0
        # 30 frames per second, all different.
        pictures = [frame for _, frame in frames_at(media.video, [1.0, 1.0 + 1 / 30])]
        assert [picture.shape for picture in pictures] == [(360, 640, 3)] * 2
        assert (pictures[0] != pictures[1]).any()
        spans = [(u.start, u.end) for u in release.utterances if u.video == name]
        assert spans[0][0] == 0.0
        assert spans[-1][1] == 5.0
        assert all(end == start for (_, end), (start, _) in itertools.pairwise(spans))


def test_figures_of_preparation_follow_from_its_runs() -> None:
    alone = {"decode": 20.0, "faces": 50.0, "features": 2.0, "extracting": 78.0, "writing": 2.0, "frames": 1000.0}
    together = {**alone, "decode": 22.0, "faces": 54.0, "extracting": 42.0}
    memory = {"main_mb": 300.0, "worker_mb": 1000.0}
    runs = {1: [alone | memory], 2: [together | memory | {"worker_mb": 1100.0}]}

    found = prepare.figures(runs, Sizes(videos=40, seconds=20))

    # 800 seconds of video in 80 s of wall time; 80 s with one process, 44 s with two.
    assert found["video_seconds_per_second_per_core"] == 10.0
    assert found["split_seconds"] == {"decode": 20.0, "faces": 50.0, "mel": 2.0, "write": 2.0, "other": 6.0}
    assert found["face_ms_per_frame"] == 50.0
    assert found["ratio_two_to_one"] == pytest.approx(80 / 44)
    assert found["peak_mb"] == {"worker": 1100.0, "main": 300.0}
    # Two cores for 42 s, and 2 s of writing, for 800 seconds of video.
    assert found["mosei_hours_on_16_cores"] == pytest.approx(65.9 * (84 / 16 + 2) / 800)


def test_the_phases_of_a_first_command_are_read_from_its_output() -> None:
    lines = [
        (2.0, "No records at records: generating the embedded corpus of 160 utterances, kind media.\n"),
        (60.0, "mme2e_sparse on 1 x cpu: 3,140,619 parameters, 111 utterances, 14 steps an epoch\n"),
        (165.0, "100 s of training: 60.0% steps, 1.0% input, 30.0% compilation, 4.0% save, 5.0% validation\n"),
        (170.0, "Wrote run/report/index.html\n"),
    ]

    expected = {"start-up": 2, "corpus": 63, "compilation": 30, "training": 70, "report": 6}
    assert start.phases(lines, 171.0) == pytest.approx(expected)
    assert start.phases(lines[:2], 61.0) == {}
