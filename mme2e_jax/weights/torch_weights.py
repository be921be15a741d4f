"""Converts torch weights to ours by an explicit table of rules.

Covers the state dicts of the published paper code (`T.albert.`, `V.`, `A.`, ...; for its baselines `rnns.`,
`transformers.`, `affines.`) and ALBERT from the Hugging Face hub. One error reports everything that does not match.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mme2e_jax.errors import UserError
from mme2e_jax.models.albert import SIZES
from mme2e_jax.models.late_fusion import LateFusionSpec
from mme2e_jax.models.mme2e import ModelSpec
from mme2e_jax.models.recurrent import RecurrentSpec
from mme2e_jax.models.variables import Spec


class Rule(NamedTuple):
    """The path of a tensor in our models, and the conversion of its axes."""

    path: str
    convert: Callable[[np.ndarray], np.ndarray] = np.asarray


Rules = dict[str, Rule]
first = operator.itemgetter(0)
_SCORES = "attn_layers"  # torch's name of a sparse tower's scores, one layer per stage


def image_kernel(x: np.ndarray) -> np.ndarray:
    return x.transpose(2, 3, 1, 0)


def submanifold_kernel(x: np.ndarray) -> np.ndarray:
    # From SparseConvNet's [9, 1, in, out], taps row by row.
    return x.reshape(3, 3, *x.shape[2:])


def _linear(theirs: str, ours: str, bias: bool = True) -> Rules:
    rules = {f"{theirs}.weight": Rule(f"{ours}/kernel", np.transpose)}
    return rules | ({f"{theirs}.bias": Rule(f"{ours}/bias")} if bias else {})


def _conv(theirs: str, ours: str) -> Rules:
    return {f"{theirs}.weight": Rule(f"{ours}/kernel", image_kernel), f"{theirs}.bias": Rule(f"{ours}/bias")}


def _layer_norm(theirs: str, ours: str) -> Rules:
    return {f"{theirs}.weight": Rule(f"{ours}/scale"), f"{theirs}.bias": Rule(f"{ours}/bias")}


def _batch_norm(theirs: str, ours: str) -> Rules:
    statistics = {f"{theirs}.running_{name}": Rule(f"{ours}/{name}") for name in ("mean", "var")}
    return _layer_norm(theirs, ours) | statistics


def _vgg(theirs: str, ours: str) -> Rules:
    return _join(
        _conv(f"{theirs}.conv{k}", f"{ours}/conv{k}") | _batch_norm(f"{theirs}.bn{k}", f"{ours}/norm{k}")
        for k in (1, 2)
    )


def _join(parts: Iterable[Rules]) -> Rules:
    return {name: rule for part in parts for name, rule in part.items()}


def albert_rules(theirs: str = "") -> Rules:
    """Rules for ALBERT with one layer group; `theirs` is the prefix of torch's names."""
    ours = "text/"
    layer = f"{theirs}encoder.albert_layer_groups.0.albert_layers.0."
    dense = {
        "attention.query": "query",
        "attention.key": "key",
        "attention.value": "value",
        "attention.dense": "attention_out",
        "ffn": "up",
        "ffn_output": "down",
    }
    tables = ("word", "position", "token_type")
    return _join(
        [
            {f"{theirs}embeddings.{name}_embeddings.weight": Rule(ours + name) for name in tables},
            _layer_norm(f"{theirs}embeddings.LayerNorm", f"{ours}embedding_norm"),
            _linear(f"{theirs}encoder.embedding_hidden_mapping_in", f"{ours}embedding_out"),
            *(_linear(layer + a, f"{ours}layer/{b}") for a, b in dense.items()),
            _layer_norm(f"{layer}attention.LayerNorm", f"{ours}layer/attention_norm"),
            _layer_norm(f"{layer}full_layer_layer_norm", f"{ours}layer/norm"),
        ]
    )


