"""Computes hand-crafted features of words, sound and faces for the baselines.

The paper's baselines read features of GloVe, DisVoice and OpenFace. Those here have the same widths and, for sound, the
same layout, but are computed with libraries in use already: scores with them are not comparable with the paper's.
"""
