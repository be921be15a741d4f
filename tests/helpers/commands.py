"""The commands that the documentation shows."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGES = (Path("README.md"), *sorted(Path("docs").glob("*.md")))
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Fences that show something else: output, tables, container images.
_NOT_COMMANDS = ("text", "csv", "dockerfile", "python")


class Command(NamedTuple):
    """One command of one page."""

    page: str
    text: str  # as written, on one line

    @property
    def parts(self) -> list[list[str]]:
        """The programs that it runs one after the other, as arguments; settings of variables before them left out."""
        arguments = shlex.split(self.text)
        ends = [i for i, argument in enumerate(arguments) if argument == "&&"]
        programs = [arguments[a:b] for a, b in zip([0, *(e + 1 for e in ends)], [*ends, None], strict=True)]
        return [program[_variables(program) :] for program in programs]

    @property
    def flags(self) -> list[str]:
        """`--name=value` of the last program, a value behind a space joined to its name."""
        found: list[str] = []
        for argument in self.parts[-1]:
            if argument.startswith("--"):
                found.append(argument)
            elif found and "=" not in found[-1]:
                found[-1] += f"={argument}"
        return found


def fences(page: Path) -> Iterator[tuple[str, str]]:
    """Language and content of every fenced block of a page."""
    yield from _FENCE.findall(page.read_text(encoding="utf-8"))


def commands() -> list[Command]:
    """All that stand in fenced blocks, in order."""
    found = []
    for page in PAGES:
        for language, content in fences(page):
            if language in _NOT_COMMANDS:
                continue
            lines = content.replace("\\\n", " ").splitlines()
            found += [Command(page.name, " ".join(line.split())) for line in lines if line and not line.startswith("#")]
    return found


def _variables(program: list[str]) -> int:
    return next(i for i, argument in enumerate(program) if not re.match(r"[A-Z_]+=", argument))
