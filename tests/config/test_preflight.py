"""Missing records, weights and packages are named with how to get them."""

import sys
from pathlib import Path
from typing import Any

import pytest

from configs import clips_sparse, lf_rnn, mini_dense, mini_sparse, mosei_sparse
from mme2e_jax.config import preflight
from mme2e_jax.config.parse import parse_config
from mme2e_jax.errors import UserError


def test_missing_records_and_weights_are_named_together() -> None:
    config: Any = mosei_sparse.get_config()
    config.data.dir = "nowhere"

    with pytest.raises(UserError) as error:
        preflight.check(parse_config(config))

    assert "python -m data_tools.prepare --dataset=mosei" in str(error.value)
    assert "albert/albert-base-v2" in str(error.value)


def test_a_baseline_needs_feature_records_and_no_weights() -> None:
    preflight.check(parse_config(lf_rnn.get_config()))

    with pytest.raises(UserError, match=r"data_tools\.prepare --dataset=mosei .* --kind=features") as error:
        preflight.check(parse_config(lf_rnn.get_config("mosei")))
    assert "albert" not in str(error.value)


def test_records_of_own_clips_get_a_tokenizer_of_their_own() -> None:
    with pytest.raises(UserError, match=r"--dataset=clips --raw=RELEASE --out=RECORDS --tokenizer=mini") as error:
        preflight.check(parse_config(clips_sparse.get_config()))
    assert "albert" not in str(error.value)


def with_a_checkpoint(workdir: Path) -> Path:
    """Makes the run directory of a run that resumes."""
    (workdir / "checkpoints" / "12").mkdir(parents=True)
    return workdir


def test_weights_are_not_looked_for_where_they_are_not_used(tmp_path: Path) -> None:
    config: Any = mini_dense.get_config()
    preflight.check(parse_config(config))
    config.model.text.size, config.model.text.init, config.model.modalities = "base", "pretrained", "av"
    preflight.check(parse_config(config))

    config.model.modalities = "tav"
    with pytest.raises(UserError, match=r"config\.model\.text\.dir"):
        preflight.check(parse_config(config))
    preflight.check(parse_config(config), with_a_checkpoint(tmp_path))


def test_a_run_resumes_though_what_it_started_from_is_gone(tmp_path: Path) -> None:
    config: Any = mini_sparse.get_config()
    config.init.teacher, config.optim.dense_epochs = str(tmp_path / "gone"), 0

    with pytest.raises(UserError, match=r"config\.init\.teacher: expected the directory of a dense run; .* not exist"):
        preflight.check(parse_config(config), tmp_path)
    preflight.check(parse_config(config), with_a_checkpoint(tmp_path))


def test_a_missing_wandb_is_named_though_its_folder_of_runs_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb").mkdir()
    # As where it is not installed: W&B's folder in the current directory is all that Python finds.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    config: Any = lf_rnn.get_config()
    preflight.check(parse_config(config))

    config.log.wandb = "project"
    with pytest.raises(UserError, match=r"config\.log\.wandb: expected the package wandb .*`pip install wandb`"):
        preflight.check(parse_config(config))


def test_an_installed_wandb_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    config: Any = lf_rnn.get_config()
    config.log.wandb = "project"

    preflight.check(parse_config(config))
