"""Loads an exported model, without the code of models.

The program is StableHLO. A program can call functions of the libraries that run it (custom calls), which may do
anything; custom calls that our exports do not use are refused. JAX's reader of programs is native code that trusts its
input: digests keep damaged programs from it, but a malicious one can end the process or do worse. Run exported models
of people you trust only.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import export
from safetensors.numpy import load

from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.export.manifest import Manifest, check_batch
from mme2e_jax.runtime.json_schema import parse_json

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder

# Checks of sizes, and sums along an axis of symbolic size; both disappear when the sizes are known.
_CUSTOM_CALLS = {"shape_assertion", "stablehlo.dynamic_reduce_window"}
_CUSTOM_CALL = re.compile(r"custom_call\b(?: @([\w.$-]+)\()?")


class ExportedModel:
    """An exported program with its weights, its `manifest`, the members of the file, `files`, and their `digest`."""

    def __init__(self, path: str | Path):
        """Reads a file; raises `UserError` if it is missing, damaged, no exported model, or for another platform."""
        self.path = Path(path)
        content, self.files = archive.read_archive(self.path)
        # The manifest holds those of the other members.
        self.digest = hashlib.sha256(content).hexdigest()
        try:
            self.manifest = parse_json(Manifest, content)
        except ValueError as error:
            raise archive.damaged(self.path, error) from error
        with self._damage(archive.WEIGHTS):
            weights = load(self.files[archive.WEIGHTS])
        floats = {name: x for name, x in weights.items() if x.dtype.kind in "fV"}
        # NumPy itself knows no bfloat16.
        if wrong := [name for name, x in floats.items() if not np.isfinite(x.astype(np.float32)).all()]:
            raise archive.damaged(self.path, f"{archive.WEIGHTS}: NaN or infinite values in {', '.join(wrong[:3])}")
        with self._damage(archive.PROGRAM):
            program = export.deserialize(bytearray(self.files[archive.PROGRAM]))
        self._program = self._checked(program, weights)
        self._weights_on_device = jax.device_put(weights)
        self._call = jax.jit(self._program.call)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Runs the program on a batch of numpy arrays, see `manifest.inputs` and `manifest.outputs`.

        Raises ValueError if arrays are missing, or their shapes or dtypes differ from the manifest.
        """
        check_batch(self.manifest, batch)
        return jax.device_get(self._call(self._weights_on_device, dict(batch)))

    def load_encoder(self) -> "TextEncoder":
        """Loads the tokenizer; raises `UserError` if it is damaged."""
        from mme2e_jax.runs.tokenizer import load_encoder

        assert self.manifest.tokenizer is not None
        with tempfile.TemporaryDirectory(prefix="mme2e-tokenizer-") as scratch:
            for name, content in self.files.items():
                if name.startswith(archive.TOKENIZER):
                    (Path(scratch) / name.removeprefix(archive.TOKENIZER)).write_bytes(content)
            try:
                return load_encoder(Path(scratch), self.manifest.tokenizer["vocab_size"])
            except UserError as error:
                raise archive.damaged(self.path, str(error).replace(scratch, archive.TOKENIZER)) from error

    @contextmanager
    def _damage(self, part: str) -> Iterator[None]:
        """Turns errors of reading a part of the file, for which libraries raise many types, into `UserError`."""
        try:
            yield
        except Exception as error:
            raise archive.damaged(self.path, f"{part}: {error or type(error).__name__}") from error

    def _checked(self, program: export.Exported, weights: Mapping[str, np.ndarray]) -> export.Exported:
        """Returns the program after checks that it matches the manifest and calls no other libraries."""
        oldest = export.minimum_supported_calling_convention_version
        latest = export.maximum_supported_calling_convention_version
        if not oldest <= program.calling_convention_version <= latest:
            raise UserError(
                f"{self.path} was exported with JAX {self.manifest.jax_version}, calling convention "
                f"{program.calling_convention_version}; this JAX ({jax.__version__}) runs {oldest} to {latest}. Export "
                "the run again, or use a JAX version closer to that one."
            )
        # The platforms "cuda" and "rocm" are both the backend "gpu".
        if jax.default_backend() not in {"gpu" if p in ("cuda", "rocm") else p for p in program.platforms}:
            raise UserError(
                f"{self.path} runs on {', '.join(program.platforms)}; JAX found {jax.default_backend()} here. Set "
                "JAX_PLATFORMS=cpu."
            )
        problems = [*self._wrong_arrays(program, weights)]
        if program.nr_devices != 1 or program.ordered_effects or program.unordered_effects:
            problems.append(f"it needs {program.nr_devices} devices, or has side effects")
        versions = f"exported with JAX {self.manifest.jax_version}, read with {jax.__version__}"
        with self._damage(f"{archive.PROGRAM} ({versions})"):
            text = program.mlir_module()
        foreign = {match[1] for match in _CUSTOM_CALL.finditer(text)} - _CUSTOM_CALLS
        if foreign:
            problems.append(f"it calls functions of libraries: {', '.join(sorted(map(str, foreign)))}")
        if problems:
            raise archive.damaged(self.path, f"{archive.PROGRAM}: {'; '.join(problems)}")
        return program

    def _wrong_arrays(self, program: export.Exported, weights: Mapping[str, np.ndarray]) -> Iterator[str]:
        batch = {name: [*array["shape"], array["dtype"]] for name, array in self.manifest.inputs.items()}
        arrays = {name: [*map(int, x.shape), x.dtype.name] for name, x in weights.items()}
        inputs = ((dict.fromkeys(arrays, 0), dict.fromkeys(batch, 0)), {})
        outputs = {"logits": 0, "contributions": dict.fromkeys(self.manifest.modalities, 0)}
        if (program.in_tree, program.out_tree) != (jax.tree.structure(inputs), jax.tree.structure(outputs)):
            yield f"it takes {program.in_tree} and returns {program.out_tree}"
            return
        # JAX flattens dictionaries in the order of their keys.
        expected = [arrays[name] for name in sorted(arrays)] + [batch[name] for name in sorted(batch)]
        expected += [["b", len(self.manifest.label_names), "float32"]] * len(program.out_avals)
        for aval, array in zip([*program.in_avals, *program.out_avals], expected, strict=True):
            found = [*(s if isinstance(s, int) else str(s) for s in aval.shape), aval.dtype.name]
            if found != array:
                yield f"expected an array {array}, found {found}"
