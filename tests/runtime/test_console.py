"""Names, labels and transcripts reach the terminal as they are."""

import io
import os
import subprocess
import sys

from rich.progress import Progress, TextColumn
from rich.table import Table

from mme2e_jax.runtime.console import PlainConsole, printable

HOSTILE = "[red]a[/] [/] :smile: \x1b[31m\x07\x9b \udcff"
SHOWN = "[red]a[/] [/] :smile: ␛[31m␇\ufffd \ufffd"


def test_nothing_from_outside_is_markup_or_a_terminal_command() -> None:
    text = io.StringIO()
    console = PlainConsole(file=text, width=200, force_terminal=True)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)

    console.print(HOSTILE)
    console.print(table)

    assert text.getvalue().count(SHOWN) == 4
    assert "\x07" not in text.getvalue()


def test_characters_that_the_output_cannot_encode_are_replaced() -> None:
    program = r"from mme2e_jax.runtime.console import console; console.print('a \u5b57 \udcff'); print('b \u5b57')"
    environment = {"PYTHONIOENCODING": "latin-1", "PYTHONPATH": os.pathsep.join(sys.path)}

    shown = subprocess.run([sys.executable, "-c", program], env=environment, check=True, stdout=subprocess.PIPE).stdout

    assert shown == b"a ? ?\nb ?\n"


def test_lines_and_tabs_stay() -> None:
    assert printable("a\nb\tc é 字") == "a\nb\tc é 字"


def test_a_progress_bar_shows_names_as_they_are() -> None:
    text = io.StringIO()
    with Progress(TextColumn("{task.description}", markup=False), console=PlainConsole(file=text, width=60)) as bar:
        bar.add_task("[red]")

    assert "[red]" in text.getvalue()
