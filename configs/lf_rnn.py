"""LF-LSTM, a baseline on hand-crafted features.

Datasets: the embedded corpus, CMU-MOSEI, IEMOCAP.

Commands:
  python launch.py --config=configs/lf_rnn.py:mini       nothing to download; a laptop takes a few minutes
  python launch.py --config=configs/lf_rnn.py:mosei --workdir=RUN
  python launch.py --config=configs/lf_rnn.py:iemocap --workdir=RUN
  with --config.data.dir=RECORDS for the last two, records made with --kind=features

For CMU-MOSEI and IEMOCAP the values are the paper's. Its rows for LF-LSTM, means over emotions: CMU-MOSEI
weighted accuracy 63.1, F1 43.3; IEMOCAP accuracy 71.8, F1 49.5. Hardware: one GPU, or some hours on a CPU.
"""

from ml_collections import ConfigDict

_DATASETS = ("mini", "mosei", "iemocap")


def get_config(dataset: str = "mini") -> ConfigDict:
    """All values of the experiment.

    Args:
      dataset: mini (the embedded corpus), mosei or iemocap.

    Raises:
      ValueError: if it is none of these.
    """
    if dataset not in _DATASETS:
        raise ValueError(f"expected one of {', '.join(_DATASETS)} after the colon, found {dataset!r}")
    mini = dataset == "mini"
    config = ConfigDict()
    config.seed = 0
    config.profile = ""  # "START:STOP" traces these steps for TensorBoard or XProf

    if mini:
        config.mini = ConfigDict()  # how the corpus is generated if there are no records yet
        config.mini.utterances = 160
        config.mini.seed = 0

    config.data = data = ConfigDict()
    data.dataset = dataset
    data.dir = "" if mini else f"records/{dataset}-features"  # prepared; if empty, generated
    data.batch_size = 8 if mini else 32  # utterances per step, over all devices
    data.text_max_len = 100  # rows of text features, one for each word
    data.max_shapes = 2 if mini else 7  # compiled shapes, and one more for batches that fit none of them
    data.skip_bad = 0  # utterances with unusable records that may be skipped; one more stops the run
    data.audio_feature_type = 0  # which columns of the stored audio: 0 to 6, see mme2e_jax/data/audio_columns.py

    config.model = model = ConfigDict()
    model.name = "lf_rnn"
    model.modalities = "tav"
    model.feature_sizes = (300, 144, 35)  # of text, audio and video
    model.parity_padding = False  # True lets padding take part where it does in the paper's code
    model.rnn = ConfigDict()
    model.rnn.cell = "lstm"  # lstm or gru
    model.rnn.layers = 1  # layers of each recurrent network
    model.rnn.hidden_size = 0  # 0 for each modality's feature size
    model.rnn.bidirectional = True  # also read backwards
    model.dropout = 0.1  # between layers, so without effect in a single one

    config.init = ConfigDict()
    config.init.checkpoint = ""  # directory of a run or shared model, or state dict of the paper's code, to start from
    config.init.modalities = "tav"  # modalities whose weights are taken from it

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # optimizer: adam, adamw or sgd
    optim.lr = 1e-3 if mini else 5e-4
    optim.weight_decay = 0.0
    optim.epochs = 20 if mini else 60
    optim.early_stop = 0 if mini else 8  # epochs without a better mean validation F1; 0 for never
    optim.clip = 2.0  # largest norm of the gradient; 0 for no clipping
    optim.accumulate = 1  # steps whose gradients are averaged for one update
    optim.skip_nonfinite = 0  # steps with a non-finite loss or gradient that may be skipped; 0 stops the run
    optim.schedule = "cosine" if mini else "constant"
    optim.loss = "bce"  # training loss: bce, ce, mse or l1

    config.evaluation = ConfigDict()
    # Neighbours on either side that are averaged when a threshold is chosen by F1, for small validation splits.
    # 0 is the paper's search.
    config.evaluation.threshold_smoothing = 3 if mini else 0

    config.checkpoint = ConfigDict()
    config.checkpoint.keep_last = 2  # last checkpoints that are kept, in addition to the best
    config.checkpoint.every_steps = 500  # steps between checkpoints, in addition to those of epochs; 0 for none

    config.log = ConfigDict()
    config.log.every_steps = 10
    config.log.tensorboard = True
    config.log.wandb = ""  # Weights & Biases project to log to; needs `pip install wandb`

    config.mesh = ConfigDict()
    config.mesh.devices = 0  # number of devices; 0 for all
    return config
