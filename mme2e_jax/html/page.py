"""Renders the HTML pages from their templates."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from mme2e_jax.constants import FACE_SIZE, MODALITY_COLOURS, MODALITY_NAMES
from mme2e_jax.html.formats import format_score, format_time
from mme2e_jax.html.images import data_uri, join_chunks, mel_picture, veil


def unbroken_flags(text: str) -> str:
    """A text as HTML that keeps the names of its flags, such as --transcript_file, on one line each."""
    return re.sub(r"--\w+", r'<span class="flag">\g<0></span>', html.escape(text))


_ENVIRONMENT = Environment(
    loader=PackageLoader("mme2e_jax.html"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.globals |= {
    "FACE_SIZE": FACE_SIZE,
    "MODALITY_COLOURS": MODALITY_COLOURS,
    "MODALITY_NAMES": MODALITY_NAMES,
    "data_uri": data_uri,
    "mel_picture": mel_picture,
    "join_chunks": join_chunks,
    "veil": veil,
}
_ENVIRONMENT.filters |= {
    "clock": format_time,
    "number": format_score,
    "percent": "{:.0%}".format,
    "thousands": "{:,}".format,
    "unbroken_flags": unbroken_flags,
}


class Table(NamedTuple):
    """A table; each row has one cell per heading."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def render(template: str, **values: Any) -> str:
    """Renders `templates/TEMPLATE.html.jinja`. Every value is escaped; a missing one raises."""
    return _ENVIRONMENT.get_template(f"{template}.html.jinja").render(values)


def stream(template: str, **values: Any) -> Iterator[str]:
    """Renders as `render`, in pieces: iterators among the values are read as the page grows."""
    return _ENVIRONMENT.get_template(f"{template}.html.jinja").generate(values)
