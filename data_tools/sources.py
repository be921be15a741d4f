"""What can be prepared: by name, who reads the release and how it is split."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from data_tools import clips, iemocap, mosei
from data_tools.utterances import Release, Utterance


class Source(NamedTuple):
    """One kind of raw release."""

    read: Callable[[Path], Release]
    own_tokenizer: bool = False  # trained on the transcripts where none is named
    session_of: Callable[[Utterance], int] | None = None  # where no speaker is in two sessions
    sound_in_video: bool = False  # rather than in wav files


SOURCES: Mapping[str, Source] = {
    "mini": Source(mosei.read_release, own_tokenizer=True),
    "mini_iemocap": Source(iemocap.read_release, own_tokenizer=True, session_of=iemocap.session_of),
    "mosei": Source(mosei.read_release),
    "iemocap": Source(iemocap.read_release, session_of=iemocap.session_of),
    "clips": Source(clips.read_release, sound_in_video=True),
}
