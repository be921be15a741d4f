"""The page on a clip: one file that needs nothing else, neither network nor scripts."""

import html
from collections.abc import Iterator

from mme2e_jax.metrics import Task
from mme2e_jax.prediction.pictures import data_uri, mel_picture, mel_sites, veil
from mme2e_jax.prediction.prediction import MODALITY_NAMES, Evidence, Prediction, Utterance
from mme2e_jax.prediction.table import clock

_COLOURS = {"t": "#4477aa", "v": "#228833", "a": "#aa5500"}
_STYLE = """
body { margin: 0 auto; max-width: 1200px; padding: 0 16px 48px; font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a;
  background: #fff; }
h1 { font-size: 1.5rem; margin: 24px 0 4px; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin: 40px 0 8px; }
h3 { font-size: 1rem; margin: 16px 0 4px; } p { margin: 4px 0 8px; } .small { font-size: .875rem; color: #444; }
.note { border-left: 4px solid #b58900; padding: 4px 10px; background: #fdf6e3; margin: 6px 0; overflow-wrap: anywhere; }
svg { display: block; } .row { display: grid; grid-template-columns: 6.5rem 1fr; gap: 0 8px; margin: 3px 0;
  align-items: center; } .row > svg { width: 100%; height: 40px; background: #f4f4f4; }
.axis { display: flex; justify-content: space-between; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 8px; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
td.words { text-align: left; white-space: normal; min-width: 14rem; overflow-wrap: anywhere; } th:first-child, td:first-child
  { text-align: left; } td.yes { font-weight: 700; background: #dbe9f6; }
section { border-top: 1px solid #ccc; margin-top: 28px; padding-top: 4px; } blockquote { margin: 4px 0 12px;
  padding-left: 12px; border-left: 4px solid #bbb; overflow-wrap: anywhere; max-height: 12rem; overflow-y: auto; }
.emotions { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 2px 32px; }
.bar { display: grid; grid-template-columns: 5.5rem 1fr 3.5rem; gap: 8px; align-items: center; }
.bar svg { width: 100%; height: 14px; background: #eee; } .bar b, .bar span:last-child { text-align: right; }
.shares { display: flex; height: 22px; color: #fff; font-size: .8rem; } .shares span { overflow: hidden; text-align: center; }
.key span { display: inline-block; width: .8em; height: .8em; margin: 0 4px 0 12px; }
.faces { display: flex; flex-wrap: wrap; gap: 6px; } .faces figure, .mel figure { margin: 0; }
.faces svg { width: 72px; } .faces figcaption { font-size: .75rem; text-align: center; color: #444; }
.mel figure { margin-bottom: 6px; } .mel svg { width: 100%; height: 96px; border: 1px solid #ddd; box-sizing: border-box; }
image { image-rendering: pixelated; }
"""
_STAGES = ("the first stage", "the second stage", "the third stage")


def page(prediction: Prediction) -> str:
    """The page, as HTML."""
    return "\n".join(_parts(prediction)) + "\n"


def _parts(p: Prediction) -> Iterator[str]:
    clip = html.escape(p.clip)
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{clip}: emotions</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    # Else browsers ask a server for one.
    yield f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>'
    yield f"<h1>Emotions in {clip}</h1>"
    counted = "1 utterance" if len(p.utterances) == 1 else f"{len(p.utterances)} utterances"
    yield (
        f'<p class="small">{clock(p.seconds)} long, {counted}. Said by the model {html.escape(p.model)} of the run '
        f"{html.escape(p.run)}, step {p.step}.</p>"
    )
    yield from (f'<p class="note">{html.escape(note)}</p>' for note in p.notes)
    yield from _timeline(p)
    yield from _numbers(p)
    shown = [u for u in p.utterances if u.evidence is not None]
    if shown:
        yield "<h2>What the model was given, and looked at</h2>"
        if len(shown) < len(p.utterances):
            yield f"<p>{len(shown)} of the {len(p.utterances)} utterances, evenly over the clip.</p>"
        yield from _explanation(p)
        for u in shown:
            yield from _utterance(p, u)
    yield "</body></html>"


