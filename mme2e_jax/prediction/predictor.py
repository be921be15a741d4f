"""Emotions of any clip, without labels or prepared data.

from mme2e_jax import Predictor

with Predictor.from_workdir("runs/mini_sparse") as predictor:
    prediction = predictor("clip.mp4", "What is said in it.")
    for utterance in prediction.utterances:
        print(utterance.start, utterance.end, utterance.scores, utterance.decided)
    prediction.write("predictions/clip")
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mme2e_jax import metrics, objective
from mme2e_jax.config import records_kind
from mme2e_jax.conventions import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.errors import UserError
from mme2e_jax.metrics import Task
from mme2e_jax.models.fusion import in_order
from mme2e_jax.models.mme2e import MODALITIES, ModelSpec
from mme2e_jax.prediction.clip import ClipReader, Stretch, open_clip
from mme2e_jax.prediction.cues import WINDOW_SECONDS, Cue, read_cues, shortened, windows
from mme2e_jax.prediction.one import (
    Capacity,
    Words,
    contributions,
    cut_words,
    make_batch,
    say,
    shares,
)
from mme2e_jax.prediction.prediction import Evidence, Prediction, Utterance
from mme2e_jax.prediction.run_tokenizer import find_tokenizer
from mme2e_jax.run import Run, load_run
from mme2e_jax.state import fusion_weights

if TYPE_CHECKING:
    from data_tools.tokens import TextEncoder

# Utterances whose faces, sound and kept sites are kept, and shown on the page.
SHOWN = 12
_UNDECIDED = 0.5
# Of how data were prepared, what readers of media can be told; the rest is the same in all versions.
_READER_SETTINGS = ("frame_interval_ms", "face_choice")
_USUAL_INTERVAL_MS = 500


class Predictor:
    """A trained model that reads clips. Close it in the end, or use it as a context: it has a process that reads."""

    def __init__(self, run: Run, workdir: Path, tokenizer: str | Path | None = None, reader: ClipReader | None = None):
        """Gets ready.

        Args:
          run: its best checkpoint.
          workdir: its directory.
          tokenizer: directory of the tokenizer of the run's data; None for the one that training kept, or that lies
            with the data.
          reader: of clips, where one is there already.

        Raises:
          UserError: if the tokenizer is missing or another one, or the model reads hand-crafted features.
        """
        if records_kind(run.config) != "media" or not isinstance(run.spec, ModelSpec):
            raise UserError(
                f"{workdir} holds {run.config.model.name}, which reads hand-crafted features; prediction on clips is "
                "for the end-to-end models, mme2e and mme2e_sparse. Prepare the clips with data_tools.prepare "
                "--dataset=clips --kind=features and evaluate on them."
            )
        self._run, self._spec, self.workdir = run, run.spec, workdir
        self._tokenizer = find_tokenizer(run, workdir, tokenizer)
        self._reader = reader or ClipReader()
        preprocessing = run.record.preprocessing
        self._settings = {name: preprocessing[name] for name in _READER_SETTINGS if name in preprocessing}
        self._window = Capacity.of_window(preprocessing.get("frame_interval_ms", _USUAL_INTERVAL_MS))
        self._weights = fusion_weights(run.spec, run.model.parameters.variables)

    @classmethod
    def from_workdir(
        cls, workdir: str | Path, tokenizer: str | Path | None = None, reader: ClipReader | None = None
    ) -> "Predictor":
        """The best checkpoint of a training run; see `__init__` for the arguments.

        Raises:
          UserError: if there is none.
        """
        reader = reader or ClipReader()
        try:
            return cls(load_run(workdir, devices=1), Path(workdir), tokenizer, reader)
        except BaseException:
            reader.close()
            raise

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process that reads clips; the next prediction starts another one."""
        self._reader.close()

    def __call__(
        self,
        path: str | Path,
        transcript: str = "",
        *,
        transcript_file: str | Path | None = None,
        progress: Callable[[float, float], None] = lambda done, whole: None,
    ) -> Prediction:
        """Predicts the emotions of a clip.

        Args:
          path: any video or sound file that FFmpeg reads.
          transcript: what is said in it.
          transcript_file: the same with times, see `cues.read_cues`: each cue is an utterance. Without, the clip is
            cut into equal windows of at most 10 s.
          progress: called with the seconds of the clip that are done, and all, part by part.

        Returns:
          one utterance for each cue or window that has any pictures or sound.

        Raises:
          UserError: if the clip or the transcript cannot be used.
        """
        clip, notes = open_clip(path), []
        if transcript_file is None:
            cues = windows(clip.seconds, " ".join(transcript.split()))
            notes += _notes_on_words(cues, "t" in self._run.config.model.modalities)
        elif transcript:
            raise UserError("Expected --transcript or --transcript_file, found both.")
        else:
            read = read_cues(Path(transcript_file), clip.path.stem)
            cues = shortened(read)
            if len(cues) > len(read):
                notes.append(f"Long cues were cut: {len(read)} cues became {len(cues)} utterances with repeated words.")
        if not self._run.record.thresholds and self._task is not Task.SINGLE_LABEL:
            notes.append(f"The run has no thresholds (its weights were imported): {_UNDECIDED} decides.")
        shown = set(np.linspace(0, len(cues) - 1, min(len(cues), SHOWN)).round().astype(int).tolist())
        utterances, left_out = [], []
        with _one_ahead(self._reader.read(clip, cues, self._settings)) as parts:
            # While the first part is read.
            words = self._words(cues)
            self._warm_up()
            for i, stretch in enumerate(stretch for part in parts for stretch in part):
                if not stretch.arrays:
                    left_out.append((stretch.cue, " ".join(stretch.notes)))
                    continue
                utterances.append(self._utterance(stretch, words[i], with_evidence=i in shown))
                progress(min(stretch.cue.end, clip.seconds), clip.seconds)
        if not utterances:
            why = sorted({reason for _, reason in left_out})
            raise UserError(f"There is nothing to predict from in {clip.path} ({clip.tracks} stated): {' '.join(why)}")
        notes += [f"{cue.start:.2f} s to {cue.end:.2f} s was left out. {why}" for cue, why in left_out]
        return Prediction(
            clip=clip.path.name,
            seconds=clip.seconds,
            run=str(self.workdir),
            step=self._run.step,
            model=self._run.config.model.name,
            label_names=tuple(self._run.record.label_names),
            thresholds=self._thresholds if self._task is not Task.SINGLE_LABEL else {},
            task=self._task,
            modalities=in_order(self._spec.modalities, MODALITIES),
            sparse_threshold=self._run.config.model.sparse_threshold if self._spec.sparse else None,
            notes=tuple(notes),
            utterances=tuple(utterances),
        )

    @property
    def _task(self) -> Task:
        return objective.TASKS[self._run.model.loss]

    @property
    def _thresholds(self) -> dict[str, float]:
        stored = self._run.record.thresholds
        return {name: float(stored.get(name, _UNDECIDED)) for name in self._run.record.label_names}

    @functools.cached_property
    def _encoder(self) -> "TextEncoder | None":
        if self._tokenizer is None:
            return None
        # Here, not at the top: importing transformers takes a second.
        from mme2e_jax.prediction.words import load_encoder

        return load_encoder(self._tokenizer, int(self._run.record.tokenizer["vocab_size"]))

    def _warm_up(self) -> None:
        """Compiles the program for a window, or loads it."""
        empty = np.zeros((0, FACE_SIZE, FACE_SIZE, 3), np.uint8), np.zeros((0, MEL_BANDS, CHUNK_FRAMES), np.float32)
        self._say(np.zeros(1, np.int32), *empty)

    def _say(self, ids: np.ndarray, faces: np.ndarray, mel: np.ndarray) -> Any:
        """What the model says: `Said` of numpy arrays."""
        model, tokens = self._run.model, self._run.config.data.text_max_len
        batch = make_batch(ids, faces, mel, tokens, self._window, len(model.label_names))
        with model.mesh.active():
            return jax.device_get(say(model.parameters, model.mesh.put_batch(batch)))

    def _words(self, cues: Sequence[Cue]) -> list[Words]:
        longest = self._run.config.data.text_max_len
        if self._encoder is None:
            return [Words(np.zeros(1, np.int32), 0) for _ in cues]
        encode, sep = self._encoder.encode, int(self._encoder.tokenizer.sep_token_id)
        known: dict[str, Words] = {}
        for cue in cues:
            if cue.text not in known:
                known[cue.text] = cut_words(encode(cue.text), longest, sep)
        return [known[cue.text] for cue in cues]

    def _utterance(self, stretch: Stretch, words: Words, *, with_evidence: bool) -> Utterance:
        arrays, model, names = stretch.arrays, self._run.model, self._run.record.label_names
        said = self._say(words.ids, arrays["faces"], arrays["mel"])
        score = objective.scores(said.logits[None], model.loss)
        decided = metrics.decide(score, names, self._thresholds, self._task)[0]
        added = contributions(said.by_modality, self._weights)
        notes = list(stretch.notes)
        if words.left_out:
            notes.append(f"The words are {words.left_out} tokens longer than the model reads; their end was cut off.")
        return Utterance(
            start=stretch.cue.start,
            end=stretch.cue.end,
            transcript=stretch.cue.text,
            logits=_by_name(names, said.logits),
            scores=_by_name(names, score[0]),
            decided=tuple(name for name, yes in zip(names, decided, strict=True) if yes),
            contributions={m: _by_name(names, values) for m, values in added.items()},
            shares={m: float(np.mean(values)) for m, values in shares(added).items()},
            frames=len(arrays["faces"]),
            faces_found=int(arrays["face_found"].sum()),
            chunks=len(arrays["mel"]),
            tokens=len(words.ids),
            notes=tuple(notes),
            evidence=_evidence(arrays, said.kept) if with_evidence else None,
        )


