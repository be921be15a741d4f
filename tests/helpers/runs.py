"""Whole runs of the launcher, in this process or in one of their own, and what they leave."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import launch
from mme2e_jax.checkpoints import reader
from mme2e_jax.commands.main import main
from mme2e_jax.models.variables import abstract_variables
from mme2e_jax.runs.load import load_run
from mme2e_jax.runs.spec import model_spec

REPOSITORY = Path(__file__).parent.parent.parent


def run(*arguments: str) -> None:
    """Runs the launcher in this process, which has imported all that is slow to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPOSITORY)
        main(["launch.py", *arguments], launch.make_corpus)


def launched(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the launcher as a user does."""
    return subprocess.run(
        [sys.executable, "launch.py", *arguments],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def metrics_of(workdir: Path) -> bytes:
    """The scores that a run reported."""
    return (workdir / "report" / "metrics.json").read_bytes()


def last_arrays(workdir: Path) -> dict[str, np.ndarray]:
    """The variables of the last checkpoint."""
    loaded = load_run(workdir)
    checkpoints = reader.Checkpoints(workdir)
    step = checkpoints.find_latest_step()
    assert step is not None
    spec = model_spec(loaded.config, 6, loaded.record.tokenizer)
    like = loaded.model.mesh.abstract(abstract_variables(spec))
    return {k: np.asarray(v) for k, v in checkpoints.restore_variables(step, like).arrays().items()}
