"""The account of cost against counts by hand, XLA's own count, and the paper's figures."""

import dataclasses

import jax
import numpy as np
import pytest

from configs import mini_sparse
from data_tools.records.records import write_dataset
from mme2e_jax.batch import Batch
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.data.plan import Lengths
from mme2e_jax.evaluation import flops
from mme2e_jax.evaluation.inference import InferenceState, predict
from mme2e_jax.models import variables as model_variables
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.report.terminal import cost_table
from mme2e_jax.runs.load import make_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runtime.console import console
from mme2e_jax.runtime.sharding import DataMesh
from mme2e_jax.training import setup
from tests.helpers import synthetic
from tests.helpers.corrupt import rewrite, without
from tests.helpers.synthetic import METADATA, make_example, make_records, shrink

# Towers of 4, 8, 16, 32 channels.
TINY = ModelSpec("tav", True, 6, 50, SIZES["tiny"], 0.0625, 16, 1, 2, 0.0)
PAPER = ModelSpec("tav", False, 6, 30000, SIZES["base"], 1.0, 64, 4, 4, 0.1)


def lengths(tokens, frames, chunks) -> Lengths:
    return Lengths(*(np.array(values) for values in (tokens, frames, chunks)))


def test_the_parts_of_a_small_dense_tower_by_hand():
    spec = dataclasses.replace(TINY, sparse=False, modalities="v")

    found = flops.macs(spec, lengths([4], [1], [0]), {})

    assert found == {
        "v": {
            "low_level": 48 * 48 * 25 * 3 * 4 + 4 * 24 * 24 * 9 * 4 * 4,
            "stage_0": 24 * 24 * 9 * (4 * 8 + 8 * 8),
            "stage_1": 12 * 12 * 9 * (8 * 16 + 16 * 16),
            "stage_2": 6 * 6 * 9 * (16 * 32 + 32 * 32),
            "head": 3 * 3 * 32 * 1024 + 1024 * 16,
            # Two rows: the frame and CLS. Projections, feed-forward, attention, labels.
            "sequence": 2 * 4 * 16 * 16 + 2 * 2 * 16 * 2048 + 2 * 2 * 2 * 16 + 16 * 6,
        }
    }


def test_sparse_stages_cost_nine_taps_per_active_site_of_the_mean_utterance():
    found = flops.macs(TINY, lengths([4, 8], [1, 3], [0, 2]), {"v": [100, 30, 6], "a": [50, 20, 2]})

    assert found["v"]["stage_0"] == 50 * 9 * (4 * 8 + 8 * 8)
    assert found["v"]["stage_1"] == 15 * 9 * (8 * 16 + 16 * 16)
    assert found["v"]["stage_2"] == 3 * 9 * (16 * 32 + 32 * 32)
    assert found["a"]["stage_2"] == 1 * 9 * (16 * 32 + 32 * 32)
    # Two frames on average: W_x and w at every site, W_y once per utterance, from a text feature of 64.
    per_site = 576 * (4 * 4 + 4) + 144 * (8 * 8 + 8) + 36 * (16 * 16 + 16)
    assert found["v"]["scores"] == 2 * per_site + 64 * (4 + 8 + 16)


def test_text_costs_its_tokens_and_their_pairs():
    found = flops.macs(dataclasses.replace(TINY, modalities="t", sparse=False), lengths([4, 8], [0, 0], [0, 0]), {})

    # Embedding 32 -> 64, then two layers of four projections, a feed-forward of 256, and attention both ways.
    assert (
        found["t"]["albert"] == 6 * 32 * 64 + 2 * (6 * (4 * 64 * 64 + 2 * 64 * 256) + 2 * 64 * (16 + 64) / 2) + 64 * 6
    )


def xla_macs(spec: ModelSpec, tokens: int, frames: int, chunks: int) -> float:
    """Half the operations that XLA counts in one utterance's pass forward."""

    def a(shape, dtype):
        return jax.ShapeDtypeStruct((1, *shape), dtype)

    count = a((1,), np.int32)
    batch = Batch(
        token_ids=a((1, tokens), np.int32),
        token_count=count,
        faces=a((frames, 48, 48, 3), np.uint8),
        frame_count=count,
        mel=a((chunks, 128, 32), np.float32),
        chunk_count=count,
        labels=a((1, 6), np.float32),
        example=count,
    )

    @jax.jit
    def logits(variables, batch):
        return model_variables.apply(variables, batch, train=False, threshold=1.0, seed=None)[0].logits

    analysis = logits.lower(model_variables.abstract_variables(spec), batch).compile().cost_analysis()
    assert analysis is not None
    return analysis["flops"] / 2


