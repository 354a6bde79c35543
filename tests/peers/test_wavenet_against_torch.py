"""WaveNet against torch: logits, every gradient, a step of Adam, and speaking; mu-law codes."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.bench_wavenet import TorchStream, TorchWaveNet
from scratchaudio import dsp, nn
from scratchaudio.models import WaveNet

pytestmark = pytest.mark.peers
dtypes = pytest.mark.parametrize(
    ("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)], ids=["float32", "float64"]
)
conditioned = pytest.mark.parametrize(("n_global", "n_local"), [(0, 0), (3, 0), (0, 6), (3, 6)])
Q, B, N, HOP = 32, 3, 50, 8


def both(dtype, n_global=0, n_local=0):
    """Our network and torch's, with the same weights."""
    ours = WaveNet(Q, 5, 7, 3, 2, n_global, n_local, HOP, rng=0)
    rng = np.random.default_rng(1)
    for parameter in ours.parameters():
        parameter.value += 0.3 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    ours.astype(dtype)
    dilations = [block.dilation for block in ours.blocks]
    return ours, TorchWaveNet(Q, 5, 7, dilations, n_global + n_local).weights_of(ours)


def drawn(dtype, n_global=0, n_local=0):
    rng = np.random.default_rng(2)
    codes = rng.integers(0, Q, (B, N))
    g = rng.standard_normal((B, n_global)).astype(dtype) if n_global else None
    h = rng.standard_normal((B, n_local, -(-N // HOP))).astype(dtype) if n_local else None
    return codes, g, h


def close(got, expected, rtol):
    """To rtol of the largest entry."""
    expected = expected.detach().numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert np.abs(got - expected).max() <= rtol * np.abs(expected).max()


@dtypes
@conditioned
def test_logits_and_every_gradient(dtype, rtol, n_global, n_local):
    ours, theirs = both(dtype, n_global, n_local)
    codes, g, h = drawn(dtype, n_global, n_local)
    tg, th = (None if x is None else torch.from_numpy(x.copy()).requires_grad_() for x in (g, h))
    parts, n_frames = [], 1 if th is None else th.shape[2]
    if tg is not None:
        parts.append(tg[:, :, None].expand(-1, -1, n_frames))
    if th is not None:
        parts.append(th)
    condition = torch.cat(parts, 1) if parts else None
    expected = theirs(torch.from_numpy(codes), condition, HOP if n_local else N, Q // 2)
    logits = ours.forward(codes, g, h)
    close(logits, expected, rtol)

    loss, dlogits = nn.cross_entropy(logits, codes)
    tloss = F.cross_entropy(expected.reshape(-1, Q), torch.from_numpy(codes).reshape(-1))
    assert float(loss) == pytest.approx(tloss.item(), rel=rtol)
    ours.zero_grad()
    nothing, dg, dh = ours.backward(dlogits)
    tloss.backward()
    assert nothing is None
    for got, tensor in ((dg, tg), (dh, th)):
        assert (got is None) == (tensor is None)
        if tensor is not None:
            close(got, tensor.grad, rtol)
    close(ours.table.grad, theirs.table.weight.grad, rtol)
    for k, block in enumerate(ours.blocks):
        for name in ("dilated", "residual", "skip"):
            if name == "residual" and k == len(ours.blocks) - 1:
                continue  # leads nowhere: no gradient there, 0 here
            layer = getattr(theirs, name)[k]
            close(getattr(block, name).W.grad, layer.weight.grad, rtol)
            close(getattr(block, name).b.grad, layer.bias.grad, rtol)
        if condition is not None:
            close(block.condition.W.grad, theirs.condition[k].weight.grad, rtol)
    for name in ("hidden", "logits"):
        close(getattr(ours, name).W.grad, getattr(theirs, name).weight.grad, rtol)
        close(getattr(ours, name).b.grad, getattr(theirs, name).bias.grad, rtol)


@dtypes
def test_sample_by_sample(dtype, rtol):
    """The loop that the benchmark compares ours with says the same."""
    ours, theirs = both(dtype)
    codes, _, _ = drawn(dtype)
    stream, tstream = ours.eval().start(B), TorchStream(theirs, B)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(codes), None, 1, Q // 2)
        code = np.full(B, Q // 2)
        for n in range(N):
            logits, tlogits = stream.step(code), tstream.step(torch.from_numpy(code))
            close(logits, tlogits, rtol)
            close(logits, expected[:, n], rtol)
            code = codes[:, n]


@pytest.mark.parametrize("n_levels", [256, 17])
def test_mulaw_by_torchaudios_rule(n_levels):
    """torchaudio.functional.mu_law_encoding and mu_law_decoding, written out (version 2)."""
    x = np.random.default_rng(0).uniform(-1, 1, 100_000)
    tx, mu = torch.from_numpy(x), torch.tensor(n_levels - 1.0, dtype=torch.float64)
    x_mu = torch.sign(tx) * torch.log1p(mu * torch.abs(tx)) / torch.log1p(mu)
    codes = ((x_mu + 1) / 2 * mu + 0.5).to(torch.int64)
    assert np.array_equal(dsp.mulaw_encode(x, n_levels), codes.numpy())

    y = (codes / mu) * 2 - 1.0
    y = torch.sign(y) * (torch.exp(torch.abs(y) * math.log1p(mu)) - 1.0) / mu
    decoded = dsp.mulaw_decode(codes.numpy(), n_levels)
    np.testing.assert_allclose(decoded, y.numpy(), rtol=1e-6, atol=1e-7)