def _tower(m: str, sparse: bool, score_layers: int) -> Rules:
    theirs, ours = m.upper(), f"towers/{m}"
    low = f"{theirs}.low_level" if sparse else theirs
    parts = [
        _conv(f"{low}.0", f"{ours}/low_level/conv"),
        _batch_norm(f"{low}.1", f"{ours}/low_level/norm"),
        _vgg(f"{low}.4", f"{ours}/low_level/block1"),
        _vgg(f"{low}.5", f"{ours}/low_level/block2"),
        _linear(f"{m}_flatten.0", f"{ours}/head/hidden"),
        _linear(f"{m}_flatten.2", f"{ours}/head/out"),
    ]
    for k in range(3):
        block = f"{ours}/blocks/{k}"
        if not sparse:
            parts.append(_vgg(f"{theirs}.{6 + 2 * k}", block))
            continue
        layers, scores = f"{theirs}.sparse_layers.{k}.0", f"{theirs}.{_SCORES}.{k}"
        parts += [
            {f"{layers}.0.weight": Rule(f"{block}/kernel1", submanifold_kernel)},
            _batch_norm(f"{layers}.1", f"{block}/norm1"),
            {f"{layers}.2.weight": Rule(f"{block}/kernel2", submanifold_kernel)},
            _batch_norm(f"{layers}.3", f"{block}/norm2"),
        ]
        if k < score_layers:
            parts += [
                _linear(f"{scores}.channel_affine", f"{ours}/scores/{k}/image"),
                _linear(f"{scores}.y_affine", f"{ours}/scores/{k}/text", bias=False),
                _linear(f"{scores}.attn_weight_affine", f"{ours}/scores/{k}/score"),
            ]
    return _join(parts)


def _sequence(theirs: str, ours: str, layers: int) -> Rules:
    parts: list[Rules] = [{f"{theirs}.cls_emb.weight": Rule(f"{ours}/cls", first)}]
    for k in range(layers):
        a, b = f"{theirs}.encoder.layers.{k}.", f"{ours}/layers/{k}/"
        parts += [
            {
                f"{a}self_attn.in_proj_weight": Rule(f"{b}qkv/kernel", np.transpose),
                f"{a}self_attn.in_proj_bias": Rule(f"{b}qkv/bias"),
            },
            _linear(f"{a}self_attn.out_proj", f"{b}attention_out"),
            _linear(f"{a}linear1", f"{b}up"),
            _linear(f"{a}linear2", f"{b}down"),
            _layer_norm(f"{a}norm1", f"{b}norm1"),
            _layer_norm(f"{a}norm2", f"{b}norm2"),
        ]
    return _join(parts)


def _recurrent(theirs: str, ours: str, spec: RecurrentSpec) -> Rules:
    directions = {"": "forward"} | ({"_reverse": "backward"} if spec.bidirectional else {})
    rules: Rules = {}
    for k in range(spec.layers):
        for suffix, direction in directions.items():
            for a, b in (("ih", "input"), ("hh", "hidden")):
                path = f"{ours}/layers/{k}/{direction}/{b}"
                rules[f"{theirs}.weight_{a}_l{k}{suffix}"] = Rule(f"{path}/kernel", np.transpose)
                rules[f"{theirs}.bias_{a}_l{k}{suffix}"] = Rule(f"{path}/bias")
    return rules


def paper_rules(spec: Spec) -> Rules:
    """Rules for the paper code's model that a spec describes."""
    parts = _end_to_end(spec) if isinstance(spec, ModelSpec) else _late_fusion(spec)
    if len(spec.modalities) > 1:
        parts.append({"weighted_fusion.weight": Rule("fusion", first)})
    return _join(parts)


def _end_to_end(spec: ModelSpec) -> list[Rules]:
    parts = [albert_rules("T.albert.")] if "t" in spec.modalities else []
    for m in spec.modalities:
        parts.append(_linear(f"{m}_out", f"heads/{m}"))
        if m != "t":
            sequence = _sequence(f"{m}_transformer", f"sequences/{m}", spec.trans_layers)
            parts += [_tower(m, spec.sparse, 1 if spec.selection.once else 3), sequence]
    return parts


