"""What logits mean under each loss."""

import numpy as np

from mme2e_jax.evaluation.tasks import scores


def test_scores_are_what_the_loss_takes_logits_for() -> None:
    logits = np.array([[0.0, np.log(3.0)]], np.float32)
    np.testing.assert_allclose(scores(logits, "bce"), [[0.5, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(scores(logits, "ce"), [[0.25, 0.75]], rtol=1e-6)
    for name in ("mse", "l1"):
        np.testing.assert_array_equal(scores(logits, name), logits)
    assert np.all(np.isfinite(scores(np.array([[800.0, -800.0]], np.float32), "ce")))
