"""The paper's dense model in PyTorch, for comparison with ours.

Our own plain code, with the names of the published code's weights, so that `mme2e_jax.weights.torch_weights` converts
them. ALBERT is that of `transformers`, as there.

Axis legend: `b` utterances, `t` items of the longest one, `n` images of all utterances, `c`, `h`, `w` channels, height
and width, `d` features.
"""

# PyTorch is optional.
# pyright: reportMissingImports=false

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertModel

from mme2e_jax.models.mme2e import FACE_MEAN, FACE_STD, IMAGE_SIZE, ModelSpec
from mme2e_jax.models.sequence import FEED_FORWARD
from mme2e_jax.models.towers import HIDDEN, channels


class VGGBlock(nn.Module):
    """Two rounds of 3x3 convolution, batch normalisation, ReLU."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, padding=1), nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Features of images `[n c h w]`."""
        return torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


def _tower(c_in: int, width: float) -> nn.Sequential:
    a, b, c, d = channels(width)
    stem = [nn.Conv2d(c_in, a, 5, padding=2), nn.BatchNorm2d(a), nn.ReLU(), nn.MaxPool2d(2)]
    stages = [layer for sizes in ((a, b), (b, c), (c, d)) for layer in (VGGBlock(*sizes), nn.MaxPool2d(2))]
    return nn.Sequential(*stem, VGGBlock(a, a), VGGBlock(a, a), *stages)


class SequenceEncoder(nn.Module):
    """Post-norm transformer layers, read at a learned CLS vector."""

    def __init__(self, d: int, layers: int, heads: int, dropout: float):
        super().__init__()
        layer = nn.TransformerEncoderLayer(d, heads, FEED_FORWARD, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.cls_emb = nn.Embedding(1, d)

    def forward(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """One vector per utterance `[b d]` of the vectors `[n d]` of its images."""
        padded = nn.utils.rnn.pad_sequence(list(x.split(list(lengths))), batch_first=True)
        padded = torch.cat([self.cls_emb.weight.expand(len(lengths), 1, -1), padded], dim=1)
        position = torch.arange(padded.shape[1], device=x.device)
        padding = position[None] > torch.tensor(lengths, device=x.device)[:, None]
        return self.encoder(padded, src_key_padding_mask=padding)[:, 0]


class _Text(nn.Module):
    def __init__(self, spec: ModelSpec):
        super().__init__()
        size = spec.text
        config = AlbertConfig(
            vocab_size=spec.vocabulary,
            embedding_size=size.embedding,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            hidden_act="gelu_new",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        self.albert = AlbertModel(config, add_pooling_layer=False)


class TorchMME2E(nn.Module):
    """Text, faces and speech to emotion logits, dense."""

    face_mean: Tensor
    face_std: Tensor

    def __init__(self, spec: ModelSpec):
        super().__init__()
        self.T = _Text(spec)
        self.V, self.A = _tower(3, spec.width), _tower(1, spec.width)
        self.v_flatten, self.a_flatten = (_head(m, spec) for m in "va")
        d, sequence = spec.trans_dim, (spec.trans_dim, spec.trans_layers, spec.trans_heads, spec.dropout)
        self.v_transformer, self.a_transformer = SequenceEncoder(*sequence), SequenceEncoder(*sequence)
        self.t_out = nn.Linear(spec.text.hidden, spec.labels)
        self.v_out, self.a_out = nn.Linear(d, spec.labels), nn.Linear(d, spec.labels)
        self.weighted_fusion = nn.Linear(3, 1, bias=False)
        self.register_buffer("face_mean", torch.tensor(FACE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("face_std", torch.tensor(FACE_STD).view(1, 3, 1, 1), persistent=False)

    def forward(
        self,
        token_ids: Tensor,
        token_mask: Tensor,
        faces: Tensor,
        frames: Sequence[int],
        mel: Tensor,
        chunks: Sequence[int],
    ) -> Tensor:
        """Logits `[b l]`.

        Args:
          token_ids: token numbers, int64 `[b t]`.
          token_mask: 1 for tokens, 0 for padding, `[b t]`.
          faces: face crops of all utterances, uint8 `[n 3 h w]`.
          frames: number of frames of each utterance, at least 1.
          mel: mel chunks of all utterances, float32 `[n 1 h w]`.
          chunks: number of mel chunks of each utterance, at least 1.
        """
        text = self.T.albert(token_ids, attention_mask=token_mask).last_hidden_state[:, 0]
        faces = (faces.float() - self.face_mean) / self.face_std
        v = self.v_transformer(self.v_flatten(self.V(faces).flatten(1)), frames)
        a = self.a_transformer(self.a_flatten(self.A(mel).flatten(1)), chunks)
        logits = torch.stack([self.t_out(text), self.v_out(v), self.a_out(a)], dim=-1)
        return self.weighted_fusion(logits)[..., 0]


def _head(m: str, spec: ModelSpec) -> nn.Sequential:
    h, w, _ = IMAGE_SIZE[m]
    features = h // 16 * (w // 16) * channels(spec.width)[3]
    return nn.Sequential(nn.Linear(features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, spec.trans_dim))
