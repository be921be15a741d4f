"""Loads an exported file as a model for prediction, without model code.

The program is StableHLO. Programs can ask for functions of the libraries that run them (custom calls), which may do
anything; one that asks for others than those that our exports have is refused. JAX's reader of programs is native code
that takes them on trust: digests keep damaged ones from it, but one that was made to harm can end the process, and
worse. There is no way to run a program that is safe from whoever made it.
"""

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax import export
from safetensors import SafetensorError
from safetensors.numpy import load

from mme2e_jax.errors import UserError
from mme2e_jax.export import archive
from mme2e_jax.export.manifest import Manifest, check_batch
from mme2e_jax.runtime.json_schema import parse_json

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder

# Checks of sizes, and sums along an axis of symbolic size: both are gone once sizes are known.
_CUSTOM_CALLS = {"shape_assertion", "stablehlo.dynamic_reduce_window"}
_CUSTOM_CALL = re.compile(r"custom_call\b(?: @([\w.$-]+)\()?")


class ExportedModel:
    """The program with its weights, and what the file says of it: `manifest`, and the members as `files`."""

    def __init__(self, path: str | Path):
        """Reads the file.

        Args:
          path: of the file.

        Raises:
          UserError: naming the file, if it is missing, damaged, no exported model, or one of another version, or not
            for this machine's platform.
        """
        self.path = Path(path)
        content, self.files = archive.read_archive(self.path)
        try:
            self.manifest = parse_json(Manifest, content)
        except ValueError as error:
            raise archive.damaged(self.path, error) from error
        weights = self._weights()
        self._program = self._checked(self._deserialized(), weights)
        self._weights_on_device = jax.device_put(weights)
        self._call = jax.jit(self._program.call)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """What the program says of a batch, see `manifest.inputs` and `manifest.outputs`; numpy arrays.

        Raises:
          ValueError: if arrays are missing, or of other shapes or dtypes than the manifest has it.
        """
        check_batch(self.manifest, batch)
        return jax.device_get(self._call(self._weights_on_device, dict(batch)))

    def load_encoder(self) -> "TextEncoder":
        """The tokenizer.

        Raises:
          UserError: if it is damaged.
        """
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

    def _weights(self) -> dict[str, np.ndarray]:
        try:
            return load(self.files[archive.WEIGHTS])
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise archive.damaged(self.path, f"{archive.WEIGHTS}: {error}") from error

    def _deserialized(self) -> export.Exported:
        try:
            return export.deserialize(bytearray(self.files[archive.PROGRAM]))
        except Exception as error:  # the library raises many types on a damaged program
            raise archive.damaged(self.path, f"{archive.PROGRAM}: {error or type(error).__name__}") from error

    def _checked(self, program: export.Exported, weights: Mapping[str, np.ndarray]) -> export.Exported:
        """The program, once it is clear that it is what the manifest says and asks for nothing else."""
        supported = (
            export.minimum_supported_calling_convention_version,
            export.maximum_supported_calling_convention_version,
        )
        if not supported[0] <= program.calling_convention_version <= supported[1]:
            raise UserError(
                f"{self.path} was exported with JAX {self.manifest.jax_version}, calling convention "
                f"{program.calling_convention_version}; this JAX ({jax.__version__}) runs {supported[0]} to "
                f"{supported[1]}. Export the run again, or use a JAX of nearer version."
            )
        if jax.default_backend() not in _backends(program.platforms):
            raise UserError(
                f"{self.path} runs on {', '.join(program.platforms)}; JAX found {jax.default_backend()} here. Set "
                "JAX_PLATFORMS=cpu."
            )
        problems = [*self._wrong_arrays(program, weights)]
        if program.nr_devices != 1 or program.ordered_effects or program.unordered_effects:
            problems.append(f"it is for {program.nr_devices} devices, or does more than to compute")
        foreign = {match[1] for match in _CUSTOM_CALL.finditer(self._text(program))} - _CUSTOM_CALLS
        if foreign:
            problems.append(f"it asks for functions of libraries: {', '.join(sorted(map(str, foreign)))}")
        if problems:
            raise archive.damaged(self.path, f"{archive.PROGRAM}: {'; '.join(problems)}")
        return program

    def _wrong_arrays(self, program: export.Exported, weights: Mapping[str, np.ndarray]) -> Iterator[str]:
        batch = {name: [*array["shape"], array["dtype"]] for name, array in self.manifest.inputs.items()}
        arrays = {name: [*map(int, x.shape), x.dtype.name] for name, x in weights.items()}
        inputs = ((dict.fromkeys(arrays, 0), dict.fromkeys(batch, 0)), {})
        outputs = {"logits": 0, "contributions": dict.fromkeys(self.manifest.modalities, 0)}
        if (program.in_tree, program.out_tree) != (jax.tree.structure(inputs), jax.tree.structure(outputs)):
            yield f"it takes {program.in_tree} and gives {program.out_tree}"
            return
        # In the order in which JAX flattens dictionaries.
        wanted = [arrays[name] for name in sorted(arrays)] + [batch[name] for name in sorted(batch)]
        wanted += [["b", len(self.manifest.label_names), "float32"]] * len(program.out_avals)
        for aval, one in zip([*program.in_avals, *program.out_avals], wanted, strict=True):
            found = [*(s if isinstance(s, int) else str(s) for s in aval.shape), aval.dtype.name]
            if found != one:
                yield f"expected an array {one}, found {found}"

    def _text(self, program: export.Exported) -> str:
        try:
            return program.mlir_module()
        except Exception as error:  # as for what is around it; or for a program of a version to come
            versions = f"exported with JAX {self.manifest.jax_version}, read with {jax.__version__}"
            raise archive.damaged(self.path, f"{archive.PROGRAM} ({versions}): {error}") from error


def _backends(platforms: tuple[str, ...]) -> set[str]:
    # What JAX calls "cuda" and "rocm" as platforms is "gpu" as a backend.
    return {"gpu" if name in ("cuda", "rocm") else name for name in platforms}
