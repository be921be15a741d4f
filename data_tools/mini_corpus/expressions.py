"""Defines the facial expression of each emotion.

Lengths are in eye distances (the distance between the pupils), which makes them independent of the face's size.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Expression:
    """One state of a face; all zeros are a relaxed face with a closed mouth."""

    brow_inner: float = 0.0  # height of the inner ends of the brows
    brow_outer: float = 0.0  # height of the outer ends
    lid: float = 0.0  # opening of the eyes relative to normal
    corner: float = 0.0  # height of the mouth's corners
    width: float = 0.0  # additional width of each half of the mouth
    opening: float = 0.0  # gap between the lips, which also lowers the jaw
    teeth: float = 0.0  # share of the gap filled by the upper teeth, [0, 1]
    sneer: float = 0.0  # height of the upper lip on one side, which also raises the nostrils
    furrow: float = 0.0  # depth of the creases between the brows, [0, 1]
    crease: float = 0.0  # depth of the creases next to the nose, [0, 1]
    flush: float = 0.0  # redness of the skin, negative for pale skin, [-1, 1]
    tilt: float = 0.0  # rotation of the head in degrees
    drop: float = 0.0  # downward shift of the head

    def scaled(self, factor: float) -> "Expression":
        """This expression, `factor` times as strong."""
        return Expression(**{f.name: factor * getattr(self, f.name) for f in fields(self)})

    def plus(self, **changes: float) -> "Expression":
        """This expression with some numbers increased."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Expression(**values | {name: values[name] + v for name, v in changes.items()})


NEUTRAL = Expression()

EXPRESSIONS = {
    "anger": Expression(
        brow_inner=-0.15,
        brow_outer=0.08,
        lid=-0.02,
        corner=-0.06,
        width=0.04,
        opening=0.14,
        teeth=1.0,
        furrow=1.0,
        crease=0.4,
        flush=0.9,
    ),
    "disgust": Expression(
        brow_inner=-0.09,
        brow_outer=-0.06,
        lid=-0.06,
        corner=-0.10,
        width=-0.06,
        sneer=0.16,
        furrow=0.4,
        crease=1.0,
        flush=-0.3,
        tilt=5.0,
    ),
    "fear": Expression(
        brow_inner=0.15,
        brow_outer=0.02,
        lid=0.08,
        corner=-0.08,
        width=0.14,
        opening=0.16,
        teeth=0.25,
        furrow=0.3,
        flush=-0.9,
        drop=-0.05,
    ),
    "happy": Expression(
        brow_inner=0.03,
        brow_outer=0.04,
        lid=-0.04,
        corner=0.17,
        width=0.16,
        opening=0.14,
        teeth=0.9,
        crease=0.3,
        flush=0.4,
    ),
    "sad": Expression(
        brow_inner=0.14,
        brow_outer=-0.12,
        lid=-0.08,
        corner=-0.16,
        width=-0.05,
        furrow=0.3,
        flush=-0.4,
        tilt=-4.0,
        drop=0.12,
    ),
    "surprise": Expression(
        brow_inner=0.17, brow_outer=0.17, lid=0.08, corner=0.0, width=-0.12, opening=0.30, teeth=0.3, drop=-0.04
    ),
}
