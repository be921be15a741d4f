"""Recognises the speech of clips with a Whisper model."""

import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mme2e_jax.errors import UserError
from mme2e_jax.predict.cues import Cue
from mme2e_jax.runtime.files import valid_unicode

_FILES = ("model.bin", "config.json", "tokenizer.json")
_EXAMPLE = "hf download Systran/faster-whisper-base --local-dir=MODEL_DIR"
_BEAM_SIZE = 5
# Sound that is in memory at once. Its last cue may be cut off: the next block starts with that cue.
_BLOCK_SECONDS = 120.0
_EDGE_SECONDS = 1.0


class Speech(NamedTuple):
    """The recognised speech of a clip."""

    cues: list[Cue]  # cues with words, in the order of time, inside the clip; empty if there is no speech
    note: str  # sentence that names the model


class Transcriber:
    """A loaded Whisper model in the format of CTranslate2; it runs on the CPU, without a network."""

    def __init__(self, directory: str | Path, language: str | None = None):
        """Loads a model from its directory, see `check_model`.

        `language` is a code such as "en"; None to detect the language of each clip. Raises `UserError` if the package
        faster-whisper is not installed, the model cannot be loaded, or it does not know the language.
        """
        check_model(directory)
        # ONNX Runtime, which finds the voice, reads it when it is imported; it would report its use to Microsoft.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from faster_whisper import WhisperModel

        try:
            # Not on a GPU, where the library needs CUDA and cuDNN of its own; JAX has taken the memory, too.
            self._model = WhisperModel(str(directory), device="cpu", local_files_only=True)
        except Exception as error:
            # The libraries raise exceptions of many types for damaged files.
            raise UserError(
                f"Expected a Whisper model in {directory}, found files that cannot be loaded: {error}. Download it "
                f"again: {_EXAMPLE}."
            ) from error
        if language and language not in (known := self._model.supported_languages):
            raise UserError(
                f"Expected a language of the model {directory}, one of {', '.join(known)}; found {language!r}."
            )
        self._language = language
        self._name = valid_unicode(Path(directory).resolve().name)
        weights = Path(directory, _FILES[0]).stat()
        # Plain values that differ after a change of the model or the language.
        self.identity = [self._name, weights.st_size, weights.st_mtime_ns, language]

    def warm_up(self) -> None:
        """Runs the voice detection and the model once, so that the first clip does not wait for their start."""
        noise = np.random.default_rng(0).normal(scale=0.1, size=16_000).astype(np.float32)
        self._segments(noise, self._language, lambda: False)
        # Voice detection leaves noise out, so that the model itself has not run.
        segments, _ = self._model.transcribe(noise, language=self._language, temperature=0.0, max_new_tokens=1)
        list(segments)

    def recognize(
        self,
        read: Callable[[float, float], np.ndarray],
        seconds: float,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Speech:
        """Recognises the speech of a clip of `seconds`; the same sound gives the same cues.

        `read` returns the sound between two times in seconds, float32 `[x]` at 16 kHz; empty if there is none. Raises
        `InterruptedError` once `stopped` returns true.
        """
        cues: list[Cue] = []
        start, language = 0.0, self._language
        while start < seconds:
            end = min(start + _BLOCK_SECONDS, seconds)
            segments, found_language = self._segments(read(start, end), language, stopped)
            found = make_cues(segments, start, end)
            if found:
                language = found_language
            if end < seconds and found and _is_cut(found[-1], start, end):
                end = found.pop().start
            cues += found
            start = end
        if not cues:
            return Speech([], f"The speech recognition model {self._name} found no words.")
        return Speech(
            cues,
            f"The transcript was recognised by the model {self._name} (language: {language}); words can be wrong.",
        )

    def _segments(self, wave: np.ndarray, language: str | None, stopped: Callable[[], bool]) -> tuple[list[Any], str]:
        if not wave.any():
            return [], ""
        # Without chance: no temperature above 0 is tried, and no text carries its mistakes to the next window.
        # Windows without a voice are left out, as Whisper invents words for noise.
        segments, found = self._model.transcribe(
            wave / max(float(np.abs(wave).max()), 1.0),
            language=language,
            beam_size=_BEAM_SIZE,
            temperature=0.0,
            condition_on_previous_text=False,
            vad_filter=True,
        )
        heard = []
        # Segments come while the model runs, window by window.
        for segment in segments if found.duration_after_vad else ():
            if stopped():
                raise InterruptedError
            heard.append(segment)
        return heard, found.language


def check_flags(directory: str | None, language: str | None) -> None:
    """Raises `UserError` as `check_model` if a model is given, and if a language is given without a model."""
    if directory is not None:
        check_model(directory)
    elif language is not None:
        raise UserError(f"Expected --transcribe=MODEL_DIR with --language={language}, found none.")


def check_model(directory: str | Path) -> None:
    """Raises `UserError` unless a directory has the files of a model and the package that runs it is installed."""
    path = Path(directory)
    missing = [name for name in _FILES if not (path / name).is_file()]
    if not any((path / name).is_file() for name in ("vocabulary.json", "vocabulary.txt")):
        missing.append("vocabulary.json")
    if missing:
        found = "no such directory" if not path.is_dir() else f"a directory without {', '.join(missing)}"
        raise UserError(
            f"Expected --transcribe=MODEL_DIR, the directory of a Whisper model in the format of CTranslate2, found "
            f"{found}: {directory}. Download one: {_EXAMPLE}."
        )
    if importlib.util.find_spec("faster_whisper") is None:
        raise UserError(
            "--transcribe needs faster-whisper, which is missing: pip install -r requirements-transcribe.txt."
        )


def make_cues(segments: Iterable[Any], start: float, end: float) -> list[Cue]:
    """Cues of recognised segments of the sound between two times in seconds, in the order of time.

    A segment has `start` and `end` in seconds of this sound, and `text`. Times beyond the sound are cut off; segments
    without words or time are left out.
    """
    cues = [
        Cue(
            start + max(segment.start, 0.0),
            min(start + segment.end, end),
            " ".join(valid_unicode(segment.text).split()),
        )
        for segment in segments
    ]
    return sorted((cue for cue in cues if cue.text and cue.start < cue.end), key=lambda cue: (cue.start, cue.end))


def _is_cut(cue: Cue, start: float, end: float) -> bool:
    """Whether a cue may go on after the end of its block, and starts late enough for the next block to start there."""
    return cue.end > end - _EDGE_SECONDS and cue.start >= (start + end) / 2
