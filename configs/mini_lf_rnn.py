"""LF-LSTM (baseline on hand-crafted features) on the embedded corpus.

Command: `python launch.py --config=configs/mini_lf_rnn.py`
Nothing to download. Hardware: a laptop; two CPU cores take a few minutes. What to expect: see the README.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All values of the experiment."""
    config = ConfigDict()
    config.seed = 0
    config.profile = ""  # "START:STOP" traces these steps for TensorBoard or XProf

    config.mini = ConfigDict()  # how the corpus is generated where there are no records yet
    config.mini.utterances = 160
    config.mini.seed = 0

    config.data = data = ConfigDict()
    data.dataset = "mini"
    data.dir = ""  # prepared records; made in records/ where empty
    data.batch_size = 8  # utterances per step, over all devices
    data.text_max_len = 100  # rows of text features, one for each word
    data.max_shapes = 2  # compiled shapes
    data.skip_bad = 0  # utterances with unusable records that are left out; one more stops the run
    data.audio_feature_type = 0  # which columns of the stored audio: 0 to 6, see mme2e_jax/data/audio_columns.py

    config.model = model = ConfigDict()
    model.name = "lf_rnn"
    model.modalities = "tav"
    model.feature_sizes = (300, 144, 35)  # of text, audio and video
    model.parity_padding = False  # True lets padding take part where it does in the paper's code
    model.rnn = ConfigDict()
    model.rnn.cell = "lstm"  # lstm or gru
    model.rnn.layers = 1
    model.rnn.hidden_size = 0  # 0 for each modality's feature size
    model.rnn.bidirectional = True
    model.dropout = 0.1  # between layers, so without effect in a single one

    config.init = ConfigDict()
    config.init.checkpoint = ""  # a run's directory or a state dict of the paper's code, to start from
    config.init.modalities = "tav"  # whose parts are taken from it

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # adam, adamw or sgd
    optim.lr = 1e-3
    optim.weight_decay = 0.0
    optim.epochs = 20
    optim.early_stop = 0  # epochs without a better mean validation F1; 0 for never
    optim.clip = 2.0  # largest norm of the gradient; 0 for no clipping
    optim.accumulate = 1  # steps whose gradients are averaged for one update
    optim.skip_nonfinite = 0  # steps that may be left out because loss or gradient is not finite; 0 stops the run
    optim.schedule = "cosine"
    optim.loss = "bce"  # bce, ce, mse or l1

    config.evaluation = ConfigDict()
    # Neighbours on either side that count when a threshold is chosen by F1; with so few validation utterances some
    # must. 0 is the paper's search.
    config.evaluation.threshold_smoothing = 3

    config.checkpoint = ConfigDict()
    config.checkpoint.keep_last = 2  # beside the best
    config.checkpoint.every_steps = 500  # beside those at the end of every epoch; 0 for none

    config.log = ConfigDict()
    config.log.every_steps = 10
    config.log.tensorboard = True
    config.log.wandb = ""  # a Weights & Biases project to log to as well; needs `pip install wandb`

    config.mesh = ConfigDict()
    config.mesh.devices = 0  # 0 for all that JAX finds
    return config
