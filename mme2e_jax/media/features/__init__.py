"""Hand-crafted features for the two baselines: what stands for a word, for 0.4 s of sound, for a face.

The paper's baselines read features of other people's programs (GloVe, DisVoice, OpenFace). These
here have the same widths and, for sound, the same layout, but are computed with the libraries this
project uses anyway: scores with them are not the paper's.
"""
