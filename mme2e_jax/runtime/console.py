"""The console that everything is printed to."""

import io
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text


class PlainConsole(Console):
    """Prints names, labels and transcripts as they are: nothing is markup, and no control character takes effect.

    Where the output is no terminal, the width is fixed, so that log files do not depend on who reads them.
    """

    def __init__(self, *, stderr: bool = False, width: int = 110, **options: Any):
        """Args: stderr: whether to print to standard error; width: columns where the output is no terminal."""
        terminal = (sys.stderr if stderr else sys.stdout).isatty()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A command must not end because its output's encoding lacks a character. Standard error replaces by itself.
            sys.stdout.reconfigure(errors="replace")
        super().__init__(
            stderr=stderr, width=None if terminal else width, highlight=False, markup=False, emoji=False, **options
        )

    def render_str(self, text: str, **options: Any) -> Text:
        options["markup"] = False
        return super().render_str(printable(text), **options)


def printable(text: str) -> str:
    """Text without terminal commands: control characters become symbols, parts that are not Unicode a mark."""
    return "".join(_visible(c) if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t\r" else c for c in text)


def _visible(character: str) -> str:
    return chr(0x2400 + ord(character)) if ord(character) < 0x20 else "\N{REPLACEMENT CHARACTER}"


console = PlainConsole(soft_wrap=not sys.stdout.isatty())
