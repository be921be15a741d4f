"""FE2E (dense) on IEMOCAP.

Command:
  python launch.py --config=configs/iemocap_dense.py --workdir=RUN
  with --config.data.dir=RECORDS and --config.model.text.dir=ALBERT

The paper's values, except for `absent` (docs/from_the_papers_code.md). Its row, FE2E, mean over emotions:
accuracy 84.5, F1 58.8, 8.65 GFLOPs of feature extraction per utterance.
Hardware: one GPU of 16 GB or more; the paper trained the dense model with batches of 8, the sparse one with 2.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All values of the experiment."""
    config = ConfigDict()
    config.seed = 0
    config.profile = ""  # "START:STOP" traces these steps for TensorBoard or XProf

    config.data = data = ConfigDict()
    data.dataset = "iemocap"
    data.dir = "records/iemocap"  # prepared records
    data.batch_size = 8  # utterances per step, over all devices
    data.text_max_len = 100  # tokens at which a text is cut
    data.max_shapes = 7  # compiled shapes, and one more for batches that fit none of them
    data.skip_bad = 0  # utterances with unusable records that may be skipped; one more stops the run

    config.model = model = ConfigDict()
    model.name = "mme2e"
    model.modalities = "tav"
    model.width = 1.0  # CNN channels, relative to the paper's
    model.trans_dim = 64
    model.trans_layers = 4
    model.trans_heads = 4
    model.dropout = 0.1
    model.dtype = "float32"  # or "bfloat16": type of the encoders' computations; parameters stay float32
    model.remat = False  # True computes the towers again for the gradient: less memory, more time
    # Frames without a face, silent sound and empty text add nothing ("mask"), or are read all the same ("paper").
    model.absent = "mask"
    model.text = ConfigDict()
    model.text.size = "base"
    model.text.init = "pretrained"
    model.text.dir = ""  # directory of the ALBERT v2 checkpoint

    config.init = ConfigDict()
    config.init.checkpoint = ""  # directory of a run or shared model, or state dict of the paper's code, to start from
    config.init.modalities = "tav"  # modalities whose weights are taken from it

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # optimizer: adam, adamw or sgd
    optim.lr = 5e-5
    optim.weight_decay = 0.0
    optim.text_lr_factor = 10.0  # the text encoder and its head learn at lr / text_lr_factor
    optim.epochs = 40
    optim.early_stop = 6  # epochs without a better mean validation F1; 0 for never
    optim.clip = 0.0  # largest norm of the gradient; 0 for no clipping
    optim.accumulate = 1  # steps whose gradients are averaged for one update
    optim.skip_nonfinite = 0  # steps with a non-finite loss or gradient that may be skipped; 0 stops the run
    optim.schedule = "constant"
    optim.loss = "bce"  # training loss: bce, ce, mse or l1

    config.evaluation = ConfigDict()
    # Neighbours on either side that are averaged when a threshold is chosen by F1. 0 is the paper's search.
    config.evaluation.threshold_smoothing = 0

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