def _late_fusion(spec: LateFusionSpec) -> list[Rules]:
    parts = []
    for m in spec.modalities:
        parts += [_linear(f"affines.{m}.0", f"heads/{m}/hidden"), _linear(f"affines.{m}.2", f"heads/{m}/out")]
        if isinstance(spec.encoder, RecurrentSpec):
            parts.append(_recurrent(f"rnns.{m}", f"sequences/{m}", spec.encoder))
        else:
            parts.append(_sequence(f"transformers.{m}", f"sequences/{m}", spec.encoder.layers))
    return parts


def convert(
    tensors: Mapping[str, np.ndarray], rules: Rules, source: str, shapes: Mapping[str, Sequence[int]] | None = None
) -> dict[str, np.ndarray]:
    """Converts exactly the tensors of the rules, by torch name, float32 or float64, to float32 arrays by our paths.

    `source` names their origin, `shapes` the expected shapes by our paths (None for any). Raises `UserError` with all
    names, dtypes and shapes that do not match.
    """
    missing, unknown = sorted(rules.keys() - tensors.keys()), sorted(tensors.keys() - rules.keys())
    problems = []
    if missing or unknown:
        problems += [f"missing: {', '.join(missing) or 'nothing'}", f"unknown: {', '.join(unknown) or 'nothing'}"]
        if any(f".{_SCORES}." in name for name in unknown):
            problems.append(
                "these weights select sites in each stage, as the paper does, and this config once for all: add "
                "--config.model.sparse_region=1 --config.model.sparse_once=False"
            )
    known = {name: tensors[name] for name in sorted(rules.keys() & tensors.keys())}
    for dtype in sorted({str(x.dtype) for x in known.values()} - {"float32", "float64"}):
        names = [name for name, x in known.items() if str(x.dtype) == dtype]
        problems.append(
            f"expected float32 or float64, found {dtype} in {len(names)} tensors, {names[0]} first: save in float32"
        )
    wrong = _wrong_shapes(known, rules, shapes) if shapes is not None else {}
    if wrong:
        differences = "; ".join(f"{name}: expected {a}, found {b}" for name, (a, b) in wrong.items())
        problems.append(f"of another shape (axes in our order): {differences}")
        if any(rules[name].path.startswith("text/") for name in wrong):
            problems += _size_hint(tensors)
    if problems:
        raise UserError(f"{source} does not hold the weights that were expected.\n  " + "\n  ".join(problems))
    with np.errstate(over="ignore"):
        arrays = {rules[name].path: np.asarray(rules[name].convert(x), np.float32) for name, x in known.items()}
    nonfinite = [name for name in known if not np.all(np.isfinite(arrays[rules[name].path]))]
    if nonfinite:
        raise UserError(f"{source} holds values that are not finite in float32, in {', '.join(nonfinite)}.")
    return arrays


def _wrong_shapes(
    tensors: Mapping[str, np.ndarray], rules: Rules, shapes: Mapping[str, Sequence[int]]
) -> dict[str, tuple[Sequence[int], Sequence[int]]]:
    wrong = {}
    for name, x in tensors.items():
        expected = tuple(shapes[rules[name].path])
        try:
            found = rules[name].convert(x).shape
        except (ValueError, IndexError):  # the number of axes is wrong
            found = x.shape
        if found != expected:
            wrong[name] = expected, found
    return wrong


def _size_hint(tensors: Mapping[str, np.ndarray]) -> list[str]:
    """Names the size of the ALBERT that a state dict holds, if it is a known one."""
    word, hidden, up = (
        next((x.shape for k, x in tensors.items() if k.endswith(f"{name}.weight") and x.ndim == 2), (0, 0))
        for name in ("embeddings.word_embeddings", "encoder.embedding_hidden_mapping_in", "albert_layers.0.ffn")
    )
    return [
        f"its text encoder looks like ALBERT {size}: --config.model.text.size={size}"
        for size, a in SIZES.items()
        if (a.embedding, a.hidden, a.feed_forward) == (word[1], hidden[0], up[0])
    ]
