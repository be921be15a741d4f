"""Imported weights: all arrive, or one message lists what does not fit and nothing is written."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import mini_sparse
from mme2e_jax.checkpoints import reader
from mme2e_jax.commands.main import main
from mme2e_jax.config.parse import parse_config
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import metrics
from mme2e_jax.evaluation.inference import InferenceState, infer_batch
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.models import albert
from mme2e_jax.models.albert import AlbertSize
from mme2e_jax.models.variables import abstract_variables, initial_variables
from mme2e_jax.runs.load import load_run, make_batch_loader
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.weights.torch_weights import convert, paper_rules
from tests.helpers import oracle, weights
from tests.helpers.runs import metrics_of, run
from tests.helpers.synthetic import METADATA, make_records, shrink, shrunk_run
from tests.helpers.torch_writer import half, save, state_dict
from tests.models import test_oracle_models
from tests.weights import test_pretrained


def sparse_run(records: Path, workdir: Path) -> list[str]:
    return shrunk_run(mini_sparse, records, workdir)


def import_(source: Path, *arguments: str) -> None:
    main(["launch.py", "--mode=import_weights", f"--from={source}", *arguments], None)


def arrays_of(workdir: Path) -> dict[str, np.ndarray]:
    checkpoints, step = reader.open_checkpoints(workdir)
    assert step == 0
    return checkpoints.restore_arrays(step)


def record_of(workdir: Path) -> reader.RunRecord:
    checkpoints, step = reader.open_checkpoints(workdir)
    return checkpoints.read_record(step)


def refused(source: Path, workdir: Path, *arguments: str) -> str:
    """The message; nothing may have been written."""
    with pytest.raises(UserError) as error:
        import_(source, f"--workdir={workdir}", *arguments)
    assert not workdir.exists()
    return str(error.value)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)


@pytest.fixture(scope="module")
def imported(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the weights of a small model, imported without its records."""
    directory = tmp_path_factory.mktemp("imported")
    spec = weights.small_spec(records)
    file = weights.save_paper(directory / "model.pt", weights.random_variables(spec, 1), spec)
    import_(file, *sparse_run(Path("nowhere"), directory / "run"))
    return directory / "run"


def test_an_imported_model_gives_the_logits_that_it_gave(records: Path, imported: Path) -> None:
    expected = weights.random_variables(weights.small_spec(records), 1)
    assert_same(arrays_of(imported), expected.arrays())

    loaded = load_run(imported)
    batches = make_batch_loader(loaded.config, open_dataset(records), loaded.model.mesh, epochs=0)
    original = InferenceState(loaded.model.mesh.put_replicated(expected), loaded.config.site_selection[0])
    for batch in batches.evaluation("test"):
        placed = loaded.model.mesh.put_batch(batch)
        # The program of the sparse run's evaluation.
        with loaded.model.mesh.active():
            found, wanted = (infer_batch(p, placed).logits for p in (loaded.model.state, original))
        np.testing.assert_array_equal(found, wanted)


