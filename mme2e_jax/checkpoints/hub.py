"""Reads shared models, directories in the layout of the Hugging Face hub.

A directory holds JSON files, tensors as safetensors, and a tokenizer, so nothing in it is run. `HubModel` has the
methods of `Checkpoints` that need no training state: what loads a run loads such a directory too.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic import FiniteFloat, NonNegativeInt
from safetensors import SafetensorError
from safetensors.numpy import load

from mme2e_jax.checkpoints.metadata import MeanAuc, Names, Preprocessing, Tokenizer, check_thresholds
from mme2e_jax.checkpoints.reader import DIRECTORY, Checkpoints, RunRecord, open_checkpoints
from mme2e_jax.config.parse import read_stored_config
from mme2e_jax.errors import UserError
from mme2e_jax.models.variables import Variables
from mme2e_jax.runtime.json_schema import JsonObject, parse_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
PREPROCESSOR, THRESHOLDS, TOKENIZER = "preprocessor_config.json", "thresholds.json", "tokenizer"
LIBRARY = "mme2e_jax"
FORMAT_VERSION = 1
# No other file of a model is downloaded.
_READ = (CONFIG, WEIGHTS, PREPROCESSOR, THRESHOLDS, f"{TOKENIZER}/*")
_AGAIN = "Download or export the model again."


class _Header(JsonObject):
    library_name: Any = None
    format_version: Any = None


class HubConfig(JsonObject):
    """The content of `config.json`."""

    library_name: str
    format_version: int
    model_type: str  # name of the architecture, as in `config`, where other programs look for it
    label_names: Names  # labels in the order of the logits
    tokenizer: Tokenizer | None  # what is known of the tokenizer; None if no text was prepared
    step: NonNegativeInt  # step of the checkpoint
    fingerprint: str  # fingerprint of the training data
    weights_sha256: str  # digest of `model.safetensors`
    config: dict[str, Any]  # config of the run
    test_auc: MeanAuc | None = None  # None if the run had no report, and in files of earlier versions


class HubModel:
    """Reads one model directory as `Checkpoints` reads a run; it holds a single step, `step`."""

    def __init__(self, directory: Path):
        """Reads `config.json`; raises `UserError` if it is missing, invalid, or of another format version."""
        self.directory = directory
        with self._reading(CONFIG) as content:
            header = parse_json(_Header, content)
            if header.library_name != LIBRARY:
                raise ValueError(f"library_name: expected {LIBRARY}, found {str(header.library_name)[:50]}")
        if header.format_version != FORMAT_VERSION:
            raise UserError(
                f"{directory / CONFIG} has format version {str(header.format_version)[:20]}, expected "
                f"{FORMAT_VERSION}. Use the version of mme2e_jax that wrote it."
            )
        with self._reading(CONFIG) as content:
            self._config = parse_json(HubConfig, content)
        self.step, self.test_auc = self._config.step, self._config.test_auc

    def read_record(self, step: int) -> RunRecord:
        """The metadata of the model; raises `UserError` if a file is missing or invalid."""
        stored = self._config
        with self._reading(CONFIG):
            loss = read_stored_config(stored.config).optim.loss
        with self._reading(PREPROCESSOR) as content:
            preprocessing = parse_json(Preprocessing, content)
        with self._reading(THRESHOLDS) as content:
            thresholds = parse_json(dict[str, FiniteFloat], content)
            # `evaluation.tasks` says so too.
            check_thresholds(thresholds, stored.label_names, probabilities=loss in ("bce", "ce"))
        return RunRecord(
            config=stored.config,
            label_names=stored.label_names,
            tokenizer=dict(stored.tokenizer or {}),
            preprocessing=dict(preprocessing),
            thresholds=thresholds,
            history=[],
            fingerprint=stored.fingerprint,
        )

    def restore_arrays(self, step: int) -> dict[str, np.ndarray]:
        """The variables by path; the model need not be known. Raises `UserError` if the file is missing or damaged."""
        with self._reading(WEIGHTS) as content:
            if hashlib.sha256(content).hexdigest() != self._config.weights_sha256:
                raise ValueError(f"its SHA-256 is not weights_sha256 of {CONFIG}")
            return {name.replace(".", "/"): x for name, x in load(content).items()}

    def restore_variables(self, step: int, like: Variables) -> Variables:
        """The variables, sharded as the abstract arrays of `like`.

        Raises `UserError` as `restore_arrays`, and with all names, dtypes, shapes and values that do not fit.
        """
        expected, found = like.arrays(), self.restore_arrays(step)
        a, b = ({path: f"{x.dtype} {x.shape}" for path, x in arrays.items()} for arrays in (expected, found))
        wrong = [path for path in sorted(a.keys() | b.keys()) if a.get(path) != b.get(path)]
        problems = [f"{tensor_name(p)}: expected {a.get(p, 'nothing')}, found {b.get(p, 'nothing')}" for p in wrong]
        nonfinite = () if wrong else (path for path, x in found.items() if not np.isfinite(x).all())
        problems += [f"{tensor_name(p)}: expected finite values, found NaN or infinity" for p in nonfinite]
        if problems:
            raise self._damaged(WEIGHTS, "; ".join(problems))
        return like.with_arrays({path: jax.device_put(x, expected[path].sharding) for path, x in found.items()})

    @contextmanager
    def _reading(self, name: str) -> Iterator[bytes]:
        """Yields the content of a file; names it in errors of reading and of the block."""
        try:
            yield (self.directory / name).read_bytes()
        except FileNotFoundError as error:
            raise UserError(
                f"Expected a model with the file {name} in {self.directory}, found none. {_AGAIN}"
            ) from error
        except (ValueError, UserError, SafetensorError) as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, problem: object) -> UserError:
        return UserError(f"{self.directory / name} is damaged or was edited: {problem}. {_AGAIN}")


def tensor_name(path: str) -> str:
    """The name of a variable in `model.safetensors`, such as "towers.v.low_level.conv.kernel"."""
    return path.replace("/", ".")


def is_export(directory: Path) -> bool:
    """Whether a directory holds a model that this program exported, in any format version."""
    try:
        return parse_json(_Header, (directory / CONFIG).read_bytes()).library_name == LIBRARY
    except (OSError, ValueError):
        return False


def open_model(directory: str | Path) -> tuple[Checkpoints | HubModel, int]:
    """Opens the best checkpoint of a run, or a shared model: its reader and its step.

    Raises `UserError` if the directory holds neither, or is damaged.
    """
    directory = Path(directory)
    if not (directory / DIRECTORY).is_dir() and any((directory / name).is_file() for name in (CONFIG, WEIGHTS)):
        model = HubModel(directory)
        return model, model.step
    return open_checkpoints(directory)


def find_model(model: str | Path) -> Path:
    """A directory as it is, or else the model with this id on the Hugging Face hub, downloaded to the hub's cache.

    Raises `UserError` if there is neither.
    """
    if Path(model).is_dir():
        return Path(model)
    # Slow to import.
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(model), allow_patterns=list(_READ)))
    except Exception as error:  # of the hub's client and of its network library
        reason = (str(error) or type(error).__name__).partition("\n")[0][:300]
        raise UserError(
            f"Expected the directory of a model, or an id on the Hugging Face hub such as user/model; {str(model)!r} "
            f"is no directory, and no such model could be downloaded ({reason}). Check the name, and your network."
        ) from error
