"""Audio feature types: the columns of stored features that a model reads.

They are those of the paper code's IEMOCAP loader. The full set has bands (columns 0-21), MFCC (22-33), many more, and
at 655-762 six statistics each of 18 descriptors: mean, standard deviation, skewness, kurtosis, maximum and minimum.
Records hold the full set, type 0's 144 columns of it, or other features, for which only type 0 (all columns) exists.
"""

from collections.abc import Sequence

from mme2e_jax.errors import UserError

FULL_WIDTH = 763  # minimum width; further columns belong to no type


def _columns(*ranges: tuple[int, int]) -> tuple[int, ...]:
    # Both ends are included.
    return tuple(column for first, last in ranges for column in range(first, last + 1))


_BANDS, _MFCC, _DESCRIPTORS = _columns((0, 21)), _columns((22, 33)), _columns((655, 762))


def _first_statistics(count: int) -> tuple[int, ...]:
    return tuple(c for c in _DESCRIPTORS if (c - _DESCRIPTORS[0]) % 6 < count)


# Columns of the full set, by feature type.
TYPES: Sequence[tuple[int, ...]] = (
    (*_BANDS, *_MFCC, *_DESCRIPTORS, 100, 101),  # the last two only fill up to 144
    (*_MFCC, *_DESCRIPTORS),
    (*_BANDS, *_DESCRIPTORS),
    (*_BANDS, *_MFCC),
    (*_BANDS, *_MFCC, *_first_statistics(2)),
    (*_BANDS, *_MFCC, *_first_statistics(4)),
    _columns(
        *((0, 33), (58, 103), (116, 121), (180, 213), (238, 243), (360, 365)),
        *((424, 457), (482, 487), (552, 559), (562, 565), (568, 581), (655, 762)),
    ),
)


def audio_columns(feature_type: int, width: int) -> tuple[int, ...]:
    """A feature type's columns, in its order, in stored audio of a given width; raises `UserError` if it lacks some."""
    if width >= FULL_WIDTH:
        return TYPES[feature_type]
    stored, possible = TYPES[0], [0]
    if width == len(stored):
        possible = [number for number, columns in enumerate(TYPES) if set(columns) <= set(stored)]
    if feature_type not in possible:
        raise UserError(
            f"config.data.audio_feature_type: expected {', '.join(map(str, possible))} for records whose audio has "
            f"{width} columns (the full set has {FULL_WIDTH} or more), found {feature_type}."
        )
    return tuple(range(width)) if feature_type == 0 else tuple(stored.index(c) for c in TYPES[feature_type])
