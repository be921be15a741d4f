"""Initial values of all parameters, by rules over parameter paths.

Values are drawn with numpy, seeded by the run's seed and the parameter's path, so that they depend neither on the order
of modules nor on the backend. The default rule is torch's initialisation, which the paper's code uses.
"""

import re
import zlib
from collections.abc import Callable, Mapping

import numpy as np

Shape = tuple[int, ...]
# From a random generator, a parameter's path and the shapes of all parameters to the values.
Initializer = Callable[[np.random.Generator, str, Mapping[str, Shape]], np.ndarray]


def _constant(value: float) -> Initializer:
    return lambda rng, path, shapes: np.full(shapes[path], value)


def _normal(std: float) -> Initializer:
    return lambda rng, path, shapes: std * rng.standard_normal(shapes[path])


def _he(rng: np.random.Generator, path: str, shapes: Mapping[str, Shape]) -> np.ndarray:
    shape = shapes[path]
    return np.sqrt(2 / np.prod(shape[:-1])) * rng.standard_normal(shape)


def _glorot(rng: np.random.Generator, path: str, shapes: Mapping[str, Shape]) -> np.ndarray:
    # Fans of the joint matrix of query, key and value, as in torch.
    bound = np.sqrt(6 / sum(shapes[path]))
    return rng.uniform(-bound, bound, shapes[path])


def _torch(rng: np.random.Generator, path: str, shapes: Mapping[str, Shape]) -> np.ndarray:
    """Uniform in +-1/sqrt(fan in), as in torch's Linear and Conv2d, biases included."""
    kernel = shapes[path.rpartition("/")[0] + "/kernel"]
    bound = np.prod(kernel[:-1]) ** -0.5
    return rng.uniform(-bound, bound, shapes[path])


def _recurrent(rng: np.random.Generator, path: str, shapes: Mapping[str, Shape]) -> np.ndarray:
    """Uniform in +-1/sqrt(hidden size), as in torch's LSTM and GRU."""
    hidden = shapes[path.rsplit("/", 2)[0] + "/hidden/kernel"][0]
    return rng.uniform(-(hidden**-0.5), hidden**-0.5, shapes[path])


# The first match counts. An example of a path: "towers/v/low_level/conv/kernel".
RULES: tuple[tuple[str, Initializer], ...] = (
    (r".*(norm|norm1|norm2)/(scale|var)", _constant(1.0)),
    (r".*(norm|norm1|norm2)/(bias|mean)", _constant(0.0)),
    (r"text/(word|position|token_type)|text/.*/kernel", _normal(0.02)),
    (r"text/.*/bias", _constant(0.0)),
    (r"sequences/./cls", _normal(1.0)),
    (r"sequences/.*/(forward|backward)/(input|hidden)/(kernel|bias)", _recurrent),
    (r"sequences/.*/qkv/kernel", _glorot),
    (r"sequences/.*/(qkv|attention_out)/bias", _constant(0.0)),
    (r"towers/./blocks/\d/kernel[12]", _he),
    (r".*/(kernel|bias)", _torch),
)


def initial_values(shapes: Mapping[str, Shape], seed: int) -> dict[str, np.ndarray]:
    """Initial parameters and statistics, float32 arrays by path; raises ValueError if no rule covers a path."""
    uncovered = [path for path in shapes if path != "fusion" and not any(re.fullmatch(p, path) for p, _ in RULES)]
    if uncovered:
        raise ValueError(f"No initialisation rule covers these parameters: {', '.join(uncovered)}.")

    def value(path: str, shape: Shape) -> np.ndarray:
        if path == "fusion":
            # Equal weights; the paper's code draws them at random, sometimes with a wrong sign.
            return np.full(shape, 1 / shape[0])
        rule = next(rule for pattern, rule in RULES if re.fullmatch(pattern, path))
        rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
        return rule(rng, path, shapes)

    return {path: value(path, shape).astype(np.float32) for path, shape in shapes.items()}
