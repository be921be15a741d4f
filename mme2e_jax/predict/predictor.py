"""Emotions of any clip, without labels or prepared data.

from mme2e_jax import Predictor

with Predictor.from_workdir("runs/mini_sparse") as predictor:
    prediction = predictor("clip.mp4", "What is said in it.")
    for utterance in prediction.utterances:
        print(utterance.start, utterance.end, utterance.scores, utterance.decided)
    prediction.write("predictions/clip")
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mme2e_jax.constants import CHUNK_FRAMES, FACE_SIZE, MEL_BANDS
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.contributions import shares
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import Evidence
from mme2e_jax.predict.batching import Capacity, Words, cut_words, make_batch
from mme2e_jax.predict.clip_reader import ClipReader, Stretch, open_clip
from mme2e_jax.predict.cues import WINDOW_SECONDS, Cue, read_cues, shortened, windows
from mme2e_jax.predict.model import ClipModel, Said
from mme2e_jax.predict.results import Prediction, Utterance

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder

# Utterances whose faces, sound and kept sites are kept, and shown on the page.
SHOWN = 12
_UNDECIDED = 0.5
# Of how data were prepared, what readers of media can be told; the rest is the same in all versions.
_READER_SETTINGS = ("frame_interval_ms", "face_choice")
_USUAL_INTERVAL_MS = 500


class Predictor:
    """A trained model that reads clips. Close it in the end, or use it as a context: it has a process that reads."""

    def __init__(self, model: ClipModel, reader: ClipReader | None = None):
        """Args: model: see `from_workdir` and `from_exported`; reader: of clips, where one is there already."""
        self.model = model
        self._reader = reader or ClipReader()
        preprocessing = model.preprocessing
        self._settings = {name: preprocessing[name] for name in _READER_SETTINGS if name in preprocessing}
        self._window = Capacity.of_window(preprocessing.get("frame_interval_ms", _USUAL_INTERVAL_MS))

    @classmethod
    def from_workdir(
        cls, workdir: str | Path, tokenizer: str | Path | None = None, reader: ClipReader | None = None
    ) -> "Predictor":
        """The best checkpoint of a training run.

        Args:
          workdir: of the run.
          tokenizer: directory of the tokenizer of the run's data; None for the one that training kept, or that lies
            with the data.
          reader: of clips, where one is there already.

        Raises:
          UserError: if there is no checkpoint, the tokenizer is missing or another one, or the model reads
            hand-crafted features.
        """

        def model() -> ClipModel:
            # Here, not at the top: exported models are predicted with where there is no code of models.
            from mme2e_jax.predict.run_model import clip_model
            from mme2e_jax.runs.load import load_run

            return clip_model(load_run(workdir, devices=1), Path(workdir), tokenizer)

        return cls._while_reader_starts(model, reader)

    @classmethod
    def from_exported(cls, path: str | Path, reader: ClipReader | None = None) -> "Predictor":
        """A model in a file, see `mme2e_jax.export`.

        Raises:
          UserError: if the file is no exported model, is damaged, or holds a model that reads hand-crafted features.
        """

        def model() -> ClipModel:
            from mme2e_jax.predict.exported_model import clip_model

            return clip_model(path)

        return cls._while_reader_starts(model, reader)

    @classmethod
    def _while_reader_starts(cls, model: Callable[[], ClipModel], reader: ClipReader | None) -> "Predictor":
        reader = reader or ClipReader()
        try:
            return cls(model(), reader)
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
            notes += _notes_on_words(cues, "t" in self.model.modalities)
        elif transcript:
            raise UserError("Expected --transcript or --transcript_file, found both.")
        else:
            read = read_cues(Path(transcript_file), clip.path.stem)
            cues = shortened(read)
            if len(cues) > len(read):
                notes.append(f"Long cues were cut: {len(read)} cues became {len(cues)} utterances with repeated words.")
        if not self.model.thresholds and self._task is not Task.SINGLE_LABEL:
            notes.append(f"The model has no thresholds (its weights were imported): {_UNDECIDED} decides.")
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
            run=self.model.source,
            step=self.model.step,
            model=self.model.name,
            label_names=self.model.label_names,
            thresholds=self._thresholds if self._task is not Task.SINGLE_LABEL else {},
            task=self._task,
            modalities=self.model.modalities,
            sparse_threshold=self.model.sparse_threshold,
            notes=tuple(notes),
            utterances=tuple(utterances),
        )

    @property
    def _task(self) -> Task:
        return tasks.TASKS[self.model.loss]

    @property
    def _thresholds(self) -> dict[str, float]:
        return {name: float(self.model.thresholds.get(name, _UNDECIDED)) for name in self.model.label_names}

    @functools.cached_property
    def _encoder(self) -> "TextEncoder | None":
        return self.model.load_encoder and self.model.load_encoder()

    def _warm_up(self) -> None:
        """Compiles the program for a window, or loads it."""
        empty = np.zeros((0, FACE_SIZE, FACE_SIZE, 3), np.uint8), np.zeros((0, MEL_BANDS, CHUNK_FRAMES), np.float32)
        self._say(np.zeros(1, np.int32), *empty)

    def _say(self, ids: np.ndarray, faces: np.ndarray, mel: np.ndarray) -> Said:
        tokens, labels = self.model.text_max_len, len(self.model.label_names)
        return self.model.say(make_batch(ids, faces, mel, tokens, self._window, labels))

    def _words(self, cues: Sequence[Cue]) -> list[Words]:
        longest = self.model.text_max_len
        if self._encoder is None:
            return [Words(np.zeros(1, np.int32), 0) for _ in cues]
        encode, sep = self._encoder.encode, int(self._encoder.tokenizer.sep_token_id)
        known: dict[str, Words] = {}
        for cue in cues:
            if cue.text not in known:
                known[cue.text] = cut_words(encode(cue.text), longest, sep)
        return [known[cue.text] for cue in cues]

    def _utterance(self, stretch: Stretch, words: Words, *, with_evidence: bool) -> Utterance:
        arrays, names = stretch.arrays, self.model.label_names
        said = self._say(words.ids, arrays["faces"], arrays["mel"])
        score = tasks.scores(said.logits[None], self.model.loss)
        decided = metrics.decide(score, names, self._thresholds, self._task)[0]
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
            contributions={m: _by_name(names, values) for m, values in said.contributions.items()},
            shares={m: float(np.mean(values)) for m, values in shares(said.contributions).items()},
            frames=len(arrays["faces"]),
            faces_found=int(arrays["face_found"].sum()),
            chunks=len(arrays["mel"]),
            tokens=len(words.ids),
            notes=tuple(notes),
            evidence=_evidence(arrays, said.kept) if with_evidence and said.kept is not None else None,
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


def _evidence(arrays: Any, kept: Mapping[str, list[np.ndarray]]) -> Evidence:
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
