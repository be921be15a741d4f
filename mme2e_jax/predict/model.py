"""The interface of models that predict on clips: runs and exported files.

Axis legend: `l` labels, `n` images (frames or mel chunks), `h`, `w` height and width of a stage's sites.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mme2e_jax.batch import Batch

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder


class Said(NamedTuple):
    """What a model says of a batch of one utterance."""

    logits: Float[np.ndarray, "l"]
    contributions: Mapping[str, Float[np.ndarray, "l"]]  # by modality, what it adds to the logits
    # Per sparse tower and stage, the sites that were kept; None where the model does not tell what it looked at.
    kept: Mapping[str, list[Bool[np.ndarray, "n h w"]]] | None


@dataclass(frozen=True)
class ClipModel:
    """A trained end-to-end model with everything that turns a clip into its input, and its logits into decisions.

    Attributes:
      source: where it comes from: the run's directory, or the file.
      step: of the run, before the checkpoint.
      name: of the architecture.
      label_names: in the order of the logits.
      thresholds: by label, of the scores; empty where none were chosen.
      loss: what it was trained on: says what its logits mean.
      modalities: that it reads, in the order of "tva".
      sparse_threshold: share of the attention that kept sites hold; None for the dense model.
      preprocessing: how its data were prepared.
      text_max_len: tokens at which a text is cut.
      load_encoder: loads its tokenizer; None for a model that reads no words.
      say: what it says of a batch of one utterance.
    """

    source: str
    step: int
    name: str
    label_names: tuple[str, ...]
    thresholds: Mapping[str, float]
    loss: str
    modalities: str
    sparse_threshold: float | None
    preprocessing: Mapping[str, Any]
    text_max_len: int
    load_encoder: "Callable[[], TextEncoder] | None"
    say: Callable[[Batch], Said]
