"""Readers of other people's files, each with sound files to damage.

A reader gets a directory and reads all of it, as the program does. It may raise the errors in `REFUSALS`.
"""

import contextlib
import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import soundfile
from safetensors.numpy import save_file

from benchmarks.mutations import members, zipped
from configs import mini_dense
from data_tools.mini_corpus.media import DIVX, H264, Movie
from data_tools.records.records import write_dataset
from data_tools.releases import processed, published_features
from data_tools.releases.release import ReleaseError
from mme2e_jax.checkpoints import digests, hub
from mme2e_jax.checkpoints.reader import DIRECTORY, Checkpoints, RunRecord, open_checkpoints
from mme2e_jax.checkpoints.writer import CheckpointWriter
from mme2e_jax.commands.export import export_run, export_to_hub_layout
from mme2e_jax.config.parse import parse_config
from mme2e_jax.constants import LABEL_NAMES
from mme2e_jax.data.batch_loader import BatchLoader
from mme2e_jax.data.dataset import open_dataset
from mme2e_jax.errors import UserError
from mme2e_jax.export.archive import MANIFEST, PROGRAM
from mme2e_jax.export.load import ExportedModel
from mme2e_jax.media.arrays import media_arrays
from mme2e_jax.media.extract import ExtractSettings, extract
from mme2e_jax.media.face_choice import Face
from mme2e_jax.media.faces import FaceDetector
from mme2e_jax.media.findings import REASONS
from mme2e_jax.media.sound_stream import SoundStreamCache
from mme2e_jax.media.tokens import train_mini
from mme2e_jax.media.utterance import SOUND_SUFFIXES, ImageSequence, Media, Utterance
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.variables import initial_variables
from mme2e_jax.pickles import torch_file
from mme2e_jax.predict.clip_reader import open_clip
from mme2e_jax.predict.cues import Cue, windows
from mme2e_jax.runs.load import load_run
from mme2e_jax.runs.spec import model_spec
from mme2e_jax.runs.tokenizer import DIRECTORY as TOKENIZER
from mme2e_jax.runs.tokenizer import load_encoder
from mme2e_jax.weights import pretrained
from mme2e_jax.weights.torch_weights import albert_rules

REFUSALS = (UserError, ReleaseError)
LABELS = LABEL_NAMES["mini"]
_RATE = 16_000
_WORDS = ("one two three four", "five six seven", "eight nine", "ten one two five")
_TORCH_FILE = Path(__file__).parent.parent / "tests" / "arrays" / "torch_state_dict.pt"


class Reader(NamedTuple):
    """A reader under test."""

    make: Callable[[Path], object]  # writes sound files into an empty directory
    read: Callable[[Path], object]  # reads the directory
    # Makes digests of a damaged directory right, as an attacker would, so that the damage gets further; or None.
    seal: Callable[[Path], object] | None = None


class _AnyFace:
    """Finds a face, of the whole picture, in every picture; the real detector takes most of the time."""

    def find(self, pictures: Sequence[np.ndarray], smallest: float = 0.0) -> list[list[Face]]:
        height, width = pictures[0].shape[:2]
        return [[Face((0.0, 0.0, float(width), float(height)), 1.0)]] * len(pictures)


def _wave(seconds: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * _RATE)) / _RATE)


def _frames(count: int) -> np.ndarray:
    """Moving gradients, uint8 `[count, 48, 64, 3]`."""
    t, y, x = np.mgrid[:count, :48, :64]
    return np.stack([(x * 4 + t * 9) % 256, (y * 5 + t * 7) % 256, (x + y + t) % 256], axis=-1).astype(np.uint8)


def _make_movie(name: str) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        codecs = DIVX if name.endswith(".avi") else H264
        with Movie(directory / name, (64, 48), 10, _RATE, codecs) as movie:
            wave = _wave(1.0)
            movie.append(_frames(10), np.stack([wave, wave]) if codecs is DIVX else wave)

    return make


def _make_sound(name: str) -> Callable[[Path], None]:
    return lambda directory: soundfile.write(directory / name, _wave(1.0), _RATE)


def _make_images(directory: Path) -> None:
    for i, frame in enumerate(_frames(3)):
        cv2.imwrite(str(directory / f"image_{i}.jpg"), frame)


def _read_clip(directory: Path) -> None:
    """Reads a clip as preparation does, then as prediction does: its first windows and its last."""
    path = next(path for path in directory.iterdir())
    sound_only = path.suffix in SOUND_SUFFIXES
    media = Media(None, path) if sound_only else Media(path, None)
    _extract(media, [Cue(0.0, float("inf"), "")])
    cues = windows(open_clip(path).seconds, "")
    _extract(media, [*cues[:2], *cues[2:][-1:]], SoundStreamCache())


