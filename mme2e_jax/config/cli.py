"""Flags that name a config and override its values, with errors that say which keys and values make sense."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mme2e_jax.config.schema import Config, refuse_overrides, refuse_value, validate
from mme2e_jax.errors import UserError


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parses the command line.

    Args:
      argv: with the program's name first.
      values: the flags that there are.

    Returns:
      The program's name and what is no flag.

    Raises:
      UserError: if a flag or a config's key is unknown or its value is of the wrong type.
    """
    overrides = dict(re.findall(r"^--?config\.([^=\n]*)=?(.*)$", "\n".join(argv[1:]), re.MULTILINE))
    refuse_overrides(overrides)
    if overrides and not any(re.match("--?config(=|$)", argument) for argument in argv):
        raise UserError("--config.KEY=VALUE overrides a value of a config: expected --config=FILE too, found none.")
    try:
        return values(argv)
    except flags.Error as error:
        wrong = re.match(r"flag --config\.([^=]+)=(.*?): ", str(error))
        if wrong:
            refuse_value(wrong[1], wrong[2])
        raise UserError(f"{error}. See the program's --help.") from error
    except (AttributeError, KeyError) as error:
        # What ml_collections raises for an override of a key that this one config does not have: its name in quotes,
        # and maybe some advice behind.
        given = ", ".join(f"--config.{key}" for key in overrides)
        name = re.findall(r"\w+", str(error))[0]
        raise UserError(f"This config has no key {name!r}, found in {given}.") from error


def config_path(values: flags.FlagValues = flags.FLAGS) -> Path:
    """The file that --config names."""
    flag: Any = values["config"]
    return Path(flag.config_filename.partition(":")[0])


def loaded_config(values: flags.FlagValues = flags.FLAGS) -> Config:
    """The config of --config with its overrides, not yet validated.

    Raises:
      UserError: if there is none.
    """
    flag: Any = values["config"]
    if flag.value is None:
        raise UserError("Expected --config=FILE, for instance --config=configs/mini_sparse.py.")
    path = config_path(values)
    if not path.is_file():
        known = ", ".join(str(p) for p in sorted(Path("configs").glob("[!_]*.py")))
        raise UserError(f"--config: expected a config file, one of {known} or your own, found {str(path)!r}.")
    if not isinstance(flag.value, ConfigDict):
        raise UserError(f"--config: expected a Python file whose get_config() returns a ConfigDict: {path}.")
    return flag.value


def config_with(config: str, overrides: Sequence[str]) -> Config:
    """A config with overrides, as the launcher would read it, validated.

    Args:
      config: as the launcher's flag takes it.
      overrides: as in `optim.epochs=3`.

    Raises:
      UserError: if there is no such config, or it makes no sense with the overrides.
    """
    argv = ["", f"--config={config}", *(f"--config.{override}" for override in overrides)]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, "The config.", values, sys_argv=argv)
    parse_flags(argv, values)
    found = loaded_config(values)
    validate(found)
    return found
