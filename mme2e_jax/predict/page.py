"""The page on a clip: one file that needs nothing else, neither network nor scripts."""

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mme2e_jax.constants import MODALITY_NAMES
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import STYLE as EVIDENCE_STYLE
from mme2e_jax.html.evidence import bar, faces, shares, sound
from mme2e_jax.html.page import document, note
from mme2e_jax.html.timecode import clock

if TYPE_CHECKING:
    from mme2e_jax.predict.results import Prediction, Utterance

_STYLE = """
svg { display: block; }
.row { display: grid; grid-template-columns: 6.5rem 1fr; gap: 0 8px; margin: 3px 0; align-items: center; }
.row > svg { width: 100%; height: 40px; background: #f2f2f2; }
.axis { display: flex; justify-content: space-between; }
.emotions { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 2px 32px; }
.bar { display: grid; grid-template-columns: 5.5rem 1fr 3.5rem; gap: 8px; align-items: center; }
.bar svg { width: 100%; height: 14px; background: #eaeaea; }
.bar > :last-child { text-align: right; }
"""


def page(prediction: "Prediction") -> str:
    """The page, as HTML."""
    return document(f"{prediction.clip}: emotions", _STYLE + EVIDENCE_STYLE, _parts(prediction))


def _parts(p: "Prediction") -> Iterator[str]:
    yield f"<h1>Emotions in {html.escape(p.clip)}</h1>"
    counted = "1 utterance" if len(p.utterances) == 1 else f"{len(p.utterances)} utterances"
    yield (
        f'<p class="small">{clock(p.seconds)} long, {counted}. Said by the model {html.escape(p.model)} of the run '
        f"{html.escape(p.run)}, step {p.step}.</p>"
    )
    yield from map(note, p.notes)
    yield from _timeline(p)
    yield from _numbers(p)
    shown = [u for u in p.utterances if u.evidence is not None]
    yield "<h2>What the model was given, and looked at</h2>"
    if len(shown) < len(p.utterances):
        yield f"<p>{len(shown)} of the {len(p.utterances)} utterances, evenly over the clip.</p>"
    yield from _explanation(p)
    for number, u in enumerate(shown):
        yield from _utterance(p, u, f"u{number}")


def _span(p: "Prediction") -> tuple[float, float]:
    """Lowest and highest score that drawings have room for."""
    if p.task is not Task.REGRESSION:
        return 0.0, 1.0
    values = [score for u in p.utterances for score in u.scores.values()]
    return min(0.0, *values), max(1.0, *values)


def _timeline(p: "Prediction") -> Iterator[str]:
    low, high = _span(p)
    whole = max(p.utterances[-1].end, p.seconds)
    yield "<h2>Over time</h2>"
    for name in p.label_names:
        drawn = []
        for u in p.utterances:
            share, x, width = (u.scores[name] - low) / (high - low), u.start / whole, (u.end - u.start) / whole
            # A gap between neighbours, as far as there is room for one.
            drawn.append(
                bar(x, 1 - share, max(width - min(0.001, width / 8), 0.0002), share, decided=name in u.decided)
                + f"<title>{clock(u.start)} to {clock(u.end)}: {u.scores[name]:.2f}</title></rect>"
            )
        if name in p.thresholds:
            y = 1 - (p.thresholds[name] - low) / (high - low)
            drawn.append(f'<path d="M0 {y:.4f}H1" {_THRESHOLD}/>')
        yield (
            f'<div class="row"><span>{html.escape(name)}</span><svg viewBox="0 0 1 1" preserveAspectRatio="none" '
            f'role="img" aria-label="{html.escape(name)} over time">{"".join(drawn)}</svg></div>'
        )
    ends = f"<span>{clock(0)}</span><span>{clock(whole)}</span>"
    yield f'<div class="row small"><span></span><span class="axis">{ends}</span></div>'
    score = "value" if p.task is Task.REGRESSION else "probability"
    line = "; the dashed line is the threshold" if p.thresholds else ""
    yield (
        f'<p class="small">Height is the {score}, from {low:g} to {high:g}{line}. Dark where the emotion is said to be '
        "there.</p>"
    )


