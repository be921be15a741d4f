"""What the documentation says of options is true of the program."""

import re
from pathlib import Path

from mme2e_jax.config.schema import all_rules

PAGE = Path("docs/from_the_papers_code.md").read_text(encoding="utf-8")
# Long names of all options of the paper's command line.
OLD = [
    "batch-size",
    "learning-rate",
    "weight-decay",
    "epochs",
    "early-stop",
    "cuda",
    "clip",
    "scheduler",
    "seed",
    "loss",
    "optim",
    "text-lr-factor",
    "model",
    "text-model-size",
    "fusion",
    "feature-dim",
    "sparse-threshold",
    "hfc-sizes",
    "trans-dim",
    "trans-nlayers",
    "trans-nheads",
    "audio-feature-type",
    "num-emotions",
    "img-interval",
    "hand-crafted",
    "text-max-len",
    "datapath",
    "dataset",
    "modalities",
    "valid",
    "test",
    "ckpt",
    "ckpt-mod",
    "dropout",
    "num-layers",
    "hidden-size",
    "bidirectional",
    "gru",
]


def test_every_option_of_the_papers_code_is_in_the_table() -> None:
    missing = [name for name in OLD if f"`--{name}`" not in PAGE]
    assert not missing


def test_every_override_in_the_table_is_a_key_of_a_config() -> None:
    options = PAGE.partition("## Options")[2].partition("## Weights")[0]
    overrides = re.findall(r"`((?:model|data|optim|init|mesh|evaluation)\.[\w.]+)(?:=\w+)?`", options)
    assert len(overrides) > 25
    assert set(overrides) <= set(all_rules())


def test_every_config_that_is_named_exists() -> None:
    named = re.findall(r"configs/\w+\.py", PAGE + Path("README.md").read_text(encoding="utf-8"))
    assert named
    assert all(Path(name).is_file() for name in named)
