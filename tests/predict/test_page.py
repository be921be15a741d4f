"""The page: what it holds, that it needs nothing else, and pictures that show the right sites."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

import numpy as np

from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import Evidence
from mme2e_jax.predict.page import page
from mme2e_jax.predict.results import Prediction, Utterance
from mme2e_jax.predict.table import notes

NAMES = ("happy", "<sad>")


def evidence(sparse: bool) -> Evidence:
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


def prediction(*, sparse: bool = True, task: Task = Task.MULTI_LABEL) -> Prediction:
    def utterance(start: float, shown: bool) -> Utterance:
        return Utterance(
            start=start,
            end=start + 5,
            transcript="<script>alert(1)</script>",
            logits={"happy": 0.5, "<sad>": -1.0},
            scores={"happy": 0.62, "<sad>": -0.27 if task is Task.REGRESSION else 0.27},
            decided=("happy",),
            contributions={m: {"happy": 0.5, "<sad>": -1.0} for m in "tva"},
            shares={"t": 0.5, "v": 0.45, "a": 0.05},
            frames=2,
            faces_found=1,
            chunks=3,
            tokens=4,
            notes=("No face in some frames: 1 of 2.",),
            evidence=evidence(sparse) if shown else None,
        )

    return Prediction(
        clip="a & b.mp4",
        seconds=10.0,
        run="runs/x",
        step=3,
        model="mme2e_sparse",
        label_names=NAMES,
        thresholds={"happy": 0.5, "<sad>": 0.4},
        task=task,
        modalities="tva",
        sparse_threshold=0.5 if sparse else None,
        notes=("No transcript.",),
        utterances=(utterance(0, True), utterance(5, False)),
    )


class Seen(HTMLParser):
    """Tags, their attributes, and which are not closed."""

    def __init__(self, text: str, void: Sequence[str] = ()):
        """Args: text: of the page; void: tags without an end, beside those that every page has."""
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


def test_the_page_needs_nothing_else() -> None:
    text = page(prediction())
    seen = Seen(text)

    assert not seen.open
    assert not [tag for tag, _ in seen.tags if tag in ("script", "iframe", "img", "object")]
    links = [values[name] for _, values in seen.tags for name in ("href", "src") if name in values]
    assert all(link and link.startswith(("#", "data:")) for link in links)
    names = [values["id"] for _, values in seen.tags if "id" in values]
    assert len(names) == len(set(names))
    assert {link for link in links if link and link.startswith("#")} == {f"#{name}" for name in names}
    assert "http" not in text


def test_names_and_words_are_text_not_markup() -> None:
    text = page(prediction())

    assert "a &amp; b.mp4" in text
    assert "&lt;sad&gt;" in text
    assert "<sad>" not in text
    assert "&lt;script&gt;" in text


def test_faces_and_sound_are_shown_with_what_each_stage_kept() -> None:
    images = [values for tag, values in Seen(page(prediction())).tags if tag == "image"]

    # One of two utterances has evidence: 2 faces and 1 picture of sound, each with 3 stages.
    assert len(images) == (2 + 1) * (1 + 3)
    assert "they are not an explanation" in page(prediction())
    dense = page(prediction(sparse=False))
    assert len([tag for tag, _ in Seen(dense).tags if tag == "image"]) == 3
    assert "stage" not in dense


def test_values_below_zero_have_room() -> None:
    text = page(prediction(task=Task.REGRESSION))

    assert "from -0.27 to 1" in text
    heights = [float(x) for x in re.findall(r' height="(-?[0-9.]+)" fill', text)]
    assert heights
    assert all(0 <= height <= 1 for height in heights)


def test_a_note_of_several_utterances_is_told_once() -> None:
    assert list(notes(prediction())) == [
        "No transcript.",
        "0:00.0-0:05.0 and 1 more: No face in some frames: 1 of 2.",
    ]
