"""Collects the frames of one utterance from its video."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mme2e_jax.constants import FACE_SIZE
from mme2e_jax.media.arrays import Footage
from mme2e_jax.media.face_choice import Box
from mme2e_jax.media.framing import crop_centre, crop_face
from mme2e_jax.media.utterance import Finding


@dataclass
class Track:
    """The frames of an utterance in order of time."""

    # By frame, uint8 `[48, 48, 3]` the chosen face, or the centre of the frame.
    faces: list[np.ndarray] = field(default_factory=list)
    face_found: list[bool] = field(default_factory=list)  # for each frame, whether it has a face
    frame_ms: list[float] = field(default_factory=list)  # for each frame, milliseconds from the utterance's start
    last_box: Box | None = None  # box of the last chosen face, see `face_choice.Scene.previous`
    crowded: int = 0  # number of frames with several faces

    def add(self, image: np.ndarray, box: Box | None, face_count: int, milliseconds: float) -> None:
        """Adds a frame with its chosen face (None for none), at `milliseconds` from the utterance's start."""
        self.faces.append(crop_face(image, box) if box else crop_centre(image))
        self.face_found.append(box is not None)
        self.frame_ms.append(milliseconds)
        # If all faces were left out, the next frame chooses afresh: the picture may have been cut to a wider view.
        self.last_box = box or (None if face_count else self.last_box)
        self.crowded += face_count > 1

    def footage(self, wave: np.ndarray, sample_rate: int) -> Footage:
        """The frames together with the sound `wave`, float32 `[x]` at `sample_rate` Hz."""
        return Footage(
            faces=np.array(self.faces, np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE, 3),
            face_found=np.array(self.face_found, np.bool_),
            frame_ms=np.array(self.frame_ms, np.float32),
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
