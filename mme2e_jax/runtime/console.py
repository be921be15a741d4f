"""The console that everything is printed to."""

import sys

from rich.console import Console

# A fixed width where the output is no terminal, so that log files do not depend on who reads them.
console = Console(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=not sys.stdout.isatty())
