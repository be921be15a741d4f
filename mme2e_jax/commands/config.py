"""Prints the config that training would use, with meanings and origins."""

import ast
import io
import tokenize
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from rich.table import Column, Table

from mme2e_jax.config.cli import CONFIGS
from mme2e_jax.config.parse import flatten
from mme2e_jax.config.schema import Config
from mme2e_jax.runtime.console import console

_CONFIG = "config"  # the name of the config in the files


class Setting(NamedTuple):
    """One value of a config."""

    key: str
    value: str  # as Python writes it
    origin: str  # "config file", "flag", or "default" for a value that the program fills in
    meaning: str


def print_config(config: Config, file: Path, overrides: Collection[str]) -> None:
    """Prints every value of a config: as a table in a terminal, otherwise as one line for each value.

    `file` is the config file, `overrides` the keys that flags have set.
    """
    settings = list_settings(config, file, overrides)
    if console.is_terminal:
        table = Table(Column("key", no_wrap=True), "value", "from", "meaning")
        for setting in settings:
            table.add_row(*setting)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(*settings, strict=True)]
    for setting in settings:
        cells = (cell.ljust(width) for cell, width in zip(setting, widths, strict=True))
        console.print("  ".join(cells).rstrip())


def list_settings(config: Config, file: Path, overrides: Collection[str]) -> list[Setting]:
    """All values of a config; arguments as for `print_config`.

    The meaning is the comment at the value in the config file, or else in one of the program's config files.
    """
    comments: dict[str, str] = {}
    for path in (*sorted(CONFIGS.glob("[!_]*.py")), file):
        comments |= read_comments(path.read_text(encoding="utf-8"))
    settings = []
    for key, value in flatten(config.to_dict()):
        origin = "flag" if key in overrides else "config file"
        if key == "data.dir" and value != config.records_directory:
            value, origin = config.records_directory, "default"
        settings.append(Setting(key, repr(value), origin, comments.get(key, "")))
    return settings


def read_comments(source: str) -> dict[str, str]:
    """Comments on the values that a config file sets, by key: those at the end of the line, or else directly above."""
    above, behind = {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line.lstrip().startswith("#")
            (above if alone else behind)[token.start[0]] = token.string.lstrip("# ")
    # Names of sections in the file, such as `model`, with the beginning of their keys.
    prefixes, found = {_CONFIG: ""}, {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign):
            continue
        names = [ast.unparse(target) for target in node.targets]
        first, _, rest = next((name for name in names if "." in name), "").partition(".")
        if first not in prefixes or not rest:
            continue
        key = prefixes[first] + rest
        prefixes |= {name: f"{key}." for name in names if "." not in name}
        line, lines = node.lineno, []
        while comment := above.get(line := line - 1):
            lines.insert(0, comment)
        if comment := behind.get(node.end_lineno) or " ".join(lines):
            found[key] = comment
    return found
