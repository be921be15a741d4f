"""Collects the frames of one utterance from its video."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mme2e_jax.constants import FACE_SIZE
from mme2e_jax.media.arrays import Footage
from mme2e_jax.media.face_choice import Box
from mme2e_jax.media.framing import crop_centre, crop_face
from mme2e_jax.media.utterance import Finding

_NO_BOX: Box = (math.nan, math.nan, math.nan, math.nan)


@dataclass
class Track:
    """The frames of an utterance in order of time."""

    # By frame, uint8 `[48, 48, 3]` the chosen face, or the centre of the frame.
    faces: list[np.ndarray] = field(default_factory=list)
    face_found: list[bool] = field(default_factory=list)  # for each frame, whether it has a face
    frame_ms: list[float] = field(default_factory=list)  # for each frame, milliseconds from the utterance's start
    # By frame, the chosen face's left, top, right, bottom as shares of the video's picture; NaN without a face.
    boxes: list[Box] = field(default_factory=list)
    last_box: Box | None = None  # box of the last chosen face, see `face_choice.Scene.previous`
    crowded: int = 0  # number of frames with several faces

    def add(self, image: np.ndarray, box: Box | None, face_count: int, milliseconds: float, part: Box) -> None:
        """Adds a frame with its chosen face (None for none), at `milliseconds` from the utterance's start.

        `part` is what the image shows of the video's picture, see `framing.view_part`.
        """
        self.faces.append(crop_face(image, box) if box else crop_centre(image))
        self.face_found.append(box is not None)
        self.frame_ms.append(milliseconds)
        self.boxes.append(_in_picture(box, image, part) if box else _NO_BOX)
        # If all faces were left out, the next frame chooses afresh: the picture may have been cut to a wider view.
        self.last_box = box or (None if face_count else self.last_box)
        self.crowded += face_count > 1

    def footage(self, wave: np.ndarray, sample_rate: int) -> Footage:
        """The frames together with the sound `wave`, float32 `[x]` at `sample_rate` Hz."""
        return Footage(
            faces=np.array(self.faces, np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE, 3),
            face_found=np.array(self.face_found, np.bool_),
            frame_ms=np.array(self.frame_ms, np.float32),
            boxes=np.array(self.boxes, np.float32).reshape(-1, 4),
            wave=wave,
            sample_rate=sample_rate,
        )

    def findings(self, name: str, requested: int, failure: str) -> Iterator[Finding]:
        """Reports missing frames (of `requested` ones, because of `failure`), missing faces and several faces."""
        frames, faces = len(self.faces), sum(self.face_found)
        if not requested:
            yield Finding(name, "no_frames")
        elif frames < requested:
            yield Finding(name, "broken_video", f"{frames} of {requested} frames: {failure}")
        if frames and not faces:
            yield Finding(name, "no_face", f"{frames} frames")
        elif faces < frames:
            yield Finding(name, "some_faces_missing", f"{frames - faces} of {frames} frames")
        if self.crowded:
            yield Finding(name, "several_faces", f"{self.crowded} of {frames} frames")


def _in_picture(box: Box, image: np.ndarray, part: Box) -> Box:
    """A box in pixels of an image as shares of the picture of which the image shows a part, cut at its edges."""
    height, width = image.shape[:2]
    x = [min(max(side / width, 0.0), 1.0) * (part[2] - part[0]) + part[0] for side in (box[0], box[2])]
    y = [min(max(side / height, 0.0), 1.0) * (part[3] - part[1]) + part[1] for side in (box[1], box[3])]
    return x[0], y[0], x[1], y[1]
