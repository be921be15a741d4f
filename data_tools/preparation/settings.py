"""Defines and checks the settings of preparation."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data_tools.records.record_kinds import KINDS
from data_tools.releases.release import Release
from data_tools.releases.sources import SOURCES, Source
from mme2e_jax.media.face_choice import CHOICES, TRACKED

OWN_TOKENIZER = "mini"  # name of a tokenizer that is trained on the training transcripts
COMPUTED, PUBLISHED = FEATURES = ("computed", "published")


class PrepareError(ValueError):
    """Invalid settings, or a release with too few usable utterances."""


@dataclass(frozen=True)
class Settings:
    """The settings that determine the records."""

    # One of `SOURCES`; for the embedded corpus, `mini` and `mini_iemocap`, a tokenizer is trained unless one is named.
    dataset: str = "mini"
    kind: str = "media"  # record kind, one of `record_kinds.KINDS`
    seed: int = 0  # seed of the split by video
    frame_interval_ms: int = 500  # milliseconds between the frames of an utterance
    tokenizer: str | None = None  # local Hugging Face directory, hub id, or OWN_TOKENIZER; for media only
    splits: Path | None = None  # directory with `{train,valid,test}_split.txt`; None for the dataset's default
    fold: int | None = None  # IEMOCAP's session to test on; None for the first
    audio_from_video: bool = False  # whether the video's sound track replaces a missing wav file
    source_fps: float | None = None  # images per second of a processed release; None to estimate it from the sounds
    face_choice: str = TRACKED  # choice among several faces, one of `face_choice.CHOICES`
    features: str = COMPUTED  # `computed` from the media, or `published` by the paper's authors for a processed release

    def __post_init__(self) -> None:
        choices = {"dataset": SOURCES, "kind": KINDS, "face_choice": CHOICES, "features": FEATURES}
        for name, allowed in choices.items():
            if (value := getattr(self, name)) not in allowed:
                raise PrepareError(f"{name} {value!r}: expected one of {', '.join(allowed)}.")
        if self.kind == "features" and self.tokenizer is not None:
            raise PrepareError(
                f"kind 'features' stores features of words, not tokens; expected no tokenizer, found "
                f"{self.tokenizer!r}: leave --tokenizer out, or prepare --kind=media."
            )
        if self.frame_interval_ms < 1:
            raise PrepareError(f"frame_interval_ms: expected 1 or more, found {self.frame_interval_ms}.")
        if self.uses_published_features and not (self.kind == "features" and self.source.stores_images):
            raise PrepareError(
                "features 'published' are the paper's authors' features of their processed folders; expected "
                f"--kind=features and a processed dataset, found --kind={self.kind} --dataset={self.dataset}."
            )
        if self.seed < 0:
            raise PrepareError(f"seed: expected 0 or more, found {self.seed}.")
        if self.source_fps is not None and not self.source.stores_images:
            raise PrepareError(
                f"source_fps: {self.dataset} has videos, which state their rate; expected no --source_fps, found "
                f"{self.source_fps:g}."
            )
        if self.source_fps is not None and not 0 < self.source_fps <= 1000:
            raise PrepareError(f"source_fps: expected images per second, above 0, found {self.source_fps:g}.")
        if self.fold is not None and self.source.session_of is None:
            raise PrepareError(
                f"fold: {self.dataset} has no sessions to leave out; expected no --fold, found {self.fold}. Split by "
                "your own files with --splits=DIR."
            )
        if self.fold is not None and self.splits is not None:
            raise PrepareError(f"Expected --fold or --splits, found both: --fold={self.fold}, --splits={self.splits}.")

    @property
    def source(self) -> Source:
        """The reader and the properties of the dataset."""
        return SOURCES[self.dataset]

    @property
    def uses_published_features(self) -> bool:
        """Whether features are read instead of computed."""
        return self.features == PUBLISHED

    def read_release(self, raw: Path) -> Release:
        """Reads the texts of the release at `raw`; raises `ReleaseError` if `raw` is no such release."""
        if self.source.stores_images:
            with_media = not self.uses_published_features
            return self.source.read(raw, self.source.dataset, self.source_fps, with_media=with_media)
        return self.source.read(raw)

    @property
    def named_tokenizer(self) -> str | None:
        """Directory or hub id of the tokenizer to load; None if one is trained or none is needed."""
        return None if self.tokenizer == OWN_TOKENIZER else self.tokenizer

    def require_tokenizer(self) -> None:
        """Raises `PrepareError` if a tokenizer is needed and not named."""
        if self.kind == "media" and self.tokenizer is None and not self.source.own_tokenizer:
            raise PrepareError(
                f"dataset {self.dataset!r} needs a tokenizer: --tokenizer=DIR, a Hugging Face directory with "
                "tokenizer.json, or a hub id such as albert/albert-base-v2; or "
                f"--tokenizer={OWN_TOKENIZER} to train a small one on the training transcripts."
            )

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, without paths, so that reports do not depend on the directory."""
        values = asdict(self)
        del values["splits"]
        return values
