"""Transformer blocks and stacks against torch: outputs, every gradient, ten Adam steps."""

import numpy as np
import pytest
import torch

from scratchaudio.nn import (
    GELU,
    Adam,
    DecoderBlock,
    EncoderBlock,
    ReLU,
    Transformer,
    TransformerDecoder,
    TransformerEncoder,
    causal_mask,
    mse,
    padding_mask,
)

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:enable_nested_tensor"),  # a fast path that is not for us
]

DTYPES = [(np.float32, 1e-5), (np.float64, 1e-10)]
FORMS = [
    (norm_first, act) for norm_first in (False, True) for act in ((ReLU, "relu"), (GELU, "gelu"))
]
B, T, S, D, H, D_FF, N_LAYERS = 3, 7, 5, 12, 4, 17, 2


def close(ours, theirs, tolerance, name):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    assert ours.dtype == theirs.dtype, name
    error = np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())
    assert error <= tolerance, f"{name} differs by {error:.1e}"


# Our parameters under torch's names --------------------------------------------------------------


def attention_names(layer, prefix, get):
    W, b = (
        [get(getattr(part, name)) for part in (layer.query, layer.key, layer.value)]
        for name in ("W", "b")
    )
    yield f"{prefix}.in_proj_weight", np.concatenate(W, axis=1).T
    yield f"{prefix}.in_proj_bias", np.concatenate(b)
    yield from linear_names(layer.output, f"{prefix}.out_proj", get)


def linear_names(layer, prefix, get):
    yield f"{prefix}.weight", get(layer.W).T
    yield f"{prefix}.bias", get(layer.b)


def norm_names(layer, prefix, get):
    yield f"{prefix}.weight", get(layer.gamma)
    yield f"{prefix}.bias", get(layer.beta)


def names(layer, prefix, get):
    """Yield (torch's name, our array) of every parameter."""
    if isinstance(layer, Transformer):
        yield from names(layer.encoder, f"{prefix}encoder.", get)
        yield from names(layer.decoder, f"{prefix}decoder.", get)
    elif isinstance(layer, TransformerEncoder | TransformerDecoder):
        for index, block in enumerate(layer.blocks):
            yield from names(block, f"{prefix}layers.{index}.", get)
        if layer.norm:
            yield from norm_names(layer.norm, f"{prefix}norm", get)
    else:
        if isinstance(layer, EncoderBlock):
            yield from attention_names(layer.attention, f"{prefix}self_attn", get)
        else:
            yield from attention_names(layer.self_attention, f"{prefix}self_attn", get)
            yield from attention_names(layer.cross_attention, f"{prefix}multihead_attn", get)
            yield from norm_names(layer.norm3, f"{prefix}norm3", get)
        yield from norm_names(layer.norm1, f"{prefix}norm1", get)
        yield from norm_names(layer.norm2, f"{prefix}norm2", get)
        yield from linear_names(layer.feed_forward.layers[0], f"{prefix}linear1", get)
        yield from linear_names(layer.feed_forward.layers[3], f"{prefix}linear2", get)


# Pairs -------------------------------------------------------------------------------------------


def torch_layer(kind, norm_first, activation, tdtype):
    """Torch's layer for each of ours, without dropout."""
    options = {
        "dim_feedforward": D_FF,
        "dropout": 0.0,
        "activation": activation,
        "norm_first": norm_first,
        "batch_first": True,
        "dtype": tdtype,
    }
    nn = torch.nn

    def norm():
        return nn.LayerNorm(D, dtype=tdtype) if norm_first else None

    def encoder():
        block = nn.TransformerEncoderLayer(D, H, **options)
        return nn.TransformerEncoder(block, N_LAYERS, norm(), enable_nested_tensor=False)

    def decoder():
        return nn.TransformerDecoder(nn.TransformerDecoderLayer(D, H, **options), N_LAYERS, norm())

    if kind is EncoderBlock:
        return nn.TransformerEncoderLayer(D, H, **options)
    if kind is DecoderBlock:
        return nn.TransformerDecoderLayer(D, H, **options)
    if kind is TransformerEncoder:
        return encoder()
    if kind is TransformerDecoder:
        return decoder()
    # torch ends post-norm stacks with one more norm; ours does not, as the paper
    custom = {} if norm_first else {"custom_encoder": encoder(), "custom_decoder": decoder()}
    return nn.Transformer(D, H, N_LAYERS, N_LAYERS, **options, **custom)


