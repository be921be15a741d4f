"""Parts of a page: the modalities' shares, the faces, the sound, and what the sparse model kept of both."""

from collections.abc import Iterator, Mapping

import numpy as np

from mme2e_jax.constants import FACE_SIZE, MODALITY_COLOURS, MODALITY_NAMES
from mme2e_jax.html.evidence_data import Evidence
from mme2e_jax.html.images import data_uri, mel_picture, mel_sites, veil

# The rules that a page needs which shows any of them.
STYLE = """
figure { margin: 0 0 6px; }
figcaption { font-size: .75rem; color: #444; }
.shares { display: flex; height: 22px; color: #fff; font-size: .8rem; }
.shares span { overflow: hidden; text-align: center; }
.key span { display: inline-block; width: .8em; height: .8em; margin: 0 4px 0 12px; }
image { image-rendering: pixelated; }
.faces { display: flex; flex-wrap: wrap; gap: 6px; }
.faces svg { display: block; width: 72px; }
.faces figcaption { text-align: center; }
.sound svg { display: block; width: 100%; height: 96px; }
"""
_STAGES = ("first stage", "second stage", "third stage")
# Between the pictures of one frame.
_GAP = 2
_NARROW = 0.08  # a share that has no room for its number


def bar(x: float, y: float, width: float, height: float, *, decided: bool) -> str:
    """The start tag of a bar in a drawing of 1 by 1."""
    colour = "#1f5a99" if decided else "#a9bfd6"
    return f'<rect x="{x:.5f}" y="{y:.4f}" width="{width:.5f}" height="{height:.4f}" fill="{colour}">'


def shares(of: Mapping[str, float], modalities: str) -> Iterator[str]:
    """What each modality has in a decision, as parts of a bar, and in words.

    Args:
      of: share by modality, they sum to 1.
      modalities: in the order in which to show them.
    """
    yield "<h3>Share of each modality in the decision</h3>"
    parts, names = "", ""
    for m in modalities:
        share, colour = of[m], f"background:{MODALITY_COLOURS[m]}"
        parts += f'<span style="width:{100 * share:.2f}%;{colour}">{f"{share:.0%}" if share >= _NARROW else ""}</span>'
        names += f'<span style="{colour}"></span>{MODALITY_NAMES[m]} {share:.0%}'
    yield f'<div class="shares">{parts}</div><p class="small key">{names}</p>'


def faces(e: Evidence, name: str) -> Iterator[str]:
    """The face of each frame, and below it what each stage kept of it.

    Args:
      e: the evidence; without faces nothing is shown.
      name: unique in the page.
    """
    if not len(e.faces):
        return
    stages = e.kept.get("v", [])
    yield f"<h3>Faces{_below(len(stages))}</h3>"
    yield '<p class="small">One face a frame is used, also where there are several.</p><div class="faces">'
    height = FACE_SIZE + (FACE_SIZE + _GAP) * len(stages)
    size = f'width="{FACE_SIZE}" height="{FACE_SIZE}"'
    for i, face in enumerate(e.faces):
        time = f"{e.frame_ms[i] / 1000:.1f} s"
        drawn = f'<image id="{name}-{i}" {size} href="{data_uri(face)}"/>'
        for k, stage in enumerate(stages, start=1):
            y = k * (FACE_SIZE + _GAP)
            drawn += f'<use href="#{name}-{i}" y="{y}"/>' + _over(stage[i], f'{size} y="{y}"')
        missing = "" if e.face_found[i] else "<br>no face"
        yield (
            f'<figure><svg viewBox="0 0 {FACE_SIZE} {height}" role="img" aria-label="face at {time}">{drawn}</svg>'
            f"<figcaption>{time}{missing}</figcaption></figure>"
        )
    yield "</div>"


def sound(e: Evidence, name: str) -> Iterator[str]:
    """The mel spectrogram, and below it what each stage kept of it; arguments as of `faces`."""
    if not len(e.mel):
        return
    stages = e.kept.get("a", [])
    yield f"<h3>Sound{_below(len(stages))}</h3>"
    picture = mel_picture(e.mel)
    height, width = picture.shape
    size = f'width="{width}" height="{height}"'
    caption = "time to the right, pitch upwards; dark is loud; a white end is filling"
    rows = {caption: f'<image id="{name}" {size} href="{data_uri(picture)}"/>'}
    for stage, kept in zip(_STAGES, stages, strict=False):
        rows[stage] = f'<use href="#{name}"/>' + _over(mel_sites(kept), size)
    yield '<div class="sound">'
    for caption, drawn in rows.items():
        yield (
            f'<figure><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="sound, '
            f'{caption}">{drawn}</svg><figcaption>{caption}</figcaption></figure>'
        )
    yield "</div>"


def _below(stages: int) -> str:
    return ", and below what was kept at the first, second and third stage" if stages else ""


def _over(kept: np.ndarray, place: str) -> str:
    return f'<image {place} preserveAspectRatio="none" href="{data_uri(veil(kept))}"/>'
