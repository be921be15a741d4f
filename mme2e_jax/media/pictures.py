"""Videos that are kept as a folder of numbered pictures."""

import re
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from mme2e_jax.media.utterance import Pictures
from mme2e_jax.media.video import TIME_TOLERANCE_S, VideoError


def numbers(pictures: Pictures) -> list[int]:
    """The numbers of the pictures that are there, ascending; other files are not looked at."""
    pattern = re.compile(re.escape(pictures.prefix) + r"([0-9]{1,7})\.jpg")
    found = (pattern.fullmatch(path.name) for path in pictures.folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def pictures_duration(pictures: Pictures) -> float:
    """The length in seconds, to the end of the last picture.

    Raises:
      VideoError: there are no pictures.
    """
    found = numbers(pictures)
    if not found:
        raise VideoError("no pictures")
    return (found[-1] + 1) / pictures.fps


def pictures_at(pictures: Pictures, times: Sequence[float]) -> Iterator[tuple[int, np.ndarray]]:
    """Reads the picture on screen at each asked time: number n is on screen from n / fps to (n + 1) / fps.

    Args:
      pictures: the video.
      times: seconds from its start, ascending.

    Yields:
      (i, picture): for each `times[i]` in order, uint8 RGB `[height, width, 3]`.

    Raises:
      VideoError: a picture is missing or cannot be read; everything before it has been yielded.
    """
    for i, time in enumerate(times):
        number = int((time + TIME_TOLERANCE_S) * pictures.fps)
        name = f"{pictures.prefix}{number}.jpg"
        picture = cv2.imread(str(pictures.folder / name), cv2.IMREAD_COLOR)
        if picture is None:
            raise VideoError(f"{name} is missing or no picture")
        yield i, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