_THRESHOLD = 'stroke="#e66100" stroke-width="2" stroke-dasharray="5 3" vector-effect="non-scaling-stroke" fill="none"'


def _numbers(p: "Prediction") -> Iterator[str]:
    yield "<h2>In numbers</h2>"
    names = "".join(f"<th>{html.escape(name)}</th>" for name in p.label_names)
    modalities = "".join(f"<th>{MODALITY_NAMES[m]}</th>" for m in p.modalities)
    yield '<div class="scroll"><table><thead>'
    yield f'<tr><th>time</th>{names}{modalities}<th class="words">words</th></tr></thead><tbody>'
    if p.thresholds:
        cells = "".join(f"<td>{p.thresholds[name]:.2f}</td>" for name in p.label_names)
        yield f'<tr><td>threshold</td>{cells}<td colspan="{len(p.modalities) + 1}"></td></tr>'
    for u in p.utterances:
        scores = "".join(
            f"<td{' class=yes' if name in u.decided else ''}>{u.scores[name]:.2f}</td>" for name in p.label_names
        )
        parts = "".join(f"<td>{u.shares[m]:.0%}</td>" for m in p.modalities)
        words = html.escape(u.transcript if len(u.transcript) <= 80 else u.transcript[:77] + "...")
        time = f"{clock(u.start)} – {clock(u.end)}"
        yield f'<tr><td>{time}</td>{scores}{parts}<td class="words">{words}</td></tr>'
    yield "</tbody></table></div>"
    yield '<p class="small">Percentages: the share of each modality in the decision.</p>'


def _explanation(p: "Prediction") -> Iterator[str]:
    if len(p.modalities) > 1:
        yield (
            "<p>A decision is a sum: each modality adds its own say to the logit of each emotion. Shares tell how much "
            "of that moved the logits, up or down, mean over the emotions.</p>"
        )
    if p.sparse_threshold is not None:
        yield (
            "<p>In each of three stages the model keeps the sites of a picture that together hold "
            f"{p.sparse_threshold:.0%} of its attention, and works on nothing else. What it did not keep is covered. "
            "<strong>Kept sites show what the model looked at; they are not an explanation of its decision.</strong>"
            "</p>"
        )


def _utterance(p: "Prediction", u: "Utterance", name: str) -> Iterator[str]:
    said = ", ".join(map(html.escape, u.decided)) or "no emotion"
    yield f"<section><h3>{clock(u.start)} – {clock(u.end)}: {said}</h3>"
    yield f"<blockquote>{html.escape(u.transcript) or '<em>no words</em>'}</blockquote>"
    yield from map(note, u.notes)
    yield from _emotions(p, u)
    if len(p.modalities) > 1:
        yield from shares(u.shares, p.modalities)
    if u.evidence is not None:
        yield from faces(u.evidence, name)
        yield from sound(u.evidence, name)
    yield "</section>"


def _emotions(p: "Prediction", u: "Utterance") -> Iterator[str]:
    low, high = _span(p)
    yield '<div class="emotions">'
    for name in p.label_names:
        yes = name in u.decided
        drawn = bar(0, 0, (u.scores[name] - low) / (high - low), 1, decided=yes) + "</rect>"
        if name in p.thresholds:
            x = (p.thresholds[name] - low) / (high - low)
            drawn += f'<path d="M{x:.4f} 0V1" {_THRESHOLD}/>'
        score = f"{u.scores[name]:.2f}"
        yield (
            f'<div class="bar"><span>{html.escape(name)}</span><svg viewBox="0 0 1 1" preserveAspectRatio="none" '
            f'role="img" aria-label="{score}">{drawn}</svg><span>{f"<b>{score}</b>" if yes else score}</span></div>'
        )
    yield "</div>"
