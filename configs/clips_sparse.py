"""MESM (sparse) on your own clips, small and from scratch.

Command: `python launch.py --config=configs/clips_sparse.py --config.data.dir=RECORDS --workdir=RUN`
How to prepare the records, and how to use ALBERT: docs/your_own_data.md. For some hundred utterances and a laptop: the
model and its training are those of `mini_sparse`, which its own dense phase teaches. All batches have one padded shape,
so each program is compiled once.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """All values of the experiment."""
    config = ConfigDict()
    config.seed = 0  # fixes initial values, order and dropout
    config.profile = ""  # "START:STOP" traces these steps for TensorBoard or XProf

    config.data = data = ConfigDict()
    data.dataset = "clips"  # name of the corpus; the labels of clips are those of the records
    data.dir = "records/clips"  # prepared records
    data.batch_size = 8  # utterances per step, over all devices
    data.text_max_len = 100  # tokens at which a text is cut
    data.max_shapes = 1  # compiled shapes; several pay off with thousands of utterances of different lengths
    data.skip_bad = 0  # utterances with unusable records that may be skipped; one more stops the run

    config.model = model = ConfigDict()
    model.name = "mme2e_sparse"  # mme2e_sparse is MESM, mme2e FE2E, lf_rnn LF-LSTM, lf_transformer LF-TRANS
    model.modalities = "tav"  # text, audio and video, or some of them
    model.width = 0.125  # CNN channels, relative to the paper's
    model.trans_dim = 64  # width of the transformers over frames and mel chunks
    model.trans_layers = 2  # layers of these transformers
    model.trans_heads = 4  # attention heads of these transformers
    model.dropout = 0.1  # share of values that training sets to 0
    model.dtype = "float32"  # or "bfloat16": type of the encoders' computations; parameters stay float32
    model.remat = False  # True computes the towers again for the gradient: less memory, more time
    model.sparse_threshold = 0.5  # share of the attention ("mass") or of the sites ("share") that is kept
    model.sparse_rule = "mass"  # keep the fewest sites that hold the threshold, or ("share") a fixed number of sites
    model.sparse_region = 4  # select regions: 4x4, 2x2 and 1x1 sites in the three stages; 1 for single sites
    model.sparse_once = True  # the first stage selects for all stages; False for each stage by itself
    model.sparse_anneal = 0.5  # share of the epochs after the dense ones over which the threshold falls from 1
    model.sparse_norm_momentum = 0.9  # weight of the old running statistics of sparse blocks; 0.99 in the paper's code
    # Compute at active sites only ("rows"), or everywhere with masks ("masked"): one program at all thresholds. "auto"
    # selects by threshold and backend.
    model.sparse_impl = "masked"
    model.attention_grad = "none"  # "renormalized" lets the scores of kept sites learn
    model.attention_entropy = 0.0  # weight of a penalty on attention that is spread out
    # Frames without a face, silent sound and empty text add nothing ("mask"), or are read all the same ("paper").
    model.absent = "mask"
    model.text = ConfigDict()
    model.text.size = "tiny"  # size of ALBERT: tiny, base, large or xlarge
    model.text.init = "random"  # or "pretrained": initial values of ALBERT
    model.text.dir = ""  # directory of the ALBERT v2 checkpoint, if it is pretrained

    config.init = ConfigDict()
    config.init.checkpoint = ""  # directory of a run or shared model, or state dict of the paper's code, to start from
    config.init.modalities = "tav"  # modalities whose weights are taken from it
    config.init.teacher = ""  # dense run whose weights start the model and whose saliency its scores learn

    config.optim = optim = ConfigDict()
    optim.name = "adam"  # optimizer: adam, adamw or sgd
    optim.lr = 1e-3  # learning rate
    optim.weight_decay = 0.0  # strength of the weight decay, as in torch
    optim.text_lr_factor = 5.0  # the text encoder and its head learn at lr / text_lr_factor
    optim.score_lr_factor = 5.0  # the attention scores learn at lr * score_lr_factor
    optim.dense_epochs = 18  # first epochs, with all sites; then the run is its own teacher
    optim.teacher_saliency = 0.1  # weight of the cross-entropy between attention and the teacher's saliency
    optim.saliency_exponent = 0.5  # of the teacher's saliency: higher ones concentrate the attention on fewer sites
    optim.teacher_kd = 0.5  # share of the loss that is the distance from the teacher's logits
    optim.epochs = 26  # passes over the training split
    optim.early_stop = 0  # epochs without a better mean validation F1; 0 for never
    optim.clip = 1.0  # largest norm of the gradient; 0 for no clipping
    optim.accumulate = 1  # steps whose gradients are averaged for one update
    optim.skip_nonfinite = 0  # steps with a non-finite loss or gradient that may be skipped; 0 stops the run
    optim.schedule = "cosine"  # the learning rate falls to 0; or "constant"
    optim.loss = "bce"  # training loss: bce, ce, mse or l1

    config.evaluation = ConfigDict()
    # Neighbours on either side that are averaged when a threshold is chosen by F1, for small validation splits.
    # 0 is the paper's search.
    config.evaluation.threshold_smoothing = 3

    config.checkpoint = ConfigDict()
    config.checkpoint.keep_last = 2  # last checkpoints that are kept, in addition to the best
    config.checkpoint.every_steps = 500  # steps between checkpoints, in addition to those of epochs; 0 for none

    config.log = ConfigDict()
    config.log.every_steps = 10  # steps between logged values
    config.log.tensorboard = True  # write curves for TensorBoard
    config.log.wandb = ""  # Weights & Biases project to log to; needs `pip install wandb`

    config.mesh = ConfigDict()
    config.mesh.devices = 0  # number of devices; 0 for all
    return config
