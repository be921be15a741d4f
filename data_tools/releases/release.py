"""Defines the texts of a raw release, read before any media file."""

from dataclasses import dataclass, field

from mme2e_jax.media.utterance import Finding, Media, Utterance


class ReleaseError(ValueError):
    """A raw release that cannot be used; the message names what was expected and found."""


@dataclass
class Release:
    """The readable part of a raw release."""

    label_names: tuple[str, ...]  # names of the labels, in the order of `Utterance.label`
    # Utterances with usable texts, in the order to store them.
    utterances: list[Utterance] = field(default_factory=list)
    media: dict[str, Media] = field(default_factory=dict)  # media files by `Utterance.media_key`
    findings: list[Finding] = field(default_factory=list)  # what was left out or repaired
    # Train, valid or test by utterance identifier; None if the release has no splits.
    splits: dict[str, str] | None = None
