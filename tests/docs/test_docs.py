"""The options, files, modules and links in the documentation exist."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from mme2e_jax.config.parse import _all_rules
from tests.helpers.commands import PAGES

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
    assert set(overrides) <= set(_all_rules())


def test_every_config_that_is_named_exists() -> None:
    named = re.findall(r"configs/\w+\.py", PAGE + Path("README.md").read_text(encoding="utf-8"))
    assert named
    assert all(Path(name).is_file() for name in named)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    module, _, attribute = name.rpartition(".")
    if "." not in name or importlib.util.find_spec(module) is None:
        return "." not in name and importlib.util.find_spec(name) is not None
    return importlib.util.find_spec(name) is not None or hasattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("page", [*PAGES, Path("benchmarks/README.md")], ids=str)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    files = re.findall(r"`([\w./-]+/[\w-]+\.(?:py|md|txt|toml))`", text)
    folders = re.findall(r"`((?:mme2e_jax|data_tools|tests|configs|benchmarks|docs)/[\w/]*)`", text)
    modules = re.findall(r"\b(?<![/.])((?:mme2e_jax|data_tools|benchmarks|docs|tests)(?:\.[A-Za-z_]\w*)+)", text)
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text)

    assert [name for name in files if not Path(name).is_file()] == []
    assert [name for name in folders if not Path(name).is_dir()] == []
    assert [name for name in modules if not exists(name)] == []
    assert [name for name in links if not (page.parent / name).is_file()] == []


def test_the_page_on_the_report_has_its_sections_in_order() -> None:
    template = Path("mme2e_jax/html/templates/report.html.jinja").read_text(encoding="utf-8")
    titles = re.findall(
        r'^  "\w+": "([^"]+)",$', template.partition("{% set titles")[2].partition("%}")[0], re.MULTILINE
    )
    sections = Path("docs/reading_the_report.md").read_text(encoding="utf-8").partition("## Sections")[2]

    assert titles
    assert re.findall(r"^\*\*([^*]+)\.\*\*", sections, re.MULTILINE) == titles
