"""Losses against torch: values and gradients, masks, weights, smoothing, extreme logits."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratchaudio.nn import bce_with_logits, cross_entropy, mse

pytestmark = pytest.mark.peers

B, T, K = 5, 7, 4


def drawn(*shape, scale=1.0):
    rng = np.random.default_rng(0)
    mask = np.arange(T) < rng.integers(1, T + 1, (B, 1))
    return (scale * rng.standard_normal((B, T, *shape))).astype(np.float32), mask, rng


def compare(got, x_torch, loss_torch):
    loss_torch.backward()
    loss, dx = got
    assert loss == pytest.approx(loss_torch.item(), rel=1e-5)
    np.testing.assert_allclose(dx, x_torch.grad.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("masked", [False, True])
def test_mse(masked):
    x, mask, rng = drawn()
    target = rng.standard_normal(x.shape).astype(np.float32)
    mask = mask if masked else np.ones_like(mask)
    x_torch = torch.tensor(x, requires_grad=True)
    expected = F.mse_loss(x_torch[mask], torch.tensor(target[mask]))
    compare(mse(x, target, mask), x_torch, expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("pos_weight", [1.0, 3.5])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_bce_with_logits(masked, pos_weight, scale):
    x, mask, rng = drawn(scale=scale)
    target = (rng.random(x.shape) < 0.4).astype(np.float32)
    mask = mask if masked else np.ones_like(mask)
    x_torch = torch.tensor(x, requires_grad=True)
    expected = F.binary_cross_entropy_with_logits(
        x_torch[mask], torch.tensor(target[mask]), pos_weight=torch.tensor(pos_weight)
    )
    compare(bce_with_logits(x, target, mask, pos_weight), x_torch, expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_cross_entropy(masked, smoothing, scale):
    x, mask, rng = drawn(K, scale=scale)
    labels = rng.integers(0, K, (B, T))
    mask = mask if masked else np.ones_like(mask)
    x_torch = torch.tensor(x, requires_grad=True)
    expected = F.cross_entropy(x_torch[mask], torch.tensor(labels[mask]), label_smoothing=smoothing)
    compare(cross_entropy(x, labels, mask, smoothing), x_torch, expected)
