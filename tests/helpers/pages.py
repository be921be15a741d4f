"""Parses pages, and draws evidence to show on them."""

from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np

from mme2e_jax.html.evidence import Evidence


def random_evidence(sparse: bool) -> Evidence:
    """Two faces and three mel chunks, with or without kept sites."""
    rng = np.random.default_rng(0)
    kept = {
        "v": [rng.random((2, 24 // 2**k, 24 // 2**k)) > 0.5 for k in range(3)],
        "a": [rng.random((3, 64 // 2**k, 16 // 2**k)) > 0.5 for k in range(3)],
    }
    return Evidence(
        faces=rng.integers(0, 256, (2, 48, 48, 3), np.uint8),
        face_found=np.array([True, False]),
        frame_ms=np.array([0, 500], np.float32),
        mel=rng.random((3, 128, 32), np.float32),
        kept=kept if sparse else {},
    )


class ParsedPage(HTMLParser):
    """Tags of a page with their attributes, and tags that were not closed."""

    def __init__(self, text: str, void: Sequence[str] = ()):
        """Args: text: HTML; void: tags without an end tag, in addition to those of every page."""
        super().__init__()
        self._void = ("meta", "link", "br", *void)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self._void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
