"""The embedded corpus: a small, made-up release of talking faces in the file layout of CMU-MOSEI or IEMOCAP.

Everything comes from Python wheels: one public-domain photograph (`skimage.data.astronaut()`),
the espeak-ng synthesiser, and sentences written for this project. The package goes one way:

    emotions -> plan (who expresses what) -> sentences, voice, face -> video -> release (files)
                -> dialogues (of two)                -> dialogue_video -> iemocap_release

Speakers that are disjoint between training, validation and test are NOT possible: all speakers
are variations of one photograph. Split by video, and do not read the scores as generalisation
to new people.
"""