def test_evaluating_it_chooses_thresholds_on_the_validation_split(
    records: Path, imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--mode=evaluate", f"--workdir={imported}", f"--data_dir={records}")

    assert "have no thresholds: they are chosen on the validation split" in capsys.readouterr().out
    report = json.loads(metrics_of(imported))
    loaded = load_run(imported)
    batches = make_batch_loader(loaded.config, open_dataset(records), loaded.model.mesh, epochs=0)
    names = METADATA["label_names"]
    logits, labels = [], []
    for batch in batches.evaluation("valid"):
        placed = loaded.model.mesh.put_batch(batch)
        real = batch.example >= 0
        with loaded.model.mesh.active():
            logits.append(np.asarray(infer_batch(loaded.model.state, placed).logits)[real])
        labels.append(batch.labels[real])
    probability = 1 / (1 + np.exp(-np.concatenate(logits).astype(np.float64)))
    smoothing = loaded.config.evaluation.threshold_smoothing
    chosen = metrics.best_thresholds(probability, np.concatenate(labels), names, smoothing)
    assert report["valid"]["thresholds"] == report["test"]["thresholds"] == chosen
    assert report["step"] == 0


def test_records_that_do_not_fit_what_is_known_are_refused(imported: Path, tmp_path: Path) -> None:
    assert record_of(imported).tokenizer == {"vocab_size": 100}
    other = make_records(tmp_path / "other", tokenizer=METADATA["tokenizer"] | {"sha256": "1", "vocab_size": 99})

    with pytest.raises(UserError, match=r"tokenizer: trained with {'vocab_size': 100}, found {'vocab_size': 99}"):
        run("--mode=evaluate", f"--workdir={imported}", f"--data_dir={other}")


def test_training_does_not_go_on_with_imported_weights(records: Path, imported: Path) -> None:
    with pytest.raises(UserError, match=r"--config\.init\.checkpoint=\S*run --workdir=OTHER"):
        run(*sparse_run(records, imported))
    assert [p.name for p in (imported / "checkpoints").iterdir()] == ["0"]


def test_a_directory_with_checkpoints_is_left_alone(records: Path, imported: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records)
    file = weights.save_paper(tmp_path / "other.pt", weights.random_variables(spec, 2), spec)

    with pytest.raises(UserError, match="holds checkpoints already"):
        import_(file, *sparse_run(records, imported))
    assert_same(arrays_of(imported), weights.random_variables(spec, 1).arrays())


def test_what_the_records_say_of_the_data_is_kept(records: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records)
    file = weights.save_paper(tmp_path / "model.pt", weights.random_variables(spec, 1), spec)

    import_(file, *sparse_run(records, tmp_path / "run"))

    record = record_of(tmp_path / "run")
    assert record.tokenizer == METADATA["tokenizer"]
    assert record.preprocessing["mel"] == METADATA["mel"]
    assert record.label_names == METADATA["label_names"]
    assert (record.thresholds, record.history) == ({}, [])


def test_records_with_another_vocabulary_are_refused(records: Path, tmp_path: Path) -> None:
    other = make_records(tmp_path / "other", tokenizer=METADATA["tokenizer"] | {"vocab_size": 99})
    spec = weights.small_spec(records)
    file = weights.save_paper(tmp_path / "model.pt", weights.random_variables(spec, 1), spec)

    assert "vocab_size: weights 100, records 99" in refused(
        file, tmp_path / "run", *sparse_run(other, tmp_path / "run")
    )


@pytest.mark.parametrize(("name", "config"), [("dense", "iemocap_dense"), ("sparse", "mosei_sparse")])
def test_a_state_dict_of_the_papers_own_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, config: str
) -> None:
    tensors = oracle.state_dict(name)
    counter = {"dense": "V.1.num_batches_tracked", "sparse": "V.low_level.1.num_batches_tracked"}[name]
    stored: dict[str, Any] = tensors | {counter: np.array(9)}
    np.savez(tmp_path / "model.npz", **stored)
    monkeypatch.setitem(albert.SIZES, "base", test_oracle_models.spec(name).text)

    sites = ["--config.model.sparse_region=1", "--config.model.sparse_once=False"] * (name == "sparse")
    import_(tmp_path / "model.npz", f"--config=configs/{config}.py", f"--workdir={tmp_path / 'run'}", *sites)

    expected = convert(tensors, paper_rules(test_oracle_models.spec(name)), name)
    assert_same(arrays_of(tmp_path / "run"), expected)
    record = record_of(tmp_path / "run")
    assert record.tokenizer == {"vocab_size": 1000}
    mosei = ["anger", "disgust", "fear", "happy", "sad", "surprise"]
    assert record.label_names == (mosei if "mosei" in config else ["ang", "exc", "fru", "hap", "neu", "sad"])
    printed = capsys.readouterr().out
    assert f"{len(expected)} weights of" in printed
    assert "left out: constants and counters (1)" in printed


def test_weights_for_clips_need_their_records(tmp_path: Path) -> None:
    arguments = ["--config=configs/mosei_sparse.py", "--config.data.dataset=clips"]

    message = refused(tmp_path / "model.pt", tmp_path / "run", *arguments)

    assert message.startswith("config.data.dir: expected prepared records, which hold the labels of clips")
    assert "python -m data_tools.prepare --dataset=clips" in message


def test_parts_of_other_modalities_are_left_out(records: Path, tmp_path: Path, capsys) -> None:
    spec, used = weights.small_spec(records), weights.small_spec(records, "ta")
    variables = weights.random_variables(spec, 1)
    tensors = weights.paper_tensors(variables, spec)
    arguments = [*sparse_run(records, tmp_path / "run"), "--config.model.modalities=ta"]

    # The paper's code fuses as many as it has, and builds the others all the same.
    message = refused(save(tmp_path / "model.pt", state_dict(tensors)), tmp_path / "run", *arguments)
    assert message.endswith("weighted_fusion.weight: expected (2,), found (3,)")
    tensors["weighted_fusion.weight"] = np.array([[0.3, 0.7]], np.float32)
    import_(save(tmp_path / "model.pt", state_dict(tensors)), *arguments)

    found = arrays_of(tmp_path / "run")
    kept = {path: variables.arrays()[path] for path in abstract_variables(used).arrays()}
    assert_same(found, kept | {"fusion": np.array([0.3, 0.7], np.float32)})
    printed = capsys.readouterr().out
    for note in ("the face detector (2)", "ALBERT's pooler (1)", "parts of modalities that the model does not have ("):
        assert f"left out: {note}" in printed


