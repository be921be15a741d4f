"""The page on architecture and the imports of the code agree."""

import re
from pathlib import Path

import pytest

from docs.figures import architecture
from docs.figures.architecture import BASE, ENTRIES

PAGE = Path("docs/architecture.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def folders() -> list[str]:
    """The first column of the table of folders, as the figure names them."""
    cells = re.findall(r"^\| `([^|]+)` \|", section("The folders"), re.MULTILINE)
    return [BASE if cell.endswith(".py") and cell != ENTRIES else cell.rstrip("/") for cell in cells]


def test_the_table_lists_every_folder() -> None:
    assert sorted(folders()) == sorted(architecture.folder_imports())


def test_folders_import_only_folders_below_them_in_the_table() -> None:
    order = folders()
    graph = architecture.folder_imports()

    upward = [f"{a} imports {b}" for a in order for b in graph[a] if order.index(b) <= order.index(a)]

    assert not upward
    assert max(architecture.layers({a: graph[a] for a in order if a != ENTRIES}).values()) < 8


def test_a_circle_of_folders_is_an_error() -> None:
    with pytest.raises(ValueError, match="in a circle: a -> b -> a"):
        architecture.layers({"a": {"b"}, "b": {"a"}})


def test_arrows_that_follow_from_others_are_left_out() -> None:
    assert architecture.necessary({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


@pytest.mark.parametrize("title", ["How a clip becomes a prediction", "How a record becomes a gradient"])
def test_each_way_names_at_most_ten_files(title: str) -> None:
    files = re.findall(r"^\d+\. `([^`]+)`", section(title), re.MULTILINE)

    assert 5 < len(files) <= 10
    assert len(set(files)) == len(files)
    assert all(Path(file).is_file() for file in files)


def test_terms_of_the_glossary_are_in_alphabetical_order() -> None:
    terms = re.findall(r"^\| ([^|]+) \|", Path("docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE)[1:]
    terms = [term for term in terms if not term.startswith("---")]

    assert len(terms) > 40
    assert terms == sorted(terms, key=str.lower)
    assert len(set(terms)) == len(terms)
