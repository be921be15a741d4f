"""A tiny Whisper model of random weights, in the format of CTranslate2."""

from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WIDTH, _HEADS, _INNER = 16, 2, 32
_MEL, _FRAMES, _TOKENS = 80, 1500, 448


def save_whisper(directory: Path, seed: int = 0, *, multilingual: bool = False) -> Path:
    """Writes a model that answers any sound with some of `WORDS` and times; a multilingual one knows en and de."""
    from ctranslate2 import specs
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    times = [f"<|{0.02 * i:.2f}|>" for i in range(1501)]
    special = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    # CTranslate2 knows the tokenizer for many languages by its empty token.
    words = ["<unk>", *WORDS, *([""] if multilingual else [])]
    vocabulary = [*words, *special, *times]

    directory.mkdir(parents=True)
    spec = specs.WhisperSpec(1, _HEADS, 1, _HEADS)
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(len(vocabulary), _WIDTH))
    # Times are many: their logits are smaller, as their sum competes with the words.
    embeddings[len(words) + len(special) :] *= 0.3
    _fill(spec, embeddings.astype(np.float32), random)
    spec.register_vocabulary(vocabulary)
    config: Any = spec.config
    config.suppress_ids = []
    config.suppress_ids_begin = [vocabulary.index("<|endoftext|>")]
    config.lang_ids = [vocabulary.index("<|en|>"), vocabulary.index("<|de|>")]
    config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.save(str(directory))
    Tokenizer(WordLevel({token: i for i, token in enumerate(vocabulary)}, "<unk>")).save(
        str(directory / "tokenizer.json")
    )
    (directory / "preprocessor_config.json").write_text(f'{{"feature_size": {_MEL}}}')
    return directory


def _fill(spec: Any, embeddings: np.ndarray, random: np.random.Generator) -> None:
    def values(*shape: int) -> np.ndarray:
        return random.normal(scale=shape[-1] ** -0.5, size=shape).astype(np.float32)

    def linear(layer: Any, rows: int, columns: int = _WIDTH) -> None:
        layer.weight, layer.bias = values(rows, columns), values(rows)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(_WIDTH, np.float32), values(_WIDTH)

    def feed_forward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, _INNER)
        linear(layer.linear_1, _WIDTH, _INNER)

    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = values(_WIDTH, _MEL, 3), values(_WIDTH)
    encoder.conv2.weight, encoder.conv2.bias = values(_WIDTH, _WIDTH, 3), values(_WIDTH)
    encoder.position_encodings.encodings = values(_FRAMES, _WIDTH)
    decoder.position_encodings.encodings = 4 * values(_TOKENS, _WIDTH)
    decoder.embeddings.weight = decoder.projection.weight = embeddings
    for part in (encoder, decoder):
        norm(part.layer_norm)
        norm(part.layer[0].self_attention.layer_norm)
        linear(part.layer[0].self_attention.linear[0], 3 * _WIDTH)
        linear(part.layer[0].self_attention.linear[1], _WIDTH)
        feed_forward(part.layer[0].ffn)
    cross = decoder.layer[0].attention
    norm(cross.layer_norm)
    for layer, rows in zip(cross.linear, (_WIDTH, 2 * _WIDTH, _WIDTH), strict=True):
        linear(layer, rows)
