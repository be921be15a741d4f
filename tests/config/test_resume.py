"""Which changes of a config let a run continue, and which are refused."""

import json
import re
from typing import Any

import pytest

from configs import lf_transformer, mini_dense
from mme2e_jax.config.parse import parse_config
from mme2e_jax.config.resume import refuse_changes
from mme2e_jax.errors import UserError


def test_a_run_resumes_only_with_the_config_it_started_with() -> None:
    started: Any = mini_dense.get_config()
    config: Any = mini_dense.get_config()
    config.data.dir, config.log.every_steps, config.mesh.devices, config.model.remat = "elsewhere", 3, 1, True
    config.log.wandb = "project"
    refuse_changes(parse_config(config), started.to_dict(), "RUN")

    config.optim.lr = 0.5
    with pytest.raises(UserError, match=r"config\.optim\.lr: started with 0\.001, found 0\.5") as error:
        refuse_changes(parse_config(config), started.to_dict(), "RUN")
    assert "--workdir" in str(error.value)


@pytest.mark.parametrize(("key", "value"), [("model.dtype", "bfloat16"), ("optim.accumulate", 2)])
def test_a_run_does_not_go_on_with_other_updates(key: str, value: object) -> None:
    started: Any = mini_dense.get_config()
    config: Any = mini_dense.get_config()
    config.update_from_flattened_dict({key: value})

    with pytest.raises(UserError, match=rf"config\.{re.escape(key)}: started with"):
        refuse_changes(parse_config(config), started.to_dict(), "RUN")


def test_a_run_resumes_though_its_checkpoint_holds_lists_for_tuples() -> None:
    config: Any = lf_transformer.get_config()
    stored = json.loads(json.dumps(config.to_dict()))
    assert stored["model"]["trans_heads"] == [4, 2, 5]
    refuse_changes(parse_config(config), stored, "RUN")

    config.model.trans_heads = (2, 2, 5)
    with pytest.raises(UserError, match=r"trans_heads: started with \[4, 2, 5\], found \[2, 2, 5\]"):
        refuse_changes(parse_config(config), stored, "RUN")