def test_one_modality_needs_no_fusion(records: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records)
    tensors = weights.paper_tensors(weights.random_variables(spec, 1), spec)
    tensors["weighted_fusion.weight"] = np.ones((1, 1), np.float32)

    import_(
        save(tmp_path / "model.pt", state_dict(tensors)),
        *sparse_run(records, tmp_path / "run"),
        "--config.model.modalities=t",
    )

    assert {path.split("/")[0] for path in arrays_of(tmp_path / "run")} == {"text", "heads"}


def test_a_model_without_text_needs_no_vocabulary(records: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records, "av", "mme2e")
    variables = weights.random_variables(spec, 1)
    file = save(tmp_path / "model.pt", state_dict(weights.as_torch(variables.arrays(), paper_rules(spec))))

    command = [
        *sparse_run(Path("nowhere"), tmp_path / "run"),
        "--config.model.name=mme2e",
        "--config.model.modalities=av",
    ]
    import_(file, *command)

    assert record_of(tmp_path / "run").tokenizer == {}
    assert_same(jax.device_get(load_run(tmp_path / "run").model.state.variables.arrays()), variables.arrays())


def test_all_names_and_shapes_that_do_not_fit_are_in_one_message(records: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records)
    tensors = weights.paper_tensors(weights.random_variables(spec, 1), spec)
    del tensors["a_out.bias"], tensors["V.attn_layers.0.y_affine.weight"]
    tensors |= {"extra.weight": np.zeros(3, np.float32), "V.low_level.9.bias": np.zeros(3, np.float32)}
    tensors["t_out.weight"] = np.zeros((4, 64), np.float32)
    tensors["A.low_level.0.weight"] = np.zeros(7, np.float32)
    tensors["v_out.bias"] = np.zeros(6, np.int64)
    file = save(tmp_path / "model.pt", state_dict(tensors))

    message = refused(file, tmp_path / "run", *sparse_run(records, tmp_path / "run"))

    assert "missing: V.attn_layers.0.y_affine.weight, a_out.bias" in message
    assert "unknown: V.low_level.9.bias, extra.weight" in message
    assert "t_out.weight: expected (64, 6), found (64, 4)" in message
    assert "A.low_level.0.weight: expected (5, 5, 1, 4), found (7,)" in message
    assert "found int64 in 1 tensors, v_out.bias first" in message


def test_weights_of_another_size_are_refused_with_their_size(
    monkeypatch: pytest.MonkeyPatch, records: Path, tmp_path: Path
) -> None:
    spec = weights.small_spec(records)
    file = weights.save_paper(tmp_path / "model.pt", weights.random_variables(spec, 1), spec)
    monkeypatch.setitem(albert.SIZES, "large", AlbertSize(embedding=32, hidden=128, layers=2, heads=4, feed_forward=64))
    command = [x for x in sparse_run(records, tmp_path / "run") if "text.size" not in x]

    message = refused(file, tmp_path / "run", *command, "--config.model.text.size=large")

    assert "attention.query.weight: expected (128, 128), found (64, 64)" in message
    assert "t_out.weight: expected (128, 6), found (64, 6)" in message
    assert message.endswith("its text encoder looks like ALBERT tiny: --config.model.text.size=tiny")


def test_albert_alone_is_distinguished_from_the_papers_models(records: Path, tmp_path: Path) -> None:
    tensors = {f"albert.{k}": x for k, x in oracle.arrays("albert").items() if k.startswith("param/")}
    tensors = {k.replace("param/", ""): x for k, x in tensors.items()}
    file = save(tmp_path / "pytorch_model.bin", state_dict(tensors))

    message = refused(file, tmp_path / "run", *sparse_run(records, tmp_path / "run"))

    assert "holds ALBERT alone" in message
    assert f"--from={tmp_path}" in message


def test_weights_of_another_model_are_refused_with_its_name(records: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records, name="mme2e")
    file = weights.save_paper(tmp_path / "model.pt", weights.random_variables(spec, 1), spec)

    message = refused(file, tmp_path / "run", *sparse_run(records, tmp_path / "run"))

    assert "holds weights of mme2e, expected those of mme2e_sparse (config.model.name)" in message


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_is_refused(records: Path, tmp_path: Path, kind: str) -> None:
    spec = weights.small_spec(records)
    tensors = weights.paper_tensors(weights.random_variables(spec, 1), spec)
    halved = {k: half(x) if kind == "bfloat16" else x.astype(kind) for k, x in tensors.items()}

    message = refused(
        save(tmp_path / "model.pt", state_dict(halved)), tmp_path / "run", *sparse_run(records, tmp_path / "run")
    )

    count = len(paper_rules(spec))
    assert (
        f"expected float32 or float64, found {kind} in {count} tensors, A.attn_layers.0.attn_weight_affine.bias first"
        in message
    )