def _explanation(p: Prediction) -> Iterator[str]:
    if len(p.modalities) > 1:
        yield (
            "<p>A decision is a sum: each modality adds its own say to the logit of each emotion. Shares tell how much of "
            "that moved the logits, up or down, mean over the emotions.</p>"
        )
    if p.sparse_threshold is not None:
        yield (
            "<p>In each of three stages the model keeps the sites of a picture that together hold "
            f"{p.sparse_threshold:.0%} of its attention, and works on nothing else. What it did not keep is faded. "
            "<strong>Kept sites show what the model looked at; they are not an explanation of its decision.</strong></p>"
        )


def _span(p: Prediction) -> tuple[float, float]:
    """Lowest and highest score that drawings have room for."""
    if p.task is not Task.REGRESSION:
        return 0.0, 1.0
    values = [score for u in p.utterances for score in u.scores.values()]
    return min(0.0, *values), max(1.0, *values)


def _timeline(p: Prediction) -> Iterator[str]:
    low, high = _span(p)
    whole = max(p.utterances[-1].end, p.seconds)
    yield "<h2>Over time</h2>"
    for name in p.label_names:
        bars = []
        for u in p.utterances:
            height = (u.scores[name] - low) / (high - low)
            fill = "#1f5a99" if name in u.decided else "#a9bfd6"
            x, width = 1000 * u.start / whole, 1000 * (u.end - u.start) / whole
            gap = min(1.0, width / 8)
            about = f"{clock(u.start)} to {clock(u.end)}: {u.scores[name]:.2f}"
            bars.append(
                f'<rect x="{x:.2f}" width="{max(width - gap, 0.2):.2f}" y="{1 - height:.4f}" height="{height:.4f}" '
                f'fill="{fill}"><title>{about}</title></rect>'
            )
        if name in p.thresholds:
            y = 1 - (p.thresholds[name] - low) / (high - low)
            bars.append(
                f'<line x1="0" x2="1000" y1="{y:.4f}" y2="{y:.4f}" stroke="#b00020" stroke-dasharray="4 3" '
                'vector-effect="non-scaling-stroke"/>'
            )
        yield (
            f'<div class="row"><span>{html.escape(name)}</span><svg viewBox="0 0 1000 1" preserveAspectRatio="none" '
            f'role="img" aria-label="{html.escape(name)} over time">{"".join(bars)}</svg></div>'
        )
    yield f'<div class="row small"><span></span><span class="axis"><span>0:00.0</span><span>{clock(whole)}</span></span></div>'
    line = "; the dashed line is its threshold" if p.thresholds else ""
    yield f'<p class="small">Height is the {_score(p)}, from {low:g} to {high:g}{line}. Dark where the emotion is said to be there.</p>'


def _score(p: Prediction) -> str:
    return "value" if p.task is Task.REGRESSION else "probability"


def _numbers(p: Prediction) -> Iterator[str]:
    yield "<h2>In numbers</h2>"
    yield '<div class="scroll"><table><thead><tr><th>time</th>'
    yield from (f"<th>{html.escape(name)}</th>" for name in p.label_names)
    yield from (f"<th>{MODALITY_NAMES[m]}</th>" for m in p.modalities)
    yield "<th>words</th></tr></thead><tbody>"
    if p.thresholds:
        cells = "".join(f"<td>{p.thresholds[name]:.2f}</td>" for name in p.label_names)
        yield f"<tr><td>threshold</td>{cells}<td colspan={len(p.modalities) + 1}></td></tr>"
    for u in p.utterances:
        scores = "".join(
            f"<td{' class=yes' if name in u.decided else ''}>{u.scores[name]:.2f}</td>" for name in p.label_names
        )
        shares = "".join(f"<td>{u.shares[m]:.0%}</td>" for m in p.modalities)
        words = u.transcript if len(u.transcript) <= 200 else u.transcript[:197] + "..."
        yield f'<tr><td>{clock(u.start)} – {clock(u.end)}</td>{scores}{shares}<td class="words">{html.escape(words)}</td></tr>'
    yield "</tbody></table></div>"


def _utterance(p: Prediction, u: Utterance) -> Iterator[str]:
    said = ", ".join(map(html.escape, u.decided)) or "no emotion"
    yield f"<section><h3>{clock(u.start)} – {clock(u.end)}: {said}</h3>"
    yield f"<blockquote>{html.escape(u.transcript) or '<em>no words</em>'}</blockquote>"
    yield from (f'<p class="note">{html.escape(note)}</p>' for note in u.notes)
    yield from _emotions(p, u)
    if len(p.modalities) > 1:
        yield from _shares(p, u)
    evidence = u.evidence
    if evidence is not None:
        yield from _faces(evidence)
        yield from _mel(evidence)
    yield "</section>"


