"""LF-LSTM (baseline on hand-crafted features) on IEMOCAP.

Command:
  python launch.py --config=configs/iemocap_lf_rnn.py --workdir=RUN
  with --config.data.dir=RECORDS, records made with --kind=features

The paper's values. Its row, LF-LSTM, mean over emotions:
accuracy 71.8, F1 49.5.
Hardware: one GPU, or a CPU with patience.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All values of the experiment."""
    config = ConfigDict()
    config.seed = 0
    config.profile = ""  # "START:STOP" traces these steps for TensorBoard or XProf

    config.data = data = ConfigDict()
    data.dataset = "iemocap"
    data.dir = "records/iemocap-features"  # prepared records
    data.batch_size = 32  # utterances per step, over all devices
    data.text_max_len = 100  # rows of text features, one for each word
    data.max_shapes = 7  # compiled shapes, and one more for what no sampled batch needed
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
    optim.lr = 5e-4
    optim.weight_decay = 0.0
    optim.epochs = 60
    optim.early_stop = 8  # epochs without a better mean validation F1; 0 for never
    optim.clip = 2.0  # largest norm of the gradient; 0 for no clipping
    optim.accumulate = 1  # steps whose gradients are averaged for one update
    optim.skip_nonfinite = 0  # steps that may be left out because loss or gradient is not finite; 0 stops the run
    optim.schedule = "constant"
    optim.loss = "bce"  # bce, ce, mse or l1

    config.evaluation = ConfigDict()
    # Thresholds on either side that count when one is chosen by F1. 0 is the paper's search.
    config.evaluation.threshold_smoothing = 0

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