def test_float64_is_rounded_and_what_is_not_finite_refused(records: Path, tmp_path: Path) -> None:
    spec = weights.small_spec(records)
    tensors = weights.paper_tensors(weights.random_variables(spec, 1), spec)
    tensors["a_out.bias"] = np.full(6, 1 / 3)
    import_(save(tmp_path / "model.pt", state_dict(tensors)), *sparse_run(records, tmp_path / "run"))
    np.testing.assert_array_equal(arrays_of(tmp_path / "run")["heads/a/bias"], np.full(6, np.float32(1 / 3)))

    tensors["a_out.bias"], tensors["v_out.bias"] = np.full(6, 1e39), np.full(6, np.nan, np.float32)
    file = save(tmp_path / "model.pt", state_dict(tensors))
    message = refused(file, tmp_path / "other", *sparse_run(records, tmp_path / "other"))
    assert "not finite in float32, in a_out.bias, v_out.bias" in message


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ALBERT checkpoint as the hub has them, of size base here."""
    monkeypatch.setitem(albert.SIZES, "base", test_pretrained.SIZE)
    directory = tmp_path / "albert"
    train_mini(["what a happy day", "that letter was unfair"]).save(directory)
    tensors = {k.removeprefix("param/"): v for k, v in oracle.arrays("albert").items() if k.startswith("param/")}
    save_file({f"albert.{k}": v for k, v in tensors.items()}, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(test_pretrained.CONFIG))
    return directory


def base_run(records: Path, workdir: Path) -> list[str]:
    return [x for x in sparse_run(records, workdir) if "text.size" not in x] + ["--config.model.text.size=base"]


def test_albert_of_the_hub_fills_the_text_encoder(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_(hub, *base_run(Path("nowhere"), tmp_path / "run"))

    found = arrays_of(tmp_path / "run")
    np.testing.assert_array_equal(
        found["text/position"], oracle.arrays("albert")["param/embeddings.position_embeddings.weight"]
    )
    config = shrink(mini_sparse.get_config(), Path("nowhere"))
    config.model.text.size = "base"
    spec = model_spec(parse_config(config), 6, {"vocab_size": 1000})
    start = initial_variables(spec, config.seed).arrays()
    rest = [path for path in start if not path.startswith("text/")]
    assert_same({p: found[p] for p in rest}, {p: start[p] for p in rest})
    assert record_of(tmp_path / "run").tokenizer == {"vocab_size": 1000, "pad_id": 0, "cls_id": 2, "sep_id": 3}
    printed = capsys.readouterr().out
    assert "all other weights are random (seed " in printed
    assert "the tokenizer and preprocessing of the weights are unknown" in printed


def test_albert_without_its_tokenizer_or_of_no_use_is_refused(hub: Path, records: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    assert "vocab_size: weights 1000, records 100" in refused(hub, workdir, *base_run(records, workdir))
    message = refused(
        hub, workdir, *base_run(records, workdir), "--config.model.name=mme2e", "--config.model.modalities=av"
    )
    assert "has no text encoder" in message
    (hub / "tokenizer.json").write_text("{")
    assert "tokenizer.json is damaged" in refused(hub, workdir, *base_run(records, workdir))
    (hub / "tokenizer.json").unlink()
    message = refused(hub, workdir, *base_run(records, workdir))
    assert "Expected tokenizer.json next to ALBERT's weights" in message
    assert "holds config.json, model.safetensors, tokenizer_config.json" in message
    (hub / "config.json").unlink()
    assert "has no config.json" in refused(hub, workdir, *base_run(records, workdir))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], r"Expected --from=FILE, --config=CONFIG, --workdir=RUN .*; missing: --from=FILE, "),
        (["--from=x", "--config=configs/mini_sparse.py"], r"Expected --from=FILE.*; missing: --workdir=RUN\."),
        (["--from=x", "--config=configs/absent.py", "--workdir=y"], r"found 'configs/absent\.py'"),
        (["--from=x", "--config=configs/mini_sparse.py", "--workdir=y"], r"state dict: x does not exist"),
        (["--from=x", "--config=configs/mini_sparse.py", "--workdir=y", "--config.optim.lrr=1"], r"no such key"),
        (["--from=x", "--config=configs/mini_sparse.py", "--workdir=y", "--config.seed=-1"], r"config\.seed: expected"),
        (["--from=x", "--config=configs/mini_sparse.py", "--workdir=launch.py"], r"found the file launch\.py"),
        (["--form=x"], r"Unknown command line flag 'form'"),
        (["x"], r"Expected flags only, found 'x'"),
    ],
)
def test_a_bad_command_line_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main(["launch.py", "--mode=import_weights", *arguments], None)
