"""Loads the tokenizer of a run."""

from pathlib import Path

from data_tools.tokens import TextEncoder, TokenizerError, load_tokenizer
from mme2e_jax.errors import UserError


def load_encoder(directory: Path, vocabulary: int) -> TextEncoder:
    """Loads a tokenizer.

    Args:
      directory: that holds it.
      vocabulary: tokens that the model knows.

    Raises:
      UserError: if it cannot be loaded, or makes more.
    """
    try:
        encoder = load_tokenizer(str(directory.absolute()))
    except TokenizerError as error:
        raise UserError(f"--tokenizer: {error}") from error
    if len(encoder.tokenizer) > vocabulary:
        raise UserError(
            f"--tokenizer: {directory} has {len(encoder.tokenizer)} tokens; the model knows {vocabulary}. Give the "
            "tokenizer that its data were prepared with."
        )
    return encoder
