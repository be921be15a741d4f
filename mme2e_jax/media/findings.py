"""Defines every reason for a finding, with its effect and meaning."""

# Dropped utterances are lost to a defect. Excluded utterances were never part of the task. Degraded utterances are
# kept with something missing. Noted utterances are complete.
DROPPED, DEGRADED, EXCLUDED, NOTED = "dropped", "degraded", "excluded", "noted"

REASONS: dict[str, tuple[str, str]] = {
    # Texts of the release.
    "bad_id": (DROPPED, "An identifier with characters other than letters, digits and . _ -."),
    "bad_transcript_line": (DROPPED, "A transcript line that cannot be read."),
    "bad_label_row": (DROPPED, "A label row that cannot be read."),
    "label_without_transcript": (DROPPED, "A label for a clip that has no transcript."),
    "bad_evaluation_line": (DROPPED, "A line of an evaluation file that cannot be read."),
    "bad_meta": (DROPPED, "An entry of meta.pkl that cannot be read."),
    "not_in_meta": (DROPPED, "Named in a split file of the release, but not in meta.pkl."),
    "bad_row": (DROPPED, "A row of the table that cannot be read."),
    "transcript_without_label": (EXCLUDED, "A transcript of a clip that has no label."),
    "line_without_id": (EXCLUDED, "A transcript line that names no utterance."),
    "other_emotion": (EXCLUDED, "An emotion that is not among the dataset's labels."),
    "no_answers": (DROPPED, "No annotator rated any emotion of this clip."),
    "bad_times": (DROPPED, "The clip does not end after it starts."),
    "duplicate": (DROPPED, "A second line for the same clip; the first is used."),
    "negative_start": (DEGRADED, "The clip starts before its video; it is read from time 0."),
    "empty_transcript": (DEGRADED, "The transcript is empty."),
    "undecodable_text": (DEGRADED, "The transcript is not UTF-8; some characters are lost."),
    # Media files.
    "no_media": (DROPPED, "Neither frames nor sound could be read."),
    "past_end": (DROPPED, "The clip starts after the end of its video."),
    "worker_died": (DROPPED, "The process that read this video died, twice."),
    "extraction_failed": (DROPPED, "Reading this video failed in an unexpected way."),
    "no_wav": (DEGRADED, "The wav file is missing; the utterance is kept without sound."),
    "broken_wav": (DEGRADED, "The wav file cannot be read; the utterance is kept without sound."),
    "audio_from_video": (DEGRADED, "The sound comes from the video's own track, not from a wav file."),
    "broken_sound": (DEGRADED, "The sound cannot be decoded up to the clip's end."),
    "sound_gap": (DEGRADED, "The file has no sound for a part of the clip; it is read as silence."),
    "no_channel": (DEGRADED, "The sound lacks the speaker's channel; its last channel is used."),
    "no_sound": (DEGRADED, "The sound ends before the clip starts."),
    "no_video": (DEGRADED, "The video file is missing; the utterance is kept without frames."),
    "broken_video": (DEGRADED, "The video cannot be decoded up to the clip's end."),
    "no_frames": (DEGRADED, "The video's frames end before the clip starts."),
    "clipped": (DEGRADED, "The clip ends after its video; it is cut there."),
    "too_short": (DEGRADED, "The sound is shorter than half a second; its mel chunk is mostly padding."),
    "length_mismatch": (DEGRADED, "The wav file and the video differ in length by more than half a second."),
    "no_face": (DEGRADED, "No face in any frame; the centre of each frame replaces it (features: zeros)."),
    "some_faces_missing": (DEGRADED, "No face in some frames; the centre of the frame replaces it (features: zeros)."),
    "several_faces": (NOTED, "Several faces in some frames; one is taken by the face choice."),
    # Published features.
    "no_features": (DROPPED, "The published features lack this utterance."),
    "bad_features": (DROPPED, "The published features of this utterance cannot be read."),
    "features_incomplete": (DEGRADED, "The published features lack text, audio or video; kept without them."),
    "features_not_finite": (DEGRADED, "NaN or infinite published features were replaced by 0."),
    "features_without_meta": (EXCLUDED, "Published features of an utterance that meta.pkl does not name."),
    # Choices of the user.
    "not_in_splits": (EXCLUDED, "The given split files name neither this utterance nor its video."),
}  # fmt: skip
