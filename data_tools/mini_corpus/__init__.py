"""The embedded corpus: a small synthetic release of talking faces.

It has the file layout of CMU-MOSEI or IEMOCAP. All sources are in Python wheels: one public-domain photograph
(`skimage.data.astronaut()`), the espeak-ng synthesiser, and sentences written for this project. Steps:

    emotions -> plan (expressed emotions) -> sentences, voice, face -> video -> mosei_release (files)
                -> dialogues (two speakers)             -> dialogue_video -> iemocap_release

Speakers cannot be disjoint between training, validation and test, because all speakers are variations of one
photograph. Split by video; the scores do not show generalisation to new people.
"""
