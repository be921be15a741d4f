"""Defines the texts of a raw release, read before any media file."""

from dataclasses import dataclass, field

from mme2e_jax.media.utterance import Finding, Media, Utterance


class ReleaseError(ValueError):
    """A raw release that cannot be used; the message names what was expected and found."""


@dataclass
class Release:
    """The readable part of a raw release.

    Attributes:
      label_names: names of the labels, in the order of `Utterance.label`.
      utterances: utterances with usable texts, in the order to store them.
      media: media files by `Utterance.media_key`.
      findings: what was left out or repaired.
      splits: train, valid or test by utterance identifier; None if the release has no splits.
    """

    label_names: tuple[str, ...]
    utterances: list[Utterance] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    splits: dict[str, str] | None = None
