"""Lists the datasets that can be prepared, with their readers."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from data_tools.releases import clips, iemocap, mosei, processed
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Utterance


class Source(NamedTuple):
    """One kind of raw release."""

    # Reads the release at a path; for image sequences it also takes the dataset, `fps` and `with_media`.
    read: Callable[..., Release]
    dataset: str  # name of the dataset in the records
    own_tokenizer: bool = False  # whether a tokenizer is trained on the transcripts unless one is named
    session_of: Callable[[Utterance], int] | None = None  # session of an utterance, if no speaker is in two sessions
    sound_in_video: bool = False  # whether the sound is stored in the videos instead of wav files
    stores_images: bool = False  # whether videos are stored as images


SOURCES: Mapping[str, Source] = {
    "mini": Source(mosei.read_release, "mini", own_tokenizer=True),
    "mini_iemocap": Source(iemocap.read_release, "mini_iemocap", own_tokenizer=True, session_of=iemocap.session_of),
    "mosei": Source(mosei.read_release, "mosei"),
    "iemocap": Source(iemocap.read_release, "iemocap", session_of=iemocap.session_of),
    "processed_mosei": Source(processed.read_release, "mosei", stores_images=True),
    "processed_iemocap": Source(processed.read_release, "iemocap", session_of=iemocap.session_of, stores_images=True),
    "clips": Source(clips.read_release, "clips", sound_in_video=True),
}
