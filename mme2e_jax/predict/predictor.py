"""Predicts the emotions in a clip; README.md has an example."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mme2e_jax.batch import present_media
from mme2e_jax.constants import CHUNK_FRAMES, EMPTY_TEXT_TOKENS, FACE_SIZE, MEL_BANDS
from mme2e_jax.errors import UserError
from mme2e_jax.evaluation import metrics, tasks
from mme2e_jax.evaluation.contributions import shares
from mme2e_jax.evaluation.metrics import Task
from mme2e_jax.html.evidence import Evidence
from mme2e_jax.media.face_choice import CHOICES
from mme2e_jax.predict.batching import Capacity, ModelInput, Tokens, cut_tokens, make_batch
from mme2e_jax.predict.clip_reader import ClipPart, ClipReader
from mme2e_jax.predict.clip_stream import ClipRequest, OpenedClip, read_ahead
from mme2e_jax.predict.cues import LONGEST_WINDOW_SECONDS, WINDOW_SECONDS, Cue, check_windows
from mme2e_jax.predict.model import ClipModel, ClipOutput
from mme2e_jax.predict.remarks import DEFAULT_THRESHOLD, remarks
from mme2e_jax.predict.results import Prediction, SeenFrame, Utterance
from mme2e_jax.predict.timeline import HOP_SECONDS
from mme2e_jax.runtime.files import valid_unicode

if TYPE_CHECKING:
    from mme2e_jax.media.tokens import TextEncoder
    from mme2e_jax.predict.transcribe import Transcriber

_ROWS = 8  # windows in a batch
SHOWN = 12  # number of utterances with evidence, which the page shows
# Settings of preparation that the metadata holds and that may differ. Clips are always searched whole for faces.
_READER_SETTINGS = ("frame_interval_ms", "face_choice")
_DEFAULT_INTERVAL_MS = 500
_FACES_MISSING = ("no_face", "some_faces_missing")  # findings that masking absent modalities makes untrue
_NO_MEDIA = np.zeros((0, FACE_SIZE, FACE_SIZE, 3), np.uint8), np.zeros((0, MEL_BANDS, CHUNK_FRAMES), np.float32)


class _Shape(NamedTuple):
    """The size of the batches of one program."""

    rows: int  # utterances
    seconds: float  # length of each, for which there is room; batches of longer ones are doubled

    @classmethod
    def for_clip(cls, window: float | None, *, timed: bool) -> "_Shape":
        """The shape for windows, or for a clip whose words have times."""
        return cls(_ROWS, window) if window and not timed else cls(1, LONGEST_WINDOW_SECONDS)


class Predictor:
    """A trained model that predicts on clips, and a process that reads them: `close` it, or use a `with` block."""

    def __init__(self, model: ClipModel, reader: ClipReader | None = None):
        """Predicts with `model`; `reader` is a clip reader, if one exists already."""
        self.model = model
        self._reader = reader or ClipReader()
        self._task = tasks.TASKS[model.loss]
        self._thresholds = {name: float(model.thresholds.get(name, DEFAULT_THRESHOLD)) for name in model.label_names}
        preprocessing = model.preprocessing
        self._settings = {name: preprocessing[name] for name in _READER_SETTINGS if name in preprocessing}
        self._interval_ms = preprocessing.get("frame_interval_ms", _DEFAULT_INTERVAL_MS)
        self._compiled: set[_Shape] = set()

    @classmethod
    def from_workdir(
        cls, workdir: str | Path, tokenizer: str | Path | None = None, reader: ClipReader | None = None
    ) -> "Predictor":
        """Loads the best checkpoint of a training run.

        `tokenizer` is its directory; if None, the copy in the run or in the data directory is used. `reader` is a clip
        reader, if one exists already. Raises `UserError` if there is no checkpoint, the tokenizer is missing or a
        different one, or the model reads hand-crafted features.
        """
        with _starting(reader) as reader:
            # Exported models must work without the code of models.
            from mme2e_jax.predict.run_model import clip_model
            from mme2e_jax.runs.load import load_run

            return cls(clip_model(load_run(workdir, devices=1), Path(workdir), tokenizer), reader)

    @classmethod
    def from_pretrained(cls, model: str | Path, reader: ClipReader | None = None) -> "Predictor":
        """Loads a shared model: a directory, or an id on the Hugging Face hub such as "user/model".

        Only known files are downloaded, and nothing in them is run. `reader` as for `from_workdir`. Raises `UserError`
        if there is no such model, it is damaged, or it reads hand-crafted features.
        """
        from mme2e_jax.checkpoints.hub import find_model

        return cls.from_workdir(find_model(model), reader=reader)

    @classmethod
    def from_exported(cls, path: str | Path, reader: ClipReader | None = None) -> "Predictor":
        """Loads an exported model, see `mme2e_jax.export`; `reader` as for `from_workdir`.

        Raises `UserError` if the file is no exported model, is damaged, or its model reads hand-crafted features.
        """
        with _starting(reader) as reader:
            from mme2e_jax.predict.exported_model import clip_model

            return cls(clip_model(path), reader)

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process that reads clips; the next prediction starts a new one."""
        self._reader.close()

    def warm_up(self, window: float | None = None, *, timed: bool = False) -> None:
        """Compiles a program or loads it from the cache, and runs the face detector; else the first prediction does so.

        It is the program for clips without a transcript file, `window` as for a call; or with `timed` that for
        transcript files and recognised speech.
        """
        with ThreadPoolExecutor(1) as thread:
            reader = thread.submit(self._reader.warm_up)
            self._prepare(_Shape.for_clip(window, timed=timed))
            reader.result()

    def __call__(
        self,
        path: str | Path,
        transcript: str = "",
        *,
        transcript_file: str | Path | None = None,
        window: float | None = None,
        hop: float = HOP_SECONDS,
        face_choice: str | None = None,
        transcriber: "Transcriber | None" = None,
        progress: Callable[[float, float], None] = lambda done, whole: None,
    ) -> Prediction:
        """Predicts the emotions of a clip, with one utterance for each cue or window with pictures or sound.

        Args:
          path: video or sound file in any format that FFmpeg reads.
          transcript: spoken words.
          transcript_file: transcript with times, see `cues.read_cues`: each cue is an utterance. Without it, the clip
            is cut into windows.
          window: seconds of windows that overlap, one every `hop` seconds; None for equal ones of at most 10 s.
          hop: seconds from window to window, and between the moments of `Prediction.timeline`.
          face_choice: choice among several faces, one of `face_choice.CHOICES`; None for that of the model's data.
          transcriber: speech recognition, see `transcribe.Transcriber`, for a clip without words: each recognised cue
            is an utterance. The clip is cut into windows if there is no speech.
          progress: function called with the finished and the total seconds of the clip after each utterance.

        Raises:
          UserError: if the clip or the transcript cannot be used.
        """
        request = ClipRequest(path, transcript, transcript_file)
        options = {"window": window, "hop": hop, "face_choice": face_choice}
        options |= {"transcriber": transcriber, "progress": progress}
        (outcome,) = self.predict_each([request], **options)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def predict_each(
        self,
        requests: Iterable[ClipRequest],
        *,
        window: float | None = None,
        hop: float = HOP_SECONDS,
        face_choice: str | None = None,
        transcriber: "Transcriber | None" = None,
        progress: Callable[[float, float], None] = lambda done, whole: None,
    ) -> Iterator[Prediction | Exception]:
        """Predicts clips one after the other; the next ones are read while the model computes.

        Yields for each request its prediction, or the exception that prevented it; requests are taken when a process
        of the reader is free. Arguments and errors as for a call.
        """
        check_windows(window or WINDOW_SECONDS, hop)
        if face_choice not in (None, *CHOICES):
            raise UserError(f"Expected a choice of faces, one of {', '.join(CHOICES)}, found {face_choice!r}.")
        settings = self._settings | ({"face_choice": face_choice} if face_choice else {})
        requests = iter(requests)
        first = next(requests, None)
        if first is None:
            return
        requests, quiet = itertools.chain([first], requests), _FACES_MISSING if self.model.mask_absent else ()
        with read_ahead(self._reader, requests, window, hop, settings, quiet, transcriber) as clips:
            # While the reader is busy with the first part. Most clips have speech.
            timed = first.transcript_file is not None or (transcriber is not None and not first.has_words)
            self._prepare(_Shape.for_clip(window, timed=timed))
            for opened, parts in clips:
                try:
                    if isinstance(opened, Exception):
                        raise opened
                    shape = _Shape.for_clip(window, timed=bool(opened.divided))
                    outcome = self._prediction(opened, parts, shape, hop, progress)
                except Exception as error:
                    outcome = error
                yield outcome

    def _prediction(
        self,
        opened: OpenedClip,
        parts: Iterator[ClipPart],
        shape: _Shape,
        hop: float,
        progress: Callable[[float, float], None],
    ) -> Prediction:
        clip, cues = opened.clip, opened.cues
        notes = _notes_on_text(opened, "t" in self.model.modalities, self.model.mask_absent)
        notes += remarks(self.model)
        shown = set(np.linspace(0, len(cues) - 1, min(len(cues), SHOWN)).round().astype(int).tolist())
        utterances, left_out = [], []
        frames: dict[float, SeenFrame] = {}
        tokens = self._tokens(cues)
        numbered = enumerate(parts)
        while group := list(itertools.islice(numbered, shape.rows)):
            if "v" in self.model.modalities:
                # Windows overlap: the first one has followed the face for the longest time.
                for _, part in group:
                    frames = {frame.time: frame for frame in _seen_frames(part)} | frames
            if self.model.mask_absent:
                group = [(i, self._present(part, tokens[i])) for i, part in group]
            left_out += [(part.cue, " ".join(part.notes)) for _, part in group if not part.arrays]
            present = [(i, part) for i, part in group if part.arrays]
            inputs = [ModelInput(tokens[i].ids, part.arrays["faces"], part.arrays["mel"]) for i, part in present]
            for (i, part), output in zip(present, self._infer(inputs, shape) if inputs else [], strict=True):
                utterances.append(self._utterance(part, tokens[i], output, with_evidence=i in shown))
            progress(min(group[-1][1].cue.end, clip.seconds), clip.seconds)
        if not utterances:
            why = sorted({reason for _, reason in left_out})
            raise UserError(f"No usable pictures or sound in {clip.path}, which states {clip.tracks}. {' '.join(why)}")
        notes += [f"{cue.start:.2f} s to {cue.end:.2f} s was left out. {why}" for cue, why in left_out]
        return Prediction(
            clip=valid_unicode(clip.path.name),
            path=valid_unicode(str(clip.path.absolute())),
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
            hop=hop,
            frames=tuple(frames[time] for time in sorted(frames)),
        )

    @functools.cached_property
    def _encoder(self) -> "TextEncoder | None":
        return self.model.load_encoder and self.model.load_encoder()

    def _prepare(self, shape: _Shape) -> None:
        """Loads the tokenizer, and compiles the program or loads it from the cache; it takes seconds, once."""
        if shape not in self._compiled:
            self._tokens([])
            self._infer([ModelInput(np.zeros(1, np.int32), *_NO_MEDIA)], shape)

    def _infer(self, inputs: Sequence[ModelInput], shape: _Shape) -> list[ClipOutput]:
        self._compiled.add(shape)
        capacity = Capacity.of_window(self._interval_ms, shape.seconds)
        tokens, labels = self.model.text_max_len, len(self.model.label_names)
        return self.model.infer(make_batch(inputs, shape.rows, tokens, capacity, labels))[: len(inputs)]

    def _tokens(self, cues: Sequence[Cue]) -> list[Tokens]:
        if self._encoder is None:
            return [Tokens(np.zeros(1, np.int32), 0) for _ in cues]
        encode, sep = self._encoder.encode, int(self._encoder.tokenizer.sep_token_id)
        # Windows share one text.
        encoded = {text: cut_tokens(encode(text), self.model.text_max_len, sep) for text in {cue.text for cue in cues}}
        return [encoded[cue.text] for cue in cues]

    def _present(self, part: ClipPart, tokens: Tokens) -> ClipPart:
        """The part without frames that show no face and without silent sound; without arrays if nothing is left."""
        if not part.arrays:
            return part
        arrays, notes, found = dict(part.arrays), list(part.notes), part.arrays["face_found"]
        faces, mel = present_media(arrays["faces"], found, arrays["mel"])
        if "v" in self.model.modalities and len(faces) < len(found):
            notes.append(f"{len(found) - len(faces)} of {len(found)} frames show no face and were left out.")
        if "a" in self.model.modalities and len(mel) < len(arrays["mel"]):
            notes.append("The sound is silent and was left out.")
        arrays |= {"faces": faces, "mel": mel, "face_found": found[found], "frame_ms": arrays["frame_ms"][found]}
        present = {"t": len(tokens.ids) > EMPTY_TEXT_TOKENS, "v": len(faces) > 0, "a": len(mel) > 0}
        if not any(present[m] for m in self.model.modalities):
            return replace(part, arrays={}, notes=(*notes, "Nothing is left to predict from."))
        return replace(part, arrays=arrays, notes=tuple(notes))

    def _utterance(self, part: ClipPart, tokens: Tokens, output: ClipOutput, *, with_evidence: bool) -> Utterance:
        arrays, names = part.arrays, self.model.label_names
        if not np.isfinite(output.logits).all():
            raise UserError(
                f"Expected finite logits of the model {self.model.source}, found {output.logits.tolist()} from "
                f"{part.cue.start:.2f} s on. Its weights are damaged, or its training diverged."
            )
        score = tasks.scores(output.logits[None], self.model.loss)
        decided = metrics.decide(score, names, self._thresholds, self._task)[0]
        notes = list(part.notes)
        if tokens.left_out:
            notes.append(f"The text is {tokens.left_out} tokens longer than the model reads; its end was cut off.")
        return Utterance(
            start=part.cue.start,
            end=part.cue.end,
            transcript=part.cue.text,
            logits=_by_name(names, output.logits),
            scores=_by_name(names, score[0]),
            decided=tuple(name for name, yes in zip(names, decided, strict=True) if yes),
            contributions={m: _by_name(names, values) for m, values in output.contributions.items()},
            shares={m: float(np.mean(values)) for m, values in shares(output.contributions).items()},
            frames=len(arrays["faces"]),
            faces_found=int(arrays["face_found"].sum()),
            chunks=len(arrays["mel"]),
            tokens=len(tokens.ids),
            notes=tuple(notes),
            evidence=_evidence(arrays, output.kept) if with_evidence and output.kept is not None else None,
        )


