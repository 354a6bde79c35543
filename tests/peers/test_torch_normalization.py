"""Normalisations, PReLU, weight and spectral norm against torch: outputs, gradients, training."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations

from scratchaudio import nn

pytestmark = pytest.mark.peers

PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-12)]
every_precision = pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)


def close(got, expected, tolerance):
    expected = expected.detach().numpy() if isinstance(expected, torch.Tensor) else expected
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def as_torch(array):
    return torch.tensor(array)


def one_pass(ours, theirs, x, dy):
    """Forward and backward of both; return pairs (y, y), (dx, dx)."""
    x_torch = as_torch(x).requires_grad_()
    y_torch = theirs(x_torch)
    y_torch.backward(as_torch(dy))
    return (ours.forward(x), y_torch), (ours.backward(dy), x_torch.grad)


def norm_with_the_same_weights(ours, theirs, rng):
    """Gamma and beta off their initial values, the same in both."""
    ours.gamma.value[...] = 1 + 0.3 * rng.standard_normal(ours.gamma.value.shape)
    ours.beta.value[...] = rng.standard_normal(ours.beta.value.shape)
    with torch.no_grad():
        theirs.weight.copy_(as_torch(ours.gamma.value))
        theirs.bias.copy_(as_torch(ours.beta.value))


# Normalisations ----------------------------------------------------------------------------------


@every_precision
@pytest.mark.parametrize("shape", [(16, 6), (5, 6, 70), (3, 6, 20, 11)])
@pytest.mark.parametrize("momentum", [0.1, 0.6])
def test_batch_norm(shape, momentum, dtype, tolerance):
    """Several steps of training, then evaluation with the running statistics."""
    rng = np.random.default_rng(0)
    ours = nn.BatchNorm(6, momentum=momentum, dtype=dtype)
    peer = torch.nn.BatchNorm2d if len(shape) == 4 else torch.nn.BatchNorm1d
    theirs = peer(6, momentum=momentum, dtype=as_torch(np.zeros(1, dtype)).dtype)
    norm_with_the_same_weights(ours, theirs, rng)
    for step in range(4):
        x = (step + (1 + step) * rng.standard_normal(shape)).astype(dtype)
        dy = rng.standard_normal(shape).astype(dtype)
        ours.zero_grad()
        theirs.zero_grad()
        pairs = one_pass(ours, theirs, x, dy)
        pairs += (ours.gamma.grad, theirs.weight.grad), (ours.beta.grad, theirs.bias.grad)
        pairs += ((ours.running_mean.value, theirs.running_mean),)
        pairs += ((ours.running_var.value, theirs.running_var),)
        for got, expected in pairs:
            close(got, expected, 5 * tolerance)
    close(ours.eval().forward(x), theirs.eval()(as_torch(x)), 5 * tolerance)


@every_precision
@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_global_layer_norm_is_group_norm_of_one_group(eps, dtype, tolerance):
    rng = np.random.default_rng(0)
    ours = nn.GlobalLayerNorm(6, eps, dtype=dtype)
    theirs = torch.nn.GroupNorm(1, 6, eps, dtype=as_torch(np.zeros(1, dtype)).dtype)
    norm_with_the_same_weights(ours, theirs, rng)
    x, dy = (1 + 2 * rng.standard_normal((2, 3, 6, 70))).astype(dtype)
    pairs = one_pass(ours, theirs, x, dy)
    pairs += (ours.gamma.grad, theirs.weight.grad), (ours.beta.grad, theirs.bias.grad)
    for got, expected in pairs:
        close(got, expected, 5 * tolerance)


def double_loop(x, gamma, beta, eps):
    """cLN as it is defined, frame by frame, in torch: its derivatives are torch's."""
    examples = []
    for example in x:
        frames = []
        for t in range(x.shape[2]):
            so_far = example[:, : t + 1]
            variance = so_far.var(correction=0)
            x_hat = (example[:, t] - so_far.mean()) / torch.sqrt(variance + eps)
            frames.append(gamma * x_hat + beta)
        examples.append(torch.stack(frames, dim=1))
    return torch.stack(examples)


@every_precision
@pytest.mark.parametrize("eps", [1e-8, 0.1])
def test_cumulative_layer_norm_is_the_double_loop(eps, dtype, tolerance):
    rng = np.random.default_rng(0)
    ours = nn.CumulativeLayerNorm(6, eps, dtype=dtype)
    ours.gamma.value[...] = 1 + 0.3 * rng.standard_normal(6)
    ours.beta.value[...] = rng.standard_normal(6)
    gamma, beta = (as_torch(p.value).requires_grad_() for p in (ours.gamma, ours.beta))
    x, dy = (1 + 2 * rng.standard_normal((2, 3, 6, 40))).astype(dtype)
    pairs = one_pass(ours, lambda x: double_loop(x, gamma, beta, eps), x, dy)
    pairs += (ours.gamma.grad, gamma.grad), (ours.beta.grad, beta.grad)
    for got, expected in pairs:
        close(got, expected, 5 * tolerance)


# PReLU -------------------------------------------------------------------------------------------


