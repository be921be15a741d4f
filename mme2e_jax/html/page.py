"""What all pages have in common: one look, and that they need neither network nor scripts."""

import html
from collections.abc import Iterable, Iterator, Sequence

# The shades at the sides of what scrolls lie below it and move along with it, so that they show where there is more.
_STYLE = """
body { margin: 0 auto; max-width: 1200px; padding: 0 16px 48px; font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a;
  background: #fff; }
h1 { font-size: 1.5rem; margin: 24px 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 40px 0 8px; }
h3 { font-size: 1rem; margin: 16px 0 4px; }
p { margin: 4px 0 8px; }
.small { font-size: .875rem; color: #444; }
.note { border-left: 4px solid #b58900; padding: 4px 10px; background: #fdf6e3; overflow-wrap: anywhere; }
.scroll { overflow: auto; max-height: 32rem;
  background: linear-gradient(90deg, #fff 30%, #fff0) left / 40px 100% no-repeat local,
    linear-gradient(270deg, #fff 30%, #fff0) right / 40px 100% no-repeat local,
    linear-gradient(90deg, #0003, #0000) left / 10px 100% no-repeat,
    linear-gradient(270deg, #0003, #0000) right / 10px 100% no-repeat; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 8px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:first-child, td:first-child, .words { text-align: left; }
td.words { white-space: normal; min-width: 18rem; overflow-wrap: anywhere; }
td.yes { font-weight: 700; background: #dbe9f6; }
section { border-top: 1px solid #ccc; margin-top: 28px; padding-top: 4px; }
blockquote { margin: 4px 0 12px; padding-left: 12px; border-left: 4px solid #bbb; overflow: auto; max-height: 12rem; }
"""


def document(title: str, style: str, body: Iterable[str]) -> str:
    """A page.

    Args:
      title: as plain text.
      style: rules beside those of all pages.
      body: its parts, as HTML.
    """
    head = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Else browsers ask a server for an icon.
        f'<link rel="icon" href="data:,"><style>{_STYLE}{style.lstrip()}</style></head><body>',
    ]
    return "\n".join([*head, *body, "</body></html>"]) + "\n"


def note(text: str) -> str:
    """What a reader must know, set apart; from plain text."""
    return f'<p class="note">{html.escape(text)}</p>'


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], words: Sequence[int] = (), last_row_is_mean: bool = False
) -> Iterator[str]:
    """A table that scrolls by itself where it is too wide or too long; from plain text.

    Args:
      headings: of the columns.
      rows: a cell for each column.
      words: columns with sentences, which may be broken.
      last_row_is_mean: of the others, and set apart.
    """
    of_words = [' class="words"' if column in words else "" for column in range(len(headings))]
    yield f'<div class="scroll"><table{" class=mean" if last_row_is_mean else ""}><thead>'
    cells = zip(headings, of_words, strict=True)
    yield f"<tr>{''.join(f'<th{kind}>{html.escape(name)}</th>' for name, kind in cells)}</tr></thead><tbody>"
    for row in rows:
        cells = zip(row, of_words, strict=True)
        yield f"<tr>{''.join(f'<td{kind}>{html.escape(cell)}</td>' for cell, kind in cells)}</tr>"
    yield "</tbody></table></div>"