@contextmanager
def _starting(reader: ClipReader | None) -> Iterator[ClipReader]:
    """Yields the reader, or a new one, whose process starts meanwhile; closes it if the block raises."""
    reader = reader or ClipReader()
    try:
        yield reader
    except BaseException:
        reader.close()
        raise


def _evidence(arrays: Any, kept: Mapping[str, list[np.ndarray]]) -> Evidence:
    return Evidence(
        faces=arrays["faces"],
        face_found=arrays["face_found"],
        frame_ms=arrays["frame_ms"],
        mel=arrays["mel"],
        kept=kept,
    )


def _seen_frames(part: ClipPart) -> Iterator[SeenFrame]:
    if part.arrays:
        times = part.cue.start + part.arrays["frame_ms"] / 1000
        for time, box in zip(times.tolist(), part.arrays["boxes"].tolist(), strict=True):
            found = None if math.isnan(box[0]) else tuple(round(side, 4) for side in box)
            yield SeenFrame(round(time, 3), found)


def _by_name(names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _notes_on_text(opened: OpenedClip, read: bool, masked: bool) -> list[str]:
    cues, notes = opened.cues, [opened.note] if opened.note else []
    if opened.divided:
        if len(cues) > opened.divided:
            notes.append(f"Long cues were divided, with repeated text: {opened.divided} became {len(cues)} utterances.")
    elif not read:
        notes.append("The model does not read text.")
    elif not cues[0].text:
        notes.append(
            "No transcript was given: " + ("text adds nothing." if masked else "the model's text input is empty.")
        )
    elif len(cues) > 1:
        notes.append(
            f"The transcript has no times: each of {len(cues)} windows got the whole text. Give one with times "
            "(--transcript_file) to divide it."
        )
    return notes
