"""The model interface of prediction, for runs and exported files alike.

Axis legend: `l` labels, `n` images (frames or mel chunks), `h`, `w` height and width of the sites of a stage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from mme2e_jax.batch import Batch
from mme2e_jax.checkpoints.metadata import MeanAuc

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder


class ClipOutput(NamedTuple):
    """The output of a model for one utterance."""

    logits: Float[np.ndarray, "l"]
    contributions: Mapping[str, Float[np.ndarray, "l"]]  # by modality; they sum to the logits
    # Kept sites per sparse tower and stage; None if the model does not report them.
    kept: Mapping[str, list[Bool[np.ndarray, "n h w"]]] | None


@dataclass(frozen=True)
class ClipModel:
    """A trained end-to-end model, with everything between a clip and decisions."""

    source: str  # run directory, or exported file
    step: int  # step of the checkpoint
    digest: str  # digest of the weights and all else that decides
    name: str  # name of the architecture
    label_names: tuple[str, ...]  # labels in the order of the logits
    thresholds: Mapping[str, float]  # score threshold by label; empty if none were chosen
    loss: str  # training loss, which defines the meaning of the logits
    modalities: str  # modalities that the model reads, in the order of "tva"
    sparse_threshold: float | None  # share of the attention, or of the sites, that is kept; None for the dense model
    preprocessing: Mapping[str, Any]  # how the training data were prepared
    text_max_len: int  # number of tokens at which a text is cut
    mask_absent: bool  # whether frames without a face, silent sound and empty text add nothing
    dataset: str  # dataset of the training
    # Function that loads the tokenizer; None for a model that reads no text.
    load_encoder: "Callable[[], TextEncoder] | None"
    infer: Callable[[Batch], list[ClipOutput]]  # function that computes the output for each row of a batch of one group
    test_auc: MeanAuc | None = None  # on the test split of the training; None if unknown