def _read_images(directory: Path) -> None:
    _extract(Media(ImageSequence(directory, "image_", 2.0), None), [Cue(0.0, float("inf"), "")])


def _extract(media: Media, cues: Sequence[Cue], streams: SoundStreamCache | None = None) -> None:
    utterances = [Utterance(f"v_{i}", "v", cue.start, cue.end, "", (), "v") for i, cue in enumerate(cues)]
    settings, detector = ExtractSettings(sound_in_video=True), cast(FaceDetector, _AnyFace())
    result = extract(utterances, media, settings, detector, media_arrays, streams)
    assert {finding.reason for finding in result.findings} <= REASONS.keys()
    dropped = {finding.id for finding in result.findings if REASONS[finding.reason][0] == "dropped"}
    assert {utterance.id for utterance in utterances} == result.arrays.keys() | dropped
    for arrays in result.arrays.values():
        assert all(np.isfinite(array).all() for array in arrays.values())


def _make_npz(directory: Path) -> None:
    np.savez(directory / "weights.npz", kernel=np.ones((4, 3), np.float32), bias=np.zeros(3))


def _read_weights(directory: Path) -> None:
    (path,) = directory.iterdir()
    torch_file.read(path)


def _make_meta(directory: Path) -> None:
    label = np.array([1, 0, 0, 0, 1, 0])
    held = {f"v_{i}": {"text": f"word {i}", "label": label, "fps": np.float64(2)} for i in range(3)}
    (directory / processed.META).write_bytes(pickle.dumps(held, 4))


def _read_meta(directory: Path) -> None:
    processed.read_release(directory, "mosei", fps=2.0, with_media=False)


