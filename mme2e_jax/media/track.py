"""The frames of one utterance while they are gathered from its video."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from mme2e_jax.constants import FACE_SIZE
from mme2e_jax.media.arrays import Footage
from mme2e_jax.media.framing import Box, crop_centre, crop_face
from mme2e_jax.media.utterance import Finding


@dataclass
class Track:
    """Frames in the order of time, with what was found in them.

    Attributes:
      faces: uint8 `[48, 48, 3]` of each frame: the face that was taken, or the middle of the frame.
      face_found: of each frame, whether there was one.
      frame_ms: of each frame, milliseconds since the utterance's start.
      last_box: of the last face taken; None before the first.
      crowded: frames with more than one face.
    """

    faces: list[np.ndarray] = field(default_factory=list)
    face_found: list[bool] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)
    last_box: Box | None = None
    crowded: int = 0

    def add(self, picture: np.ndarray, box: Box | None, found: int, milliseconds: float) -> None:
        """Adds a frame.

        Args:
          picture: uint8 RGB.
          box: of the face to take; None for no face.
          found: how many faces there are.
          milliseconds: since the utterance's start.
        """
        self.faces.append(crop_face(picture, box) if box else crop_centre(picture))
        self.face_found.append(box is not None)
        self.frame_ms.append(milliseconds)
        self.last_box = box or self.last_box
        self.crowded += found > 1

    def footage(self, wave: np.ndarray, sample_rate: int) -> Footage:
        """The frames, with the utterance's sound.

        Args:
          wave: float32 `[x]` samples.
          sample_rate: of `wave`, in Hz.
        """
        return Footage(
            faces=np.array(self.faces, np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE, 3),
            face_found=np.array(self.face_found, np.bool_),
            frame_ms=np.array(self.frame_ms, np.float32),
            wave=wave,
            sample_rate=sample_rate,
        )

    def findings(self, name: str, asked: int, failure: str) -> Iterator[Finding]:
        """What is missing, or worth knowing.

        Args:
          name: identifier of the utterance.
          asked: frames that were asked for.
          failure: why there are fewer.
        """
        frames, faces = len(self.faces), sum(self.face_found)
        if not asked:
            yield Finding(name, "no_frames")
        elif frames < asked:
            yield Finding(name, "broken_video", f"{frames} of {asked} frames: {failure}")
        if frames and not faces:
            yield Finding(name, "no_face", f"{frames} frames")
        elif faces < frames:
            yield Finding(name, "some_faces_missing", f"{frames - faces} of {frames} frames")
        if self.crowded:
            yield Finding(name, "several_faces", f"{self.crowded} of {frames} frames")
