"""Results of the paper that a run can be compared with.

Dai, Cahyawijaya, Liu and Fung, "Multimodal End-to-End Sparse Model for Emotion Recognition", NAACL 2021
(doi 10.18653/v1/2021.naacl-main.417): means over the six emotions, in percent, and GFLOPs of feature extraction.
"""

from collections.abc import Mapping
from typing import NamedTuple

SOURCE = (
    "Dai et al., Multimodal End-to-End Sparse Model for Emotion Recognition, NAACL 2021, "
    "doi 10.18653/v1/2021.naacl-main.417"
)


class Row(NamedTuple):
    """One model of the paper on one dataset."""

    name: str
    model: str  # its name in this program; empty for a model that this program lacks
    accuracy: float  # percent; the accuracy that the paper's table reports
    f1: float  # percent
    gflops: float | None  # feature extraction


class PaperTable(NamedTuple):
    """The results of the paper on one dataset."""

    accuracy: str  # our name of the accuracy in the table
    rows: tuple[Row, ...]


TABLES: Mapping[str, PaperTable] = {
    "iemocap": PaperTable(
        "accuracy",
        (
            Row("LF-LSTM", "lf_rnn", 71.8, 49.5, None),
            Row("LF-TRANS", "lf_transformer", 78.8, 50.3, None),
            Row("MulT", "", 77.6, 56.9, None),
            Row("FE2E", "mme2e", 84.5, 58.8, 8.65),
            Row("MESM, p = 0.7", "mme2e_sparse", 84.4, 57.4, 5.18),
        ),
    ),
    "mosei": PaperTable(
        "weighted_accuracy",
        (
            Row("LF-LSTM", "lf_rnn", 63.1, 43.3, None),
            Row("LF-TRANS", "lf_transformer", 64.1, 44.4, None),
            Row("MulT", "", 65.4, 45.2, None),
            Row("FE2E", "mme2e", 67.6, 47.4, 8.65),
            Row("MESM, p = 0.5", "mme2e_sparse", 66.8, 46.8, 4.34),
        ),
    ),
}
