"""STFT layers and losses of waveforms against torch: values, and gradients by its autograd."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratchaudio.nn import (
    ISTFT,
    STFT,
    Magnitude,
    l1,
    multi_resolution_stft_loss,
    permutation_invariant,
    si_sdr_loss,
)

pytestmark = pytest.mark.peers

DTYPES = [np.float32, np.float64]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-11}
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))


def waves(*shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def compare(got, expected, dtype, tolerance=None):
    assert got.dtype == dtype
    tolerance = TOLERANCE[dtype] if tolerance is None else tolerance
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * abs(expected).max())


def torch_gradient(function, x):
    """Loss of `function` at x and its gradient, as NumPy arrays."""
    x = torch.tensor(x, requires_grad=True)
    loss = function(x)
    loss.backward()
    return loss.item(), x.grad.numpy()


# Layers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("mode", "N"), [("reflect", 1000), ("constant", 1001)])
@pytest.mark.parametrize(("n_fft", "hop", "win"), [(64, 16, 64), (80, 30, 50), (75, 20, 61)])
def test_stft(dtype, center, mode, N, n_fft, hop, win):
    x = waves(3, N, dtype=dtype)
    layer = STFT(n_fft, hop, win, center=center, pad_mode=mode)
    x_torch = torch.tensor(x, requires_grad=True)
    expected = torch.stft(
        x_torch,
        n_fft,
        hop,
        win,
        torch.hann_window(win, dtype=x_torch.dtype),
        center=center,
        pad_mode=mode,
        return_complex=True,
    )
    expected = torch.stack([expected.real, expected.imag], dim=1)
    X = layer.forward(x)
    compare(X, expected.detach().numpy(), dtype)
    dX = waves(*X.shape, dtype=dtype, seed=1)
    expected.backward(torch.tensor(dX))
    compare(layer.backward(dX), x_torch.grad.numpy(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [None, 203])
@pytest.mark.parametrize(("n_fft", "hop", "win"), [(64, 16, 64), (80, 20, 50), (75, 20, 61)])
def test_istft(dtype, length, n_fft, hop, win):
    X = waves(3, 2, 1 + n_fft // 2, 15, dtype=dtype)
    X_torch = torch.tensor(X, requires_grad=True)
    window = torch.hann_window(win, dtype=X_torch.dtype)
    expected = torch.istft(
        torch.complex(X_torch[:, 0], X_torch[:, 1]), n_fft, hop, win, window, length=length
    )
    layer = ISTFT(n_fft, hop, win)
    y = layer.forward(X, length=expected.shape[-1])
    compare(y, expected.detach().numpy(), dtype)
    dy = waves(*y.shape, dtype=dtype, seed=1)
    expected.backward(torch.tensor(dy))
    compare(layer.backward(dy), X_torch.grad.numpy(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_magnitude(dtype):
    X = waves(3, 2, 5, 4, dtype=dtype)
    X[1, :, 2, 3] = 0
    X_torch = torch.tensor(X, requires_grad=True)
    expected = torch.complex(X_torch[:, 0], X_torch[:, 1]).abs()
    layer = Magnitude()
    y = layer.forward(X)
    compare(y, expected.detach().numpy(), dtype)
    dy = waves(*y.shape, dtype=dtype, seed=1)
    expected.backward(torch.tensor(dy))
    compare(layer.backward(dy), X_torch.grad.numpy(), dtype)


# Losses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_l1(dtype):
    x, target = waves(2, 5, 7, dtype=dtype)
    x[1, 2] = target[1, 2]  # torch, too, takes 0 at the kink
    loss, dx = l1(x, target)
    expected, dexpected = torch_gradient(lambda x: F.l1_loss(x, torch.tensor(target)), x)
    assert loss == pytest.approx(expected, rel=1e-6)
    compare(dx, dexpected, dtype)


def torch_si_sdr_loss(e, s, zero_mean=True):
    """Le Roux et al. (2019), eq. 3, one value for each waveform."""
    if zero_mean:
        e, s = e - e.mean(-1, keepdim=True), s - s.mean(-1, keepdim=True)
    p = (e * s).sum(-1, keepdim=True) / (s * s).sum(-1, keepdim=True) * s
    return -10 * torch.log10((p * p).sum(-1) / ((e - p) ** 2).sum(-1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("noise", [0.1, 1.0, 10.0])
def test_si_sdr_loss(dtype, zero_mean, noise):
    target = waves(4, 2, 1000, dtype=dtype) + dtype(0.2)
    e = target + dtype(noise) * waves(4, 2, 1000, dtype=dtype, seed=1)
    loss, de = si_sdr_loss(e, target, zero_mean, eps=1e-12)
    s = torch.tensor(target)
    expected, dexpected = torch_gradient(lambda e: torch_si_sdr_loss(e, s, zero_mean).mean(), e)
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-5)
    compare(de, dexpected, dtype, max(TOLERANCE[dtype], 1e-9))  # eps is 1e-10 of the residual


def torch_stft_loss(e, s, eps):
    """Yamamoto et al. (2020), eq. 3-6."""
    loss = 0
    for n_fft, hop, win in RESOLUTIONS:
        window = torch.hann_window(win, dtype=e.dtype)
        A, B = (
            torch.stft(x, n_fft, hop, win, window, return_complex=True).abs().square()
            for x in (e, s)
        )
        A, B = (power.clamp(min=eps).sqrt() for power in (A, B))
        loss += (torch.linalg.matrix_norm(B - A) / torch.linalg.matrix_norm(B)).mean() + F.l1_loss(
            torch.log(A), torch.log(B)
        )
    return loss / len(RESOLUTIONS)


@pytest.mark.parametrize("eps", [1e-7, 0.1, 10.0])
def test_multi_resolution_stft_loss_in_float64(eps):
    e, target = waves(2, 2, 3000, dtype=np.float64)
    loss, de = multi_resolution_stft_loss(e, target, eps=eps)
    expected, dexpected = torch_gradient(lambda e: torch_stft_loss(e, torch.tensor(target), eps), e)
    assert loss == pytest.approx(expected, rel=1e-13)
    compare(de, dexpected, np.float64)


def test_multi_resolution_stft_loss_in_float32():
    """A bin near 0 has a gradient of 1 / A, and one where A = B a jump: both magnify rounding.

    Where bins are neither, the gradients are equal to 1e-5. Else both are some 1e-4 from the truth,
    the gradient in float64, and we must be no further from it than torch, give or take a factor.
    """
    e, target = waves(2, 2, 3000, dtype=np.float32)
    s = torch.tensor(target)
    loss, de = multi_resolution_stft_loss(e, target)
    expected, dexpected = torch_gradient(lambda e: torch_stft_loss(e, s, 1e-7), e)
    assert loss == pytest.approx(expected, rel=1e-5)
    truth = multi_resolution_stft_loss(e.astype(np.float64), target.astype(np.float64))[1]
    assert np.linalg.norm(de - truth) <= 3 * np.linalg.norm(dexpected - truth)
    assert np.linalg.norm(de - truth) <= 1e-3 * np.linalg.norm(truth)

    e = 3 * target  # every bin is 3 times too large: no kink
    loss, de = multi_resolution_stft_loss(e, target, eps=10.0)
    expected, dexpected = torch_gradient(lambda e: torch_stft_loss(e, s, 10.0), e)
    assert loss == pytest.approx(expected, rel=1e-5)
    compare(de, dexpected, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("S", [2, 3])
def test_permutation_invariant(dtype, S):
    e, target = waves(2, 5, S, 400, dtype=dtype)
    s = torch.tensor(target)

    def expected_loss(e):
        orders = [
            torch_si_sdr_loss(e[:, list(order)], s).mean(dim=-1)
            for order in itertools.permutations(range(S))
        ]
        return torch.stack(orders).amin(dim=0).mean()

    loss, de = permutation_invariant(lambda e, s: si_sdr_loss(e, s, eps=1e-14), e, target)
    expected, dexpected = torch_gradient(expected_loss, e)
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-5)
    compare(de, dexpected, dtype, max(TOLERANCE[dtype], 1e-9))