def _make_features(directory: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {name: rng.random((2, 3, width), np.float32) for name, width in [("text", 9), ("audio", 7), ("vision", 5)]}
    held = {"id": ["v_0", "v_1"], **arrays, "text": arrays["text"].tolist()}
    (directory / "mosei_senti_hcf_train.pkl").write_bytes(pickle.dumps(held, 5))


def _read_features(directory: Path) -> None:
    published_features.read_split(directory, "mosei", "train")


def _make_tokenizer(directory: Path) -> None:
    train_mini(_WORDS).save(directory)


def _read_tokenizer(directory: Path) -> None:
    load_encoder(directory, 1000)


def make_run(workdir: Path) -> None:
    """A run with the initial weights of the smallest model, which reads text only."""
    config: Any = mini_dense.get_config()
    config.model.modalities, config.model.trans_dim, config.mesh.devices = "t", 16, 1
    tokenizer = train_mini(_WORDS).save(workdir / TOKENIZER)
    spec = model_spec(parse_config(config), len(LABELS), tokenizer)
    record = RunRecord(config.to_dict(), list(LABELS), tokenizer, {"frame_interval_ms": 500}, {}, [])
    writer = CheckpointWriter(workdir)
    writer.save_imported(initial_variables(spec, 0), record)
    writer.wait()


def _make_exported(directory: Path) -> None:
    make_run(directory / "run")
    export_run(directory / "run", directory / "model.mme2e")
    shutil.rmtree(directory / "run")


def _seal_exported(directory: Path) -> None:
    """Makes sizes and digests right, except that of the program, whose reader trusts its input."""
    path = directory / "model.mme2e"
    with contextlib.suppress(Exception):  # a damaged zip or manifest stays as it is
        entries = members(path.read_bytes())
        manifest = json.loads(dict(entries)[MANIFEST])
        for name, content in entries:
            if name in manifest["members"] and name != PROGRAM:
                manifest["members"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        sealed = json.dumps(manifest).encode()
        path.write_bytes(zipped([(name, sealed if name == MANIFEST else content) for name, content in entries]))


def _read_exported(directory: Path) -> None:
    model = ExportedModel(directory / "model.mme2e")
    if model.manifest.tokenizer is not None:
        model.load_encoder().encode("one two")


def _seal_checkpoint(directory: Path) -> None:
    for step in (directory / DIRECTORY).iterdir():
        (step / digests.NAME).unlink(missing_ok=True)
        digests.write_digests(step)


def _read_checkpoint(directory: Path) -> None:
    checkpoints, step = open_checkpoints(directory)
    checkpoints.read_record(step)
    checkpoints.restore_arrays(step)


def _make_shared(directory: Path) -> None:
    make_run(directory / "run")
    export_to_hub_layout(directory / "run", directory / "model")
    shutil.rmtree(directory / "run")


def _seal_shared(directory: Path) -> None:
    path = directory / "model" / hub.CONFIG
    with contextlib.suppress(Exception):  # a damaged config stays as it is
        digest = hashlib.sha256((path.parent / hub.WEIGHTS).read_bytes()).hexdigest()
        path.write_text(json.dumps(json.loads(path.read_bytes()) | {"weights_sha256": digest}))


def _read_shared(directory: Path) -> None:
    run = load_run(directory / "model", devices=1)
    load_encoder(directory / "model" / TOKENIZER, int(run.record.tokenizer.get("vocab_size", 0)))


def _make_albert(directory: Path) -> None:
    make_run(directory / "run")
    arrays = Checkpoints(directory / "run").restore_arrays(0)
    rules = albert_rules()
    tensors = {name: arrays[rule.path] for name, rule in rules.items()}
    # A conversion either keeps the axes or turns them around.
    kept = {name: rules[name].convert(np.zeros((1, 2))).shape == (1, 2) for name in rules}
    held = {name: np.ascontiguousarray(x if kept[name] else x.T) for name, x in tensors.items()}
    save_file(held, directory / "model.safetensors")
    size = SIZES["tiny"]
    names = {"embedding_size": size.embedding, "hidden_size": size.hidden, "num_hidden_layers": size.layers}
    (directory / "config.json").write_text(json.dumps(names))
    shutil.copy(directory / "run" / TOKENIZER / "tokenizer.json", directory)
    shutil.rmtree(directory / "run")


def _read_albert(directory: Path) -> None:
    weights = pretrained.read_albert(str(directory), "tiny")
    pretrained.read_tokenizer(str(directory), len(weights["text/word"]))


def _make_records(directory: Path) -> None:
    rng = np.random.default_rng(0)

    def example(split: str, i: int) -> dict[str, Any]:
        return {
            **dict.fromkeys(("dialogue_id", "speaker", "transcript"), split),
            "utterance_id": f"{split}_{i}",
            "token_ids": np.array([2, 9, 3], np.int32),
            "faces": rng.integers(0, 256, (2, 48, 48, 3), dtype=np.uint8),
            "face_found": np.ones(2, bool),
            "frame_ms": np.array([0, 500], np.float32),
            "mel": rng.random((1, 128, 32), np.float32),
            "label": (np.arange(6) == i % 6).astype(np.float32),
        }

    metadata = {
        "dataset": "mini",
        "label_names": list(LABELS),
        **{"frame_interval_ms": 500, "face_size": 48, "face_choice": "most_probable", "sample_rate": _RATE, "mel": {}},
        "tokenizer": {"name": "mini", "sha256": "", "vocab_size": 10, "pad_id": 0, "cls_id": 2, "sep_id": 3},
    }
    splits = {split: [example(split, i) for i in range(2)] for split in ("train", "valid", "test")}
    write_dataset(directory / "records", name="mini", splits=splits, metadata=metadata)


def _read_records(directory: Path) -> None:
    dataset = open_dataset(directory / "records", "mini")
    options: dict[str, Any] = {"batch_size": 2, "text_max_len": 16, "seed": 0, "max_shapes": 1, "groups": 1}
    batches = BatchLoader(dataset, **options, epochs=1, skip_bad=2, log=lambda _: None)
    for loaded in (batches.training(0), batches.evaluation("test")):
        for batch in loaded:
            assert np.isfinite(batch.mel).all()


def _movie(name: str) -> Reader:
    return Reader(_make_movie(name), _read_clip)


def _sound(name: str) -> Reader:
    return Reader(_make_sound(name), _read_clip)


READERS: dict[str, Reader] = {
    "mp4": _movie("clip.mp4"),
    "mkv": _movie("clip.mkv"),
    "avi": _movie("clip.avi"),
    "ts": _movie("clip.ts"),
    "wav": _sound("clip.wav"),
    "flac": _sound("clip.flac"),
    "ogg": _sound("clip.ogg"),
    "mp3": _sound("clip.mp3"),
    "jpg": Reader(_make_images, _read_images),
    "pt": Reader(lambda directory: shutil.copy(_TORCH_FILE, directory / "weights.pt"), _read_weights),
    "npz": Reader(_make_npz, _read_weights),
    "albert": Reader(_make_albert, _read_albert),
    "meta": Reader(_make_meta, _read_meta),
    "features": Reader(_make_features, _read_features),
    "tokenizer": Reader(_make_tokenizer, _read_tokenizer),
    "exported": Reader(_make_exported, _read_exported, _seal_exported),
    "checkpoint": Reader(make_run, _read_checkpoint, _seal_checkpoint),
    "shared": Reader(_make_shared, _read_shared, _seal_shared),
    "records": Reader(_make_records, _read_records),
}
