"""Flags that name a config and override its values."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mme2e_jax.config.parse import parse_config, refuse_unknown_overrides, refuse_value
from mme2e_jax.config.schema import Config
from mme2e_jax.errors import UserError

# The configs of the program, in a checkout or an installation.
CONFIGS = Path(__file__).parent.parent.parent / "configs"
_SUFFIX = ".py"


def define_config_flag(values: flags.FlagValues, argv: Sequence[str]) -> None:
    """Defines --config, with flags for the overrides that `argv` holds."""
    doc = "Config, as a name or a path; --config.KEY=VALUE overrides a value."
    config_flags.DEFINE_config_file("config", None, doc, values, sys_argv=list(argv))


def with_config_paths(argv: Sequence[str]) -> list[str]:
    """The command line with names of the program's configs (`--config=mini_sparse`) as paths of their files."""

    def path(match: re.Match[str]) -> str:
        file = CONFIGS / f"{match[2]}{_SUFFIX}"
        return f"{match[1]}{file}{match[3]}" if file.is_file() else match[0]

    return [re.sub(r"^(--?config=)(\w+)((?::.*)?)$", path, argument) for argument in argv]


def parse_flags(argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    """Parses the program name and arguments into the defined flags; returns the arguments that are not flags.

    Raises `UserError` for an unknown flag or key, a value of the wrong type, or a config file that cannot be loaded.
    """
    overrides = dict(re.findall(r"^--?config\.([^=\n]*)=?(.*)$", "\n".join(argv[1:]), re.MULTILINE))
    refuse_unknown_overrides(overrides)
    if overrides and not any(re.match("--?config(=|$)", argument) for argument in argv):
        raise UserError("--config.KEY=VALUE overrides a value of a config: expected --config=FILE too, found none.")
    try:
        return values(list(argv))
    except flags.Error as error:
        wrong = re.match(r"flag --config\.([^=]+)=(.*?): ", str(error))
        if wrong:
            refuse_value(wrong[1], wrong[2])
        if broken := re.match(r"flag (--config=.*?): Error whilst parsing config file", str(error)):
            # A traceback, whose last line is the error that the file raised.
            raise UserError(f"{broken[1]}: {str(error).strip().splitlines()[-1]}.") from error
        raise UserError(f"{error}. See --help.") from error
    except (AttributeError, KeyError) as error:
        # From ml_collections, for an override of a key that this config lacks; the message starts with its name.
        given = ", ".join(f"--config.{key}" for key in overrides)
        name = re.findall(r"\w+", str(error))[0]
        raise UserError(f"This config has no key {name!r}, found in {given}.") from error


def config_file(values: flags.FlagValues) -> str:
    """The value of --config: a path, and after a colon the argument of its `get_config`; empty if it is not given."""
    flag: Any = values["config"]
    return "" if flag.value is None else flag.config_filename


def config_name(values: flags.FlagValues) -> str:
    """Name of an experiment, for directories: `mini_sparse`, or `mosei_lf_rnn` for `lf_rnn.py:mosei`."""
    path, _, argument = config_file(values).partition(":")
    return "_".join(filter(None, [re.sub(r"\W", "_", argument), Path(path).stem]))


def loaded_config(values: flags.FlagValues) -> ConfigDict:
    """The config of --config with its overrides, not yet checked; raises `UserError` if there is none."""
    flag: Any = values["config"]
    if flag.value is None:
        raise UserError("Expected --config=FILE, for instance --config=configs/mini_sparse.py.")
    path = Path(config_file(values).partition(":")[0])
    if not path.is_file():
        known = ", ".join(f"{CONFIGS.name}/{p.name}" for p in sorted(CONFIGS.glob(f"[!_]*{_SUFFIX}")))
        raise UserError(f"--config: expected a config file, one of {known} or your own, found {str(path)!r}.")
    if not isinstance(flag.value, ConfigDict):
        raise UserError(f"--config: expected a Python file whose get_config() returns a ConfigDict: {path}.")
    return flag.value


def config_with(config: str, overrides: Sequence[str]) -> Config:
    """The config of a value of --config, with overrides as `optim.epochs=3`; raises `UserError` if it is not valid."""
    argv = with_config_paths(["", f"--config={config}", *(f"--config.{override}" for override in overrides)])
    values = flags.FlagValues()
    define_config_flag(values, argv)
    parse_flags(argv, values)
    return parse_config(loaded_config(values))