def pair(kind, form, dtype):
    norm_first, (activation, their_activation) = form
    rng = np.random.default_rng(0)
    sizes = () if kind in (EncoderBlock, DecoderBlock) else (N_LAYERS,)
    ours = kind(D, H, *sizes, D_FF, 0.0, activation, norm_first, rng=rng).astype(dtype)
    for parameter in ours.parameters():
        parameter.value += (0.1 * rng.standard_normal(parameter.value.shape)).astype(dtype)
    tdtype = torch.float32 if dtype is np.float32 else torch.float64
    theirs = torch_layer(kind, norm_first, their_activation, tdtype)
    given = dict(names(ours, "", lambda p: p.value))
    assert given.keys() == dict(theirs.named_parameters()).keys()
    with torch.no_grad():
        for name, value in given.items():
            theirs.get_parameter(name).copy_(torch.from_numpy(value.copy()))
    return ours, theirs, rng


def masks_and_inputs(kind, masked, dtype, rng):
    """Inputs, our keywords and torch's: a causal mask for the target, padding for the source."""
    x, memory = (rng.standard_normal((B, n, D)).astype(dtype) for n in (T, S))
    causal = causal_mask(T)
    tcausal = torch.from_numpy(~causal)
    padding, tpadding = (
        (mask, torch.from_numpy(~mask[:, 0]))
        for mask in (padding_mask([n, 1, 3], n) for n in (T, S))
    )
    if kind in (EncoderBlock, TransformerEncoder):
        if not masked:
            return [x], {}, {}
        both = causal & padding[0]
        name = "src_mask" if kind is EncoderBlock else "mask"
        return [x], {"mask": both}, {name: tcausal, "src_key_padding_mask": padding[1]}
    target = {"tgt_mask": tcausal}  # ours is causal by itself
    if kind is Transformer:
        if not masked:
            return [memory, x], {}, target
        mask, tmask = tpadding
        theirs = {"src_key_padding_mask": tmask, "memory_key_padding_mask": tmask}
        theirs["tgt_key_padding_mask"] = padding[1]
        ours = {"source_mask": mask, "target_mask": causal & padding[0]}
        return [memory, x], ours, target | theirs
    if not masked:
        return [x, memory], {}, target
    ours = {"mask": causal & padding[0], "memory_mask": tpadding[0]}
    theirs = {"tgt_key_padding_mask": padding[1], "memory_key_padding_mask": tpadding[1]}
    return [x, memory], ours, target | theirs


KINDS = [EncoderBlock, DecoderBlock, TransformerEncoder, TransformerDecoder, Transformer]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_outputs_and_all_gradients(dtype, tolerance, kind, form, masked):
    ours, theirs, rng = pair(kind, form, dtype)
    inputs, keywords, tkeywords = masks_and_inputs(kind, masked, dtype, rng)
    tensors = [torch.from_numpy(x.copy()).requires_grad_() for x in inputs]
    y, ty = ours.forward(*inputs, **keywords), theirs(*tensors, **tkeywords)
    close(y, ty, tolerance, "y")
    dy = rng.standard_normal(y.shape).astype(dtype)
    ty.backward(torch.from_numpy(dy.copy()))
    dx = ours.backward(dy)
    for got, expected in zip(dx if len(inputs) > 1 else [dx], tensors, strict=True):
        close(got, expected.grad, tolerance, "dx")
    for name, grad in names(ours, "", lambda p: p.grad):
        close(grad, theirs.get_parameter(name).grad, tolerance, name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_ten_adam_steps(dtype, tolerance, kind, form):
    """The keys' bias has gradient 0 up to rounding, which Adam would blow up to a step of lr.

    It stays frozen on both sides; it changes nothing, see `MultiHeadAttention`.
    """
    ours, theirs, rng = pair(kind, form, dtype)
    inputs, keywords, tkeywords = masks_and_inputs(kind, True, dtype, rng)
    tensors = [torch.from_numpy(x.copy()) for x in inputs]
    target = rng.standard_normal((B, T, D)).astype(dtype)
    ttarget = torch.from_numpy(target)
    # eps well above rounding: else a gradient near 0 gets a step of +-lr by the sign of its error
    settings = {"lr": 0.01, "eps": 1e-3}
    named = dict(ours.named_parameters())
    optimizer = Adam([p for name, p in named.items() if not name.endswith("key.b")], **settings)
    toptimizer = torch.optim.Adam(theirs.parameters(), **settings)
    for _ in range(10):
        ours.zero_grad()
        loss, dy = mse(ours.forward(*inputs, **keywords), target)
        ours.backward(dy)
        optimizer.step()
        toptimizer.zero_grad()
        tloss = torch.nn.functional.mse_loss(theirs(*tensors, **tkeywords), ttarget)
        tloss.backward()
        for name, parameter in theirs.named_parameters():
            if name.endswith("in_proj_bias"):
                parameter.grad[D : 2 * D] = 0
        toptimizer.step()
        assert abs(loss - tloss.item()) <= tolerance * abs(tloss.item())
    for name, value in names(ours, "", lambda p: p.value):
        close(value, theirs.get_parameter(name), tolerance, name)
