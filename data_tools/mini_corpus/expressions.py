"""What each emotion looks like, as numbers that a face can wear.

Lengths are in eye distances (the distance between the pupils), so they fit faces of any size.
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Expression:
    """One state of a face; zero everywhere is a relaxed face with its mouth closed.

    Attributes:
      brow_inner, brow_outer: how far the ends of the brows are raised.
      lid: how far the eyes are opened beyond normal; negative closes.
      corner: how far the corners of the mouth are raised.
      width: by how much each half of the mouth is wider.
      opening: gap between the lips; the jaw follows.
      teeth: share of the gap that upper teeth fill, [0, 1].
      sneer: how far the upper lip is raised on one side; the nostrils follow.
      furrow: depth of the creases between the brows, [0, 1].
      crease: depth of the creases beside the nose, [0, 1].
      flush: reddening of the skin; negative pales, [-1, 1].
      tilt: how far the head leans, in degrees.
      drop: how far the head is lowered.
    """

    brow_inner: float = 0.0
    brow_outer: float = 0.0
    lid: float = 0.0
    corner: float = 0.0
    width: float = 0.0
    opening: float = 0.0
    teeth: float = 0.0
    sneer: float = 0.0
    furrow: float = 0.0
    crease: float = 0.0
    flush: float = 0.0
    tilt: float = 0.0
    drop: float = 0.0

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
        brow_inner=0.17,
        brow_outer=0.17,
        lid=0.08,
        corner=0.0,
        width=-0.12,
        opening=0.30,
        teeth=0.3,
        drop=-0.04,
    ),
}
