"""Detects faces with the `mtcnn` package (1.0.0), which runs on TensorFlow.

Two defects of that version are handled here:

- with `min_face_size` above 20 it computes other scales, of which the smallest can fall below the first network's
  window: here the scales stay, and those of smaller faces are left out;
- it reads every `InvalidArgumentError` of TensorFlow as "no face in any image", so that one defective image
  silently empties its whole batch.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mme2e_jax.media.face_choice import Face

MIN_FACE_SIZE = 20
MAX_PIXELS = 640 * 360  # larger images are reduced for the search
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
        from mtcnn.stages import StageONet, StagePNet, StageRNet, stage_pnet

        stage_pnet.build_scale_pyramid = _scales
        stages: Any = [StagePNet(), StageRNet(), StageONet()]
        for stage in stages:
            # A graph takes 2/3 of the time of eager execution.
            stage._model = tf.function(stage.model, reduce_retracing=True)
        self._mtcnn = MTCNN(stages=stages)

    def warm_up(self) -> None:
        """Makes the graphs of all networks for any number of images and faces, so that the first search is fast."""
        blank = np.zeros((96, 128, 3), np.uint8)
        # The second shape of an input makes the graph that takes all further ones. Blank images have no face, so that
        # the search ends after the first network.
        self.find([blank])
        self.find([blank, blank])
        for stage, size in zip(self._mtcnn.stages[1:], (24, 48), strict=True):
            for count in (1, 2):
                stage._model(np.zeros((count, size, size, 3), np.float32))

    def find(self, images: Sequence[np.ndarray], smallest: float = 0.0) -> list[list[Face]]:
        """The faces of each image, with boxes in pixels.

        Args:
          images: uint8 RGB of one size; a dozen at once is fast.
          smallest: side in pixels below which faces may be left out; at least 20 in the image that is searched.
        """
        if not images:
            return []
        height, width = images[0].shape[:2]
        scale = math.sqrt(MAX_PIXELS / (width * height))
        if scale >= 1:
            return self._find_all(images, smallest)
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        reduced = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
        x, y = width / size[0], height / size[1]
        return [
            [Face((box[0] * x, box[1] * y, box[2] * x, box[3] * y), probability) for box, probability in faces]
            for faces in self._find_all(reduced, smallest * scale)
        ]

    def _find_all(self, images: Sequence[np.ndarray], smallest: float) -> list[list[Face]]:
        faces = self._find(images, smallest)
        if len(images) > 1 and not any(faces):
            # Either no image has a face, or one image made the whole batch fail.
            faces = [self._find([image], smallest)[0] for image in images]
        return faces

    def _find(self, images: Sequence[np.ndarray], smallest: float) -> list[list[Face]]:
        faces: list[list[Face]] = [[] for _ in images]
        # float32: with uint8 the package computes in float64, which takes twice the time.
        batch = [image.astype(np.float32) for image in images]
        size = max(smallest, MIN_FACE_SIZE)
        found = self._mtcnn.detect_faces(batch, min_face_size=size, output_type="numpy", box_format="xyxy")
        for index, left, top, right, bottom, probability in np.asarray(found)[:, :6].tolist():
            if right > left and bottom > top:
                faces[int(index)].append(Face((left, top, right, bottom), probability))
        return faces


def _scales(width: int, height: int, min_face_size: float, scale_factor: float, min_size: int = 12) -> np.ndarray:
    """The package's scales for faces of 20 pixels and more, without those that find faces below `min_face_size`.

    At a scale s the first network's window of 12 pixels shows a face of 12 / s.
    """
    from mtcnn.utils.images import build_scale_pyramid

    scales = build_scale_pyramid(width, height, MIN_FACE_SIZE, scale_factor, min_size)
    kept = scales[min_size / scales >= min_face_size - 1e-6]
    return kept if len(kept) else scales[-1:]
