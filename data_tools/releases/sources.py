"""What can be prepared: by name, who reads the release and how it is split."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from data_tools.releases import clips, iemocap, mosei, processed
from data_tools.releases.release import Release
from mme2e_jax.media.utterance import Utterance


class Source(NamedTuple):
    """One kind of raw release."""

    read: Callable[..., Release]  # from the release's path; where it has pictures, also `fps`
    records: str  # the dataset that its records are of
    own_tokenizer: bool = False  # trained on the transcripts where none is named
    session_of: Callable[[Utterance], int] | None = None  # where no speaker is in two sessions
    sound_in_video: bool = False  # rather than in wav files
    stores_images: bool = False  # rather than videos


SOURCES: Mapping[str, Source] = {
    "mini": Source(mosei.read_release, "mini", own_tokenizer=True),
    "mini_iemocap": Source(iemocap.read_release, "mini_iemocap", own_tokenizer=True, session_of=iemocap.session_of),
    "mosei": Source(mosei.read_release, "mosei"),
    "iemocap": Source(iemocap.read_release, "iemocap", session_of=iemocap.session_of),
    "processed_mosei": Source(processed.read_mosei, "mosei", stores_images=True),
    "processed_iemocap": Source(processed.read_iemocap, "iemocap", session_of=iemocap.session_of, stores_images=True),
    "clips": Source(clips.read_release, "clips", sound_in_video=True),
}