def _emotions(p: Prediction, u: Utterance) -> Iterator[str]:
    low, high = _span(p)
    yield '<div class="emotions">'
    for name in p.label_names:
        width = 100 * (u.scores[name] - low) / (high - low)
        drawn = f'<rect width="{width:.2f}" height="1" fill="{"#1f5a99" if name in u.decided else "#a9bfd6"}"/>'
        if name in p.thresholds:
            x = 100 * (p.thresholds[name] - low) / (high - low)
            drawn += (
                f'<line x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="1" stroke="#b00020" vector-effect="non-scaling-stroke"/>'
            )
        number = f"<b>{u.scores[name]:.2f}</b>" if name in u.decided else f"<span>{u.scores[name]:.2f}</span>"
        yield (
            f'<div class="bar"><span>{html.escape(name)}</span><svg viewBox="0 0 100 1" preserveAspectRatio="none" '
            f'role="img" aria-label="{u.scores[name]:.2f}">{drawn}</svg>{number}</div>'
        )
    yield "</div>"


def _shares(p: Prediction, u: Utterance) -> Iterator[str]:
    yield "<h3>Share of each modality in the decision</h3>"
    parts = "".join(
        f'<span style="width:{100 * u.shares[m]:.2f}%;background:{_COLOURS[m]}" title="{MODALITY_NAMES[m]}">'
        f"{f'{u.shares[m]:.0%}' if u.shares[m] >= 0.08 else ''}</span>"
        for m in p.modalities
    )
    yield f'<div class="shares">{parts}</div>'
    names = "".join(
        f'<span style="background:{_COLOURS[m]}"></span>{MODALITY_NAMES[m]} {u.shares[m]:.0%}' for m in p.modalities
    )
    yield f'<p class="small key">{names}</p>'


def _faces(e: Evidence) -> Iterator[str]:
    if not len(e.faces):
        return
    stages = e.kept.get("v", [])
    yield f"<h3>Faces{_below(len(stages))}</h3>"
    yield '<div class="faces">'
    height = 48 + 50 * len(stages)
    for i, face in enumerate(e.faces):
        layers = [f'<image id="{{name}}" width="48" height="48" href="{data_uri(face)}"/>']
        name = f"f{id(e)}-{i}"
        for k, stage in enumerate(stages):
            y = 50 * (k + 1)
            layers.append(f'<use href="#{name}" y="{y}"/>')
            layers.append(_over(data_uri(veil(stage[i])), f'y="{y}" width="48" height="48"'))
        missing = "" if e.face_found[i] else "<br>no face"
        yield (
            f'<figure><svg viewBox="0 0 48 {height}" role="img" aria-label="face at {e.frame_ms[i] / 1000:.1f} s">'
            f"{''.join(layers).replace('{name}', name)}</svg>"
            f"<figcaption>{e.frame_ms[i] / 1000:.1f} s{missing}</figcaption></figure>"
        )
    yield "</div>"


def _mel(e: Evidence) -> Iterator[str]:
    if not len(e.mel):
        return
    stages = e.kept.get("a", [])
    yield f"<h3>Sound{_below(len(stages))}</h3>"
    yield '<p class="small">Time to the right, pitch upwards; dark is loud.</p><div class="mel">'
    picture = mel_picture(e.mel)
    height, width = picture.shape
    whole = f'width="{width}" height="{height}" preserveAspectRatio="none"'
    name = f"m{id(e)}"
    rows = [("", f'<image id="{name}" {whole} href="{data_uri(picture)}"/>')]
    for label, stage in zip(_STAGES, stages, strict=False):
        rows.append((label, f'<use href="#{name}"/>' + _over(data_uri(veil(mel_sites(stage))), whole)))
    for label, drawn in rows:
        about = f"sound, sites kept at {label}" if label else "sound"
        yield (
            f'<figure><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" aria-label="{about}">{drawn}'
            "</svg></figure>"
        )
    yield "</div>"


def _below(stages: int) -> str:
    return ", and below what was kept at each stage" if stages else ""


def _over(uri: str, where: str) -> str:
    return (
        f'<image {where} preserveAspectRatio="none" href="{uri}"/>'
        if "preserve" not in where
        else f'<image {where} href="{uri}"/>'
    )
