"""Attention and layer norm against torch: values and every gradient, float32 and float64."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratchaudio.nn import (
    LayerNorm,
    MultiHeadAttention,
    causal_mask,
    padding_mask,
    scaled_dot_product_attention,
)

pytestmark = pytest.mark.peers

DTYPES = [(np.float32, 1e-5), (np.float64, 1e-10)]
B, T, S, D, H = 3, 7, 5, 12, 4


def close(ours, theirs, tolerance, name):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, name
    assert ours.dtype == theirs.dtype, name
    error = np.abs(ours - theirs).max() / max(1, np.abs(theirs).max())
    assert error <= tolerance, f"{name} differs by {error:.1e}"


def tensor(array):
    return torch.from_numpy(array.copy()).requires_grad_()


def drawn(dtype, *shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("kind", ["none", "causal", "padding", "both"])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_scaled_dot_product_attention(dtype, tolerance, kind):
    """Our mask has the polarity of torch's function."""
    q, k, v = drawn(dtype, (B, H, T, D), (B, H, T, D), (B, H, T, S))
    padding = padding_mask([T, 1, 4], T)[:, None]
    mask = {
        "none": None,
        "causal": causal_mask(T),
        "padding": padding,
        "both": causal_mask(T) & padding,
    }[kind]
    y, _ = scaled_dot_product_attention(q, k, v, mask)
    tmask = None if mask is None else torch.from_numpy(mask)
    tensors = (torch.from_numpy(array) for array in (q, k, v))
    close(y, F.scaled_dot_product_attention(*tensors, attn_mask=tmask), tolerance, "y")


def pair(dtype):
    """Our layer and torch's with the same weights, none of them at its initial value."""
    rng = np.random.default_rng(1)
    ours = MultiHeadAttention(D, H, rng=rng).astype(dtype)
    for parameter in ours.parameters():
        parameter.value += (0.2 * rng.standard_normal(parameter.value.shape)).astype(dtype)
    theirs = torch.nn.MultiheadAttention(D, H, batch_first=True).to(torch.tensor(ours.key.W.value))
    with torch.no_grad():
        for name, value in torch_names(ours, "value").items():
            theirs.get_parameter(name).copy_(torch.from_numpy(value))
    return ours, theirs


def torch_names(layer, attribute):
    """Our values or gradients under torch's names: W transposed, three projections in one."""
    W, b = (
        [getattr(getattr(part, name), attribute) for part in (layer.query, layer.key, layer.value)]
        for name in ("W", "b")
    )
    return {
        "in_proj_weight": np.concatenate(W, axis=1).T,
        "in_proj_bias": np.concatenate(b),
        "out_proj.weight": getattr(layer.output.W, attribute).T,
        "out_proj.bias": getattr(layer.output.b, attribute),
    }


@pytest.mark.parametrize("kind", ["none", "causal", "padding", "both"])
@pytest.mark.parametrize("form", ["self", "cross"])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_multi_head_attention(dtype, tolerance, form, kind):
    """torch's MultiheadAttention masks with True where nobody may look: the other way round."""
    ours, theirs = pair(dtype)
    x, memory, dy = drawn(dtype, (B, T, D), (B, S, D), (B, T, D))
    tx, tmemory = tensor(x), tensor(memory)
    source = x if form == "self" else memory
    n = source.shape[1]
    padding = padding_mask([n, 1, 3], n)
    causal = np.tri(T, n, dtype=bool)
    keywords, mask = {}, None
    if kind in ("causal", "both"):
        keywords["attn_mask"], mask = torch.from_numpy(~causal), causal
    if kind in ("padding", "both"):
        keywords["key_padding_mask"] = torch.from_numpy(~padding[:, 0])
        mask = padding if mask is None else mask & padding
    tsource = tx if form == "self" else tmemory
    ty, tA = theirs(tx, tsource, tsource, average_attn_weights=False, **keywords)
    weights = []
    y = ours.forward(x, None if form == "self" else memory, mask, weights)
    close(y, ty, tolerance, "y")
    close(weights[0], tA, tolerance, "weights")

    ty.backward(torch.from_numpy(dy.copy()))
    if form == "self":
        close(ours.backward(dy), tx.grad, tolerance, "dx")
    else:
        dx, dmemory = ours.backward(dy)
        close(dx, tx.grad, tolerance, "dx")
        close(dmemory, tmemory.grad, tolerance, "dmemory")
    for name, grad in torch_names(ours, "grad").items():
        close(grad, theirs.get_parameter(name).grad, tolerance, name)


@pytest.mark.parametrize("eps", [1e-5, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_layer_norm(dtype, tolerance, eps):
    rng = np.random.default_rng(2)
    ours = LayerNorm(D, eps).astype(dtype)
    for parameter in ours.parameters():
        parameter.value += rng.standard_normal(D).astype(dtype)
    x, dy = drawn(dtype, (B, T, D), (B, T, D))
    tx, gamma, beta = tensor(x), tensor(ours.gamma.value), tensor(ours.beta.value)
    ty = F.layer_norm(tx, (D,), gamma, beta, eps)
    close(ours.forward(x), ty, tolerance, "y")
    ty.backward(torch.from_numpy(dy.copy()))
    close(ours.backward(dy), tx.grad, tolerance, "dx")
    close(ours.gamma.grad, gamma.grad, tolerance, "dgamma")
    close(ours.beta.grad, beta.grad, tolerance, "dbeta")


def test_initial_weights_have_torch_s_range():
    ours, theirs = MultiHeadAttention(64, 4, rng=0), torch.nn.MultiheadAttention(64, 4)
    for name, value in torch_names(ours, "value").items():
        largest = abs(theirs.get_parameter(name).detach().numpy()).max()
        assert abs(abs(value).max() - largest) <= 0.05 * largest, name