@contextmanager
def _one_ahead(parts: Iterator[list[Stretch]]) -> Iterator[Iterator[list[Stretch]]]:
    """The same parts, each made while the one before it is in use."""
    with ThreadPoolExecutor(1) as thread:
        # At once, not when the first one is asked for.
        first = thread.submit(next, parts, None)

        def taken() -> Iterator[list[Stretch]]:
            upcoming = first
            while (part := upcoming.result()) is not None:
                upcoming = thread.submit(next, parts, None)
                yield part

        yield taken()


def _evidence(arrays: Any, kept: dict[str, list[np.ndarray]]) -> Evidence:
    count = {"v": len(arrays["faces"]), "a": len(arrays["mel"])}
    return Evidence(
        faces=arrays["faces"],
        face_found=arrays["face_found"],
        frame_ms=arrays["frame_ms"],
        mel=arrays["mel"],
        kept={m: [stage[: count[m]] for stage in stages] for m, stages in kept.items()},
    )


def _by_name(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _notes_on_words(cues: Sequence[Cue], read: bool) -> list[str]:
    if not read:
        return ["The model does not read words."]
    if not cues[0].text:
        return ["No transcript was given: the model's text input is empty."]
    if len(cues) > 1:
        return [
            f"The clip is longer than {WINDOW_SECONDS:g} s and its transcript has no times: every window was given all "
            "the words. A transcript with times (--transcript_file) gives each its own."
        ]
    return []
