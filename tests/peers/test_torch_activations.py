"""Activations against torch: values and gradients, float32 and float64, kinks and extremes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratchaudio import nn

pytestmark = pytest.mark.peers

LAYERS = [
    (nn.Sigmoid, torch.sigmoid),
    (nn.Tanh, torch.tanh),
    (nn.ReLU, torch.relu),
    (nn.LeakyReLU, F.leaky_relu),
    (lambda: nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
    (nn.Softplus, lambda x: F.softplus(x, threshold=1e9)),
    (nn.GELU, F.gelu),
    (nn.GELUTanh, lambda x: F.gelu(x, approximate="tanh")),
    (nn.Softmax, lambda x: torch.softmax(x, -1)),
]
FUNCTIONS = [
    (nn.log_sigmoid, F.logsigmoid),
    (nn.log_softmax, lambda x: torch.log_softmax(x, -1)),
    (nn.logsumexp, lambda x: torch.logsumexp(x, -1)),
]


def drawn():
    """Ordinary numbers, the kink and large ones."""
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal(9), 20 * rng.standard_normal(9), np.linspace(-80, 80, 9)]
    return np.stack([*rows, np.zeros(9)]), rng.standard_normal((4, 9))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize(("make", "theirs"), LAYERS)
def test_layers(make, theirs, dtype, tolerance):
    x, dy = (array.astype(dtype) for array in drawn())
    layer = make()
    x_torch = torch.tensor(x, requires_grad=True)
    y_torch = theirs(x_torch)
    y_torch.backward(torch.tensor(dy))
    y = layer.forward(x)
    np.testing.assert_allclose(y, y_torch.detach().numpy(), rtol=tolerance, atol=tolerance)
    dx = layer.backward(dy)
    np.testing.assert_allclose(dx, x_torch.grad.numpy(), rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize(("ours", "theirs"), FUNCTIONS)
def test_functions(ours, theirs):
    x, _ = drawn()
    np.testing.assert_allclose(ours(x), theirs(torch.tensor(x)).numpy(), rtol=1e-13, atol=1e-14)
