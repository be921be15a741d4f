"""Defines the facial expression of each emotion; lengths are in eye distances."""

from dataclasses import dataclass, replace


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
        return Expression(**{name: factor * value for name, value in vars(self).items()})

    def plus(self, **changes: float) -> "Expression":
        """This expression with some numbers increased."""
        return replace(self, **{name: getattr(self, name) + change for name, change in changes.items()})


NEUTRAL = Expression()

# Rows are the numbers of an expression, columns the emotions.
_EMOTIONS = ("anger", "disgust", "fear", "happy", "sad", "surprise")
_TABLE = {
    "brow_inner": (-0.15, -0.09,  0.15,  0.03,  0.14,  0.17),
    "brow_outer": ( 0.08, -0.06,  0.02,  0.04, -0.12,  0.17),
    "lid":        (-0.02, -0.06,  0.08, -0.04, -0.08,  0.08),
    "corner":     (-0.06, -0.10, -0.08,  0.17, -0.16,  0.00),
    "width":      ( 0.04, -0.06,  0.14,  0.16, -0.05, -0.12),
    "opening":    ( 0.14,  0.00,  0.16,  0.14,  0.00,  0.30),
    "teeth":      ( 1.00,  0.00,  0.25,  0.90,  0.00,  0.30),
    "sneer":      ( 0.00,  0.16,  0.00,  0.00,  0.00,  0.00),
    "furrow":     ( 1.00,  0.40,  0.30,  0.00,  0.30,  0.00),
    "crease":     ( 0.40,  1.00,  0.00,  0.30,  0.00,  0.00),
    "flush":      ( 0.90, -0.30, -0.90,  0.40, -0.40,  0.00),
    "tilt":       ( 0.00,  5.00,  0.00,  0.00, -4.00,  0.00),
    "drop":       ( 0.00,  0.00, -0.05,  0.00,  0.12, -0.04),
}  # fmt: skip
EXPRESSIONS = {
    emotion: Expression(**{name: values[i] for name, values in _TABLE.items()}) for i, emotion in enumerate(_EMOTIONS)
}
