"""Detects faces with the `mtcnn` package (1.0.0), which runs on TensorFlow.

Two defects of that version are handled here:

- with `min_face_size` above 20 its smallest scale can fall below the first network's window;
- it reads every `InvalidArgumentError` of TensorFlow as "no face in any image", so that one defective image
  silently empties its whole batch.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mme2e_jax.media.face_choice import Face

MIN_FACE_SIZE = 20
BATCH_SIZE = 8


def limit_tensorflow() -> None:
    """Limits TensorFlow, before its use, to one thread, the CPU and reproducible kernels, or raises RuntimeError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


class FaceDetector:
    """MTCNN with the package's weights; loading takes seconds, so reuse the object."""

    def __init__(self) -> None:
        # Importing TensorFlow takes seconds.
        import tensorflow as tf
        from mtcnn import MTCNN
        from mtcnn.stages import StageONet, StagePNet, StageRNet

        stages: Any = [StagePNet(), StageRNet(), StageONet()]
        for stage in stages:
            # A graph takes 2/3 of the time of eager execution.
            stage._model = tf.function(stage.model, reduce_retracing=True)
        self._mtcnn = MTCNN(stages=stages)

    def find(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each image, with boxes in pixels. Images are uint8 RGB of one size; a dozen at once is fast."""
        if not images:
            return []
        faces = self._find(images)
        if len(images) > 1 and not any(faces):
            # Either no image has a face, or one image made the whole batch fail.
            faces = [self._find([image])[0] for image in images]
        return faces

    def _find(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        faces: list[list[Face]] = [[] for _ in images]
        # float32: with uint8 the package computes in float64, which takes twice the time.
        batch = [image.astype(np.float32) for image in images]
        found = self._mtcnn.detect_faces(batch, min_face_size=MIN_FACE_SIZE, output_type="numpy", box_format="xyxy")
        for index, left, top, right, bottom, probability in np.asarray(found)[:, :6].tolist():
            if right > left and bottom > top:
                faces[int(index)].append(Face((left, top, right, bottom), probability))
        return faces
