"""What a raw release says about an utterance, before any media file is opened."""

from dataclasses import dataclass, field

from mme2e_jax.media.utterance import Finding, Media, Utterance


class ReleaseError(ValueError):
    """A raw release that cannot be used at all; the message says what is expected and found."""


@dataclass
class Release:
    """The readable part of a raw release.

    Attributes:
      label_names: of the places of every label.
      utterances: usable as far as the texts tell, in the order to store them.
      media: by `files` of `utterances`.
      findings: what was left out or repaired.
      splits: train, valid or test by utterance, where the release itself splits; else None.
    """

    label_names: tuple[str, ...]
    utterances: list[Utterance] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    splits: dict[str, str] | None = None
