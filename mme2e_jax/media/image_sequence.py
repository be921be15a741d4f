"""Reads videos that are stored as numbered images."""

import re
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image

from mme2e_jax.media.utterance import ImageSequence
from mme2e_jax.media.video import TIME_TOLERANCE_S, VideoError, require_size


def image_numbers(sequence: ImageSequence) -> list[int]:
    """The numbers of the images in the folder, ascending; other files are ignored."""
    pattern = re.compile(re.escape(sequence.prefix) + r"([0-9]{1,7})\.jpg")
    matches = (pattern.fullmatch(path.name) for path in sequence.folder.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def sequence_duration(sequence: ImageSequence) -> float:
    """The length in seconds, up to the end of the last image; raises `VideoError` if there are no images."""
    numbers = image_numbers(sequence)
    if not numbers:
        raise VideoError("no images")
    return (numbers[-1] + 1) / sequence.fps


def images_at(sequence: ImageSequence, times: Sequence[float]) -> Iterator[tuple[int, np.ndarray]]:
    """Reads the image shown at each requested time: image n is shown from n / fps to (n + 1) / fps.

    Yields (i, image), uint8 RGB `[height, width, 3]`, for each `times[i]` in seconds, ascending. Raises `VideoError` if
    an image is missing, unreadable or above `MOST_PIXELS`, after all images before it.
    """
    for i, time in enumerate(times):
        name = f"{sequence.prefix}{int((time + TIME_TOLERANCE_S) * sequence.fps)}.jpg"
        path = sequence.folder / name
        try:
            with Image.open(path) as header:
                require_size(*header.size)
            # OpenCV refuses names that are not UTF-8.
            image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        except (OSError, Image.DecompressionBombError):
            image = None
        if image is None:
            raise VideoError(f"{name} is missing or not an image")
        yield i, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
