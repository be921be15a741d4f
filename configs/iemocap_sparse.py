"""MESM (sparse) on IEMOCAP.

Command:
  python launch.py --config=configs/iemocap_sparse.py --workdir=RUN
  with --config.data.dir=RECORDS and --config.model.text.dir=ALBERT

The paper's values, except for the teacher (docs/sparse_blocks.md), `sparse_norm_momentum` and `absent`. The paper's
way: docs/from_the_papers_code.md. The paper's row, MESM, p = 0.7, mean over emotions:
accuracy 84.4, F1 57.4, 5.18 GFLOPs of feature extraction per utterance.
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
    data.batch_size = 2  # utterances per step, over all devices
    data.text_max_len = 100  # tokens at which a text is cut
    data.max_shapes = 7  # compiled shapes, and one more for batches that fit none of them
    data.skip_bad = 0  # utterances with unusable records that may be skipped; one more stops the run

    config.model = model = ConfigDict()
    model.name = "mme2e_sparse"
    model.modalities = "tav"
    model.width = 1.0  # CNN channels, relative to the paper's
    model.trans_dim = 64
    model.trans_layers = 4
    model.trans_heads = 4
    model.dropout = 0.1
    model.dtype = "float32"  # or "bfloat16": type of the encoders' computations; parameters stay float32
    model.remat = False  # True computes the towers again for the gradient: less memory, more time
    model.sparse_threshold = 0.7  # share of the attention ("mass") or of the sites ("share") that is kept
    model.sparse_rule = "mass"  # keep the fewest sites that hold the threshold, or ("share") a fixed number of sites
    model.sparse_region = 4  # select regions: 4x4, 2x2 and 1x1 sites in the three stages; 1 for single sites
    model.sparse_once = True  # the first stage selects for all stages; False for each stage by itself
    model.sparse_anneal = 0.5  # share of the epochs after the dense ones over which the threshold falls from 1
    model.sparse_norm_momentum = 0.9  # weight of the old running statistics of sparse blocks; 0.99 in the paper's code
    model.sparse_impl = "auto"  # compute at active sites only ("rows"), or everywhere with masks ("masked")
    model.attention_grad = "none"  # "renormalized" lets the scores of kept sites learn
    model.attention_entropy = 0.0  # weight of a penalty on attention that is spread out
    # Frames without a face, silent sound and empty text add nothing ("mask"), or are read all the same ("paper").
    model.absent = "mask"
    model.text = ConfigDict()
    model.text.size = "base"
    model.text.init = "pretrained"
    model.text.dir = ""  # directory of the ALBERT v2 checkpoint

    config.init = ConfigDict()
    config.init.checkpoint = ""  # directory of a run or shared model, or state dict of the paper's code, to start from
    config.init.modalities = "tav"  # modalities whose weights are taken from it
    config.init.teacher = ""  # dense run whose weights start the model and whose saliency its scores learn

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # optimizer: adam, adamw or sgd
    optim.lr = 5e-5
    optim.weight_decay = 0.0
    optim.text_lr_factor = 10.0  # the text encoder and its head learn at lr / text_lr_factor
    optim.score_lr_factor = 5.0  # the attention scores learn at lr * score_lr_factor
    optim.dense_epochs = 15  # first epochs, with all sites; then the run is its own teacher
    optim.teacher_saliency = 0.1  # weight of the cross-entropy between attention and the teacher's saliency
    optim.saliency_exponent = 1.5  # of the teacher's saliency: higher ones concentrate the attention on fewer sites
    optim.teacher_kd = 0.5  # share of the loss that is the distance from the teacher's logits
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
