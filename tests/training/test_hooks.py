"""The check for non-finite steps: what it allows, counts and reports."""

import jax.numpy as jnp
import numpy as np
import pytest

from mme2e_jax.training.hooks import FiniteCheck, NonFiniteLoss, refuse_nonfinite_scores
from mme2e_jax.training.step import StepMetrics

UTTERANCES = {4: ["a[b]", "b[2]"], 6: ["c[3]"], 9: ["d[4]"]}


def metrics(loss: float, gradient_norm: float) -> StepMetrics:
    return StepMetrics(jnp.float32(loss), jnp.float32(gradient_norm), {})


def test_finite_steps_pass() -> None:
    check = FiniteCheck(UTTERANCES.__getitem__, 0, [])
    check.after_step(4, metrics(0.5, 1e30), {})

    assert check.skipped == []


@pytest.mark.parametrize(("loss", "gradient_norm"), [(float("nan"), 1.0), (0.5, float("inf")), (0.5, float("nan"))])
def test_a_step_that_is_not_finite_ends_the_run_and_is_named_with_its_utterances(
    loss: float, gradient_norm: float
) -> None:
    check = FiniteCheck(UTTERANCES.__getitem__, 0, [])

    with pytest.raises(NonFiniteLoss) as error:
        check.after_step(4, metrics(loss, gradient_norm), {})

    assert f"Step 4: loss {loss}, gradient norm {gradient_norm}. The step's utterances: a[b], b[2]." in str(error.value)
    assert "lower --config.optim.lr" in str(error.value)
    assert "--config.optim.skip_nonfinite=N" in str(error.value)


def test_allowed_steps_are_skipped_and_reported_also_after_a_restart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    check = FiniteCheck(UTTERANCES.__getitem__, 3, [1])

    check.after_step(4, metrics(float("nan"), 1.0), {})
    check.after_step(5, metrics(0.5, 1.0), {})
    check.after_step(6, metrics(0.5, float("inf")), {})

    assert check.skipped == [1, 4, 6]
    said = " ".join(capsys.readouterr().out.split())
    assert "Step 4: loss nan, gradient norm 1.0. The step's utterances: a[b], b[2]." in said
    assert "The step was skipped (2 of 3 allowed)." in said
    assert "The step was skipped (3 of 3 allowed)." in said
    with pytest.raises(NonFiniteLoss, match=r"Step 9: .* d\[4\]\. The run may skip 3 such steps; this is number 4\."):
        check.after_step(9, metrics(float("nan"), float("nan")), {})


def test_scores_that_are_not_finite_end_the_run() -> None:
    refuse_nonfinite_scores(1, np.array([[0.0, 1.0]]))
    with pytest.raises(NonFiniteLoss, match=r"after epoch 2: 1 of 4 scores are not finite"):
        refuse_nonfinite_scores(1, np.array([[0.5, float("nan")], [0.1, 0.2]]))
