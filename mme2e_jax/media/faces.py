"""Finds the faces in pictures, with the `mtcnn` package (1.0.0).

That package runs on TensorFlow. What its version 1.0.0 needs to be guarded against:

- with `min_face_size` above 20 its smallest scale can fall below the first network's window;
- it takes TensorFlow's `InvalidArgumentError`, from whatever cause, for "no face in any picture",
  so one odd picture empties its whole batch, without a word.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mme2e_jax.media.face_choice import Face

MIN_FACE_SIZE = 20
BATCH_SIZE = 8


def limit_tensorflow() -> None:
    """Keeps TensorFlow to one thread, the CPU and reproducible kernels. Call before any use of it.

    Raises:
      RuntimeError: TensorFlow has already started with other settings.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


class FaceDetector:
    """MTCNN with its weights from the package; loading takes seconds, so keep one."""

    def __init__(self) -> None:
        # Here, not at the top: importing TensorFlow takes seconds.
        import tensorflow as tf
        from mtcnn import MTCNN
        from mtcnn.stages import StageONet, StagePNet, StageRNet

        stages: Any = [StagePNet(), StageRNet(), StageONet()]
        for stage in stages:
            # As a graph a network takes 2/3 of the time it takes layer by layer.
            stage._model = tf.function(stage.model, reduce_retracing=True)
        self._mtcnn = MTCNN(stages=stages)

    def find(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        """Finds the faces of each picture.

        Args:
          pictures: uint8 RGB, all of one size. They go through the networks together; a dozen at a
            time is fast.

        Returns:
          for each picture its faces, in the order in which the detector lists them, boxes in its pixels.
        """
        if not pictures:
            return []
        faces = self._find(pictures)
        if len(pictures) > 1 and not any(faces):
            # Perhaps none has a face, perhaps one made the whole batch fail.
            faces = [self._find([picture])[0] for picture in pictures]
        return faces

    def _find(self, pictures: Sequence[np.ndarray]) -> list[list[Face]]:
        faces: list[list[Face]] = [[] for _ in pictures]
        # float32: from uint8 the package would compute in float64, at twice the time.
        batch = [picture.astype(np.float32) for picture in pictures]
        found = self._mtcnn.detect_faces(batch, min_face_size=MIN_FACE_SIZE, output_type="numpy", box_format="xyxy")
        for index, left, top, right, bottom, probability in np.asarray(found)[:, :6].tolist():
            if right > left and bottom > top:
                faces[int(index)].append(Face((left, top, right, bottom), probability))
        return faces