def taps_outside(modality: str) -> int:
    """Multiply-adds per image of the paper-size dense tower at taps outside the image, which XLA leaves out."""
    h, w, d = {"v": (48, 48, 3), "a": (128, 32, 1)}[modality]

    def outside(size, h, w, pairs):
        r = size // 2
        inside = (size * h - r * (r + 1)) * (size * w - r * (r + 1))
        return (size * size * h * w - inside) * pairs

    upper = sum(outside(3, h >> k, w >> k, (32 << k) * (64 << k) + (64 << k) ** 2) for k in (1, 2, 3))
    return outside(5, h, w, d * 64) + outside(3, h // 2, w // 2, 4 * 64 * 64) + upper


@pytest.mark.parametrize(("modality", "frames", "chunks"), [("v", 3, 1), ("a", 1, 2)])
def test_the_paper_size_towers_cost_what_xla_counts(modality: str, frames: int, chunks: int):
    spec = dataclasses.replace(PAPER, modalities=modality)
    images = {"v": frames, "a": chunks}[modality]

    counted = sum(flops.macs(spec, lengths([8], [frames], [chunks]), {})[modality].values())

    # XLA also counts what is no product: normalisation, ReLU, pooling.
    expected = counted - images * taps_outside(modality)
    assert expected < xla_macs(spec, 8, frames, chunks) < 1.02 * expected


def test_a_layer_of_albert_base_costs_what_xla_counts():
    # XLA counts the body of a loop once, for any length: one layer.
    spec = dataclasses.replace(PAPER, modalities="t", text=dataclasses.replace(SIZES["base"], layers=1))

    counted = flops.macs(spec, lengths([100], [0], [0]), {})["t"]["albert"]

    assert counted < xla_macs(spec, 100, 1, 1) < 1.02 * counted


@pytest.mark.parametrize(
    ("modalities", "frames", "chunks", "gflops"), [("v", 9, 0, 8.69), ("av", 9, 11, 27.3), ("av", 14, 18, 44.0)]
)
def test_extraction_costs_what_is_said_beside_the_papers_figure(modalities, frames, chunks, gflops):
    parts = flops.macs(dataclasses.replace(PAPER, modalities=modalities), lengths([20], [frames], [chunks]), {})
    assert flops.extraction_gflops(parts) == pytest.approx(gflops, abs=0.05)


def test_evaluation_counts_what_the_model_reads(tmp_path):
    splits = {split: [make_example(split, i) for i in range(n)] for split, n in synthetic.SIZES.items()}
    # Frames without a face are left out.
    splits["valid"][0]["face_found"][:] = False
    write_dataset(tmp_path, name="mini", splits=splits, metadata=METADATA, examples_per_shard=8)
    config = shrink(mini_sparse.get_config(), tmp_path)
    dataset, mesh = open_dataset(tmp_path), DataMesh(1)
    batches = make_batch_loader(parse_config(config), dataset, mesh, 1)
    spec = model_spec(parse_config(config), 6, dataset.tokenizer)
    assert isinstance(spec, ModelSpec)
    variables = setup.start_variables(parse_config(config), spec)

    predictions = predict(InferenceState(variables, 0.5), batches.evaluation("valid"), "bce", mesh)
    half, seen = predictions.sites, predictions.lengths
    np.testing.assert_array_equal(predictions.example, np.arange(len(splits["valid"])))
    stored = dataset.split("valid").lengths
    np.testing.assert_array_equal(seen.tokens, np.minimum(stored.tokens, config.data.text_max_len))
    np.testing.assert_array_equal(seen.frames, [0, *stored.frames[1:]])
    np.testing.assert_array_equal(seen.chunks, stored.chunks)
    every = {
        "v": seen.frames.sum() * np.outer([576, 144, 36], [1, 1]),
        "a": seen.chunks.sum() * np.outer([1024, 256, 64], [1, 1]),
    }
    assert seen.tokens.max() == config.data.text_max_len
    for m in "va":
        np.testing.assert_array_equal(half[m][:, 1], every[m][:, 1])
    # At most ceil(p * N) sites of each image stay.
    assert 0 < half["v"][0, 0] <= seen.frames.sum() * 288
    all_sites = predict(InferenceState(variables, 1.0), batches.evaluation("valid"), "bce", mesh).sites
    for m in "va":
        np.testing.assert_array_equal(all_sites[m], every[m])

    report = flops.cost_report(spec, seen, half)
    assert report["active_fraction"]["v"][0] == half["v"][0, 0] / half["v"][0, 1]
    assert report["macs"]["a"]["low_level"] == report["dense_macs"]["a"]["low_level"]
    assert report["macs"]["a"]["stage_0"] < 0.55 * report["dense_macs"]["a"]["stage_0"]
    # All sites at work cost what the dense model does, and the scores on top.
    whole = flops.cost_report(spec, seen, every)
    scores = sum(whole["macs"][m]["scores"] for m in "va")
    assert whole["extraction_gflops"] == pytest.approx(whole["dense_extraction_gflops"] + 2e-9 * scores)
    with console.capture() as shown:
        console.print(cost_table("valid", report))
    assert "v stage_0" in shown.get()
    assert f"{report['extraction_gflops']:.3f}" in shown.get()


def test_skipped_utterances_cost_nothing(tmp_path):
    directory = make_records(tmp_path, {"train": 4, "valid": 4, "test": 4})
    rewrite(directory / "mini-valid.array_record-00000", 1, without("mel"))
    config = shrink(mini_sparse.get_config(), directory)
    config.data.skip_bad = 1
    parsed, dataset, mesh = parse_config(config), open_dataset(directory), DataMesh(1)
    spec = model_spec(parsed, 6, dataset.tokenizer)
    assert isinstance(spec, ModelSpec)

    batches = make_batch_loader(parsed, dataset, mesh, 1).evaluation("valid")
    seen = predict(InferenceState(setup.start_variables(parsed, spec), 0.5), batches, "bce", mesh).lengths

    stored = dataset.split("valid").lengths
    for found, lengths in zip(seen, stored, strict=True):
        np.testing.assert_array_equal(found, np.minimum(lengths[[0, 2, 3]], config.data.text_max_len))
