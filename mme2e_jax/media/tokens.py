"""Trains a small tokenizer, or loads one in Hugging Face's format.

Axes: `n` tokens of an utterance.
"""

import hashlib
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# Otherwise importing transformers warns about missing PyTorch, which tokenizers do not need.
os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

# ALBERT's special tokens, at ALBERT's positions.
SPECIAL_TOKENS = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
MINI_NAME = "mini-bpe"
MINI_VOCABULARY = 1000
_DOWNLOAD_HINT = (
    "Download ALBERT's tokenizer with `hf download albert/albert-base-v2 tokenizer.json tokenizer_config.json "
    "config.json spiece.model --local-dir albert-base-v2`, and pass --tokenizer=albert-base-v2."
)


class TokenizerError(ValueError):
    """A tokenizer that cannot be loaded, or that does not add [CLS] and [SEP] as ALBERT's does."""


@dataclass(frozen=True)
class TextEncoder:
    """Encodes transcripts as token ids with a Hugging Face `tokenizer`; `name` is stored in the metadata."""

    name: str
    tokenizer: Any

    def encode(self, text: str) -> np.ndarray:
        """The token ids of the whole text, int32 `[n]`, [CLS] first and [SEP] last."""
        return np.asarray(self.tokenizer(text, verbose=False)["input_ids"], np.int32)

    def save(self, directory: Path) -> dict[str, Any]:
        """Writes the tokenizer's files and returns its entry of the dataset's metadata."""
        self.tokenizer.save_pretrained(directory)
        return {
            "name": self.name,
            "sha256": hashlib.sha256((directory / "tokenizer.json").read_bytes()).hexdigest(),
            "vocab_size": len(self.tokenizer),
            "pad_id": self.tokenizer.pad_token_id,
            "cls_id": self.tokenizer.cls_token_id,
            "sep_id": self.tokenizer.sep_token_id,
        }


def train_mini(transcripts: Iterable[str]) -> TextEncoder:
    """Trains a tokenizer of at most 1000 tokens with ALBERT's special tokens and word marks.

    Text is decomposed (NFKD), lower-cased and stripped of accents; a token that starts a word starts with "▁". The
    same transcripts in any order give the same tokenizer. This needs byte-pair encoding: the library's WordPiece and
    Unigram trainers depend on the order of hash tables.
    """
    tokenizer: Any = Tokenizer(models.BPE(unk_token=SPECIAL_TOKENS["unk_token"]))
    steps = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    word_splitters = [pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace(prepend_scheme="first")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(word_splitters)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=MINI_VOCABULARY, min_frequency=2, special_tokens=list(SPECIAL_TOKENS.values()), show_progress=False
    )
    tokenizer.train_from_iterator(sorted(transcripts), trainer)
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )
    return TextEncoder(MINI_NAME, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS))


def load_tokenizer(source: str) -> TextEncoder:
    """Loads a tokenizer from a local Hugging Face directory or by its hub id.

    Raises `TokenizerError` if it cannot be loaded, or does not put [CLS] first and [SEP] last.
    """
    path = Path(source)
    is_path = path.exists() or path.is_absolute() or source.startswith(".")
    if is_path and not (path / "tokenizer.json").is_file():
        found = "a directory without tokenizer.json" if path.is_dir() else "no such directory"
        raise TokenizerError(f"Expected a directory with tokenizer.json at {source}, found {found}. {_DOWNLOAD_HINT}")
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    # Without a network, it logs every attempt.
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    hub.setLevel(logging.ERROR)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, use_fast=True, trust_remote_code=False)
        ids = tokenizer("a")["input_ids"]
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # tokenizers raises no narrower type; panics of its Rust code are no Exception
        found = "is neither a local directory nor available from the Hugging Face hub"
        if is_path:
            found = "is damaged, or needs code of its own, which is not run"
        reason = str(error).split("\n", 1)[0]
        raise TokenizerError(f"The tokenizer {source!r} {found} ({reason}). {_DOWNLOAD_HINT}") from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        hub.setLevel(hub_level)

    marked = bool(ids) and ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
    if not marked or None in (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id):
        raise TokenizerError(
            f"Expected the tokenizer {source!r} to have a padding token and to put [CLS] first and [SEP] "
            f"last, found {tokenizer.convert_ids_to_tokens(ids)} for the text 'a'."
        )
    return TextEncoder(path.resolve().name if is_path else source, tokenizer)
