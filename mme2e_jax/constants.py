"""Constants that preparation and training share: record format, array sizes, label names."""

FORMAT_VERSION = 2  # of prepared records
FACE_SIZE = 48  # pixels, height and width of a face crop
MEL_BANDS = 128
EMPTY_TEXT_TOKENS = 2  # [CLS] and [SEP]
CHUNK_FRAMES = 32  # mel frames (of 12.5 ms at 16 kHz) in one chunk

_MOSEI = ("anger", "disgust", "fear", "happy", "sad", "surprise")
_IEMOCAP = ("ang", "exc", "fru", "hap", "neu", "sad")
# By dataset, in the order of the outputs, as the paper's code has it.
LABEL_NAMES = {"mini": _MOSEI, "mosei": _MOSEI, "mini_iemocap": _IEMOCAP, "iemocap": _IEMOCAP}
# All datasets that can be trained on. Clips are the user's own, and their table names the labels.
DATASETS = (*LABEL_NAMES, "clips")
# Made by the program itself where they are missing: by dataset, the release in whose layout.
EMBEDDED = {"mini": "mosei", "mini_iemocap": "iemocap"}

MODALITY_NAMES = {"t": "text", "v": "faces", "a": "sound"}  # what people call the modalities
MODALITY_COLOURS = {"t": "#4477aa", "v": "#228833", "a": "#aa5500"}  # in which pictures show them