@every_precision
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 30), (4, 6, 5, 7)])
@pytest.mark.parametrize("n_channels", [1, 6])
def test_prelu(n_channels, shape, dtype, tolerance):
    rng = np.random.default_rng(0)
    ours = nn.PReLU(n_channels, dtype=dtype)
    theirs = torch.nn.PReLU(n_channels, dtype=as_torch(np.zeros(1, dtype)).dtype)
    close(ours.a.value, theirs.weight, 0)
    ours.a.value[...] = rng.standard_normal(n_channels)
    with torch.no_grad():
        theirs.weight.copy_(as_torch(ours.a.value))
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    x.flat[3] = 0
    for got, expected in (*one_pass(ours, theirs, x, dy), (ours.a.grad, theirs.weight.grad)):
        close(got, expected, 5 * tolerance)


# Reparametrisation -------------------------------------------------------------------------------


def linear(dtype, rng):
    """Linear of both; axis of outputs; shapes of x and y; ours to theirs, whose W is transposed."""
    ours = nn.Linear(7, 5, rng=rng, dtype=dtype)
    theirs = torch.nn.Linear(7, 5, dtype=as_torch(ours.b.value).dtype)
    return ours, theirs, 1, ((4, 7), (4, 5)), np.transpose


def conv1d(dtype, rng):
    """Conv1d of both, and the same about them as of `linear`."""
    ours = nn.Conv1d(4, 6, 3, groups=2, rng=rng, dtype=dtype)
    theirs = torch.nn.Conv1d(4, 6, 3, groups=2, dtype=as_torch(ours.b.value).dtype)
    return ours, theirs, 0, ((3, 4, 9), (3, 6, 7)), np.asarray


def conv_transpose1d(dtype, rng):
    """ConvTranspose1d of both, and the same about them as of `linear`."""
    ours = nn.ConvTranspose1d(4, 6, 3, stride=2, rng=rng, dtype=dtype)
    theirs = torch.nn.ConvTranspose1d(4, 6, 3, stride=2, dtype=as_torch(ours.b.value).dtype)
    return ours, theirs, 1, ((3, 4, 9), (3, 6, 19)), np.asarray


def made(make, dtype, rng):
    """What `make` makes, with our weights in their layer."""
    ours, theirs, axis, shapes, to_theirs = make(dtype, rng)
    with torch.no_grad():
        theirs.weight.copy_(as_torch(to_theirs(ours.W.value)))
        theirs.bias.copy_(as_torch(ours.b.value))
    return ours, theirs, axis, shapes, to_theirs


every_layer = pytest.mark.parametrize("make", [linear, conv1d, conv_transpose1d])


def train_both(ours, theirs, shapes, named, rng, tolerance):
    """Five steps of Adam with random dy; compare y, dx, gradients, and what they lead to.

    `named` is a function that gives pairs (array of ours, tensor of theirs) to compare as well.
    """
    dtype = ours.layer.b.value.dtype
    optimizer = nn.Adam(ours.parameters(), lr=0.01)
    peer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for _ in range(5):
        x, dy = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
        ours.zero_grad()
        peer.zero_grad()
        for got, expected in one_pass(ours, theirs, x, dy):
            close(got, expected, tolerance)
        for got, expected in named():
            close(got, expected, tolerance)
        optimizer.step()
        peer.step()
    theirs.eval()
    close(ours.eval().forward(x), theirs(as_torch(x)), tolerance)


@every_layer
@every_precision
def test_weight_norm(make, dtype, tolerance):
    rng = np.random.default_rng(0)
    layer, theirs, axis, shapes, to_theirs = made(make, dtype, rng)
    # torch's axis of outputs is that of its own W
    theirs = parametrizations.weight_norm(theirs, dim=0 if make is linear else axis)
    ours = nn.WeightNorm(layer, axis)
    g, v = theirs.parametrizations.weight.original0, theirs.parametrizations.weight.original1

    def named():
        return [
            (ours.g.value, g.detach().reshape(-1)),
            (to_theirs(ours.v.value), v),
            (ours.g.grad, g.grad.reshape(-1)),
            (to_theirs(ours.v.grad), v.grad),
            (ours.layer.b.grad, theirs.bias.grad),
        ]

    train_both(ours, theirs, shapes, named, rng, 10 * tolerance)


@every_layer
@every_precision
@pytest.mark.parametrize("n_power_iterations", [1, 3])
def test_spectral_norm(make, n_power_iterations, dtype, tolerance):
    rng = np.random.default_rng(0)
    layer, theirs, axis, shapes, to_theirs = made(make, dtype, rng)
    theirs = parametrizations.spectral_norm(theirs, n_power_iterations=n_power_iterations)
    ours = nn.SpectralNorm(layer, axis, n_power_iterations, rng=rng)
    peer = theirs.parametrizations.weight[0]
    for vector, buffer in ((ours.u, peer._u), (ours.v, peer._v)):
        vector.value[...] = rng.standard_normal(vector.value.shape)
        vector.value /= np.linalg.norm(vector.value)
        buffer.copy_(as_torch(vector.value))
    W = theirs.parametrizations.weight.original

    def named():
        return [
            (ours.u.value, peer._u),
            (ours.v.value, peer._v),
            (to_theirs(ours.W.value), W),
            (to_theirs(ours.W.grad), W.grad),
            (ours.layer.b.grad, theirs.bias.grad),
        ]

    train_both(ours, theirs, shapes, named, rng, 10 * tolerance)
