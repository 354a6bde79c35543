"""Losses, gradient penalty and networks of GANs against torch, the penalty by double backward."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratchaudio import nn
from scratchaudio.models.gan import (
    SpecGANDiscriminator,
    SpecGANGenerator,
    WaveGANDiscriminator,
    WaveGANGenerator,
)
from scratchaudio.testing import RepeatingGenerator

pytestmark = pytest.mark.peers
dtypes = pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)])

ONES, ZEROS = torch.ones, torch.zeros
GAMES = {
    "non-saturating": (
        nn.NON_SATURATING,
        lambda r, a: (
            F.binary_cross_entropy_with_logits(r, ONES(len(r)).to(r))
            + F.binary_cross_entropy_with_logits(a, ZEROS(len(a)).to(a))
        ),
        lambda a: F.binary_cross_entropy_with_logits(a, ONES(len(a)).to(a)),
    ),
    "least squares": (
        nn.LEAST_SQUARES,
        lambda r, a: F.mse_loss(r, ONES(len(r)).to(r)) + F.mse_loss(a, ZEROS(len(a)).to(a)),
        lambda a: F.mse_loss(a, ONES(len(a)).to(a)),
    ),
    "hinge": (
        nn.HINGE,
        lambda r, a: F.relu(1 - r).mean() + F.relu(1 + a).mean(),
        lambda a: -a.mean(),
    ),
    "Wasserstein": (nn.WASSERSTEIN, lambda r, a: a.mean() - r.mean(), lambda a: -a.mean()),
}


def close(got, expected, rtol, name=""):
    expected = expected.detach().numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape, name
    size = max(abs(expected).max(), 1e-12)
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * size, err_msg=name)


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("scale", [1, 50, 1000])
@dtypes
def test_losses(name, scale, dtype, rtol):
    game, theirs_d, theirs_g = GAMES[name]
    rng = np.random.default_rng(0)
    real, fake = (scale * rng.standard_normal(n).astype(dtype) for n in (7, 5))
    treal, tfake = (torch.tensor(x, requires_grad=True) for x in (real, fake))
    expected = theirs_d(treal, tfake)
    expected.backward()
    loss, dreal, dfake = game.discriminator(real, fake)
    assert loss == pytest.approx(expected.item(), rel=rtol)
    close(dreal, treal.grad, rtol)
    close(dfake, tfake.grad, rtol)
    tfake.grad = None
    expected = theirs_g(tfake)
    expected.backward()
    loss, dfake = game.generator(fake)
    assert loss == pytest.approx(expected.item(), rel=rtol)
    close(dfake, tfake.grad, rtol)


# The networks, built again in torch from our weights ----------------------------------------------


class Moved(torch.nn.Module):
    """Phase shuffle by given shifts, with torch's own reflection."""

    def __init__(self, radius, shifts):
        super().__init__()
        self.radius, self.shifts = radius, shifts

    def forward(self, x):
        r, T = self.radius, x.shape[-1]
        padded = F.pad(x, (r, r), mode="reflect")
        return torch.stack([padded[b, :, r - s : r - s + T] for b, s in enumerate(self.shifts)])


def translated(layer, B):
    """A layer of torch's with the weights of ours."""
    if isinstance(layer, nn.Sequential):
        return torch.nn.Sequential(*[translated(part, B) for part in layer.layers])
    if isinstance(layer, nn.Reshape):
        return torch.nn.Unflatten(1, layer.shape) if len(layer.shape) > 1 else torch.nn.Flatten()
    if isinstance(layer, nn.PhaseShuffle):
        return Moved(layer.radius, layer._shifts(B))
    if isinstance(layer, nn.LeakyReLU):
        return torch.nn.LeakyReLU(layer.negative_slope)
    if isinstance(layer, nn.ReLU | nn.Tanh):
        return getattr(torch.nn, type(layer).__name__)()
    if isinstance(layer, nn.Linear):
        theirs = torch.nn.Linear(*layer.W.value.shape)
        W = layer.W.value.T
    else:
        kind = getattr(torch.nn, type(layer).__name__)
        one_d = layer.W.value.ndim == 3
        stride = layer.taps.stride if one_d else layer.grid.stride
        padding = layer.taps.left if one_d else layer.grid.padding
        more = {}
        if "Transpose" in type(layer).__name__:
            more["output_padding"] = layer.output_padding
        theirs = kind(layer.n_in, layer.n_out, layer.kernel_size, stride, padding, **more)
        W = layer.W.value
    with torch.no_grad():
        theirs.weight.data = torch.tensor(np.ascontiguousarray(W))
        theirs.bias.data = torch.tensor(layer.b.value)
    return theirs


def gradients(ours, theirs):
    """Pairs (name, our gradient, torch's), of weights in our layout and of biases."""
    pairs = []
    for i, (layer, other) in enumerate(zip(ours.layers, theirs, strict=True)):
        if hasattr(layer, "W"):
            dW = other.weight.grad.T if isinstance(layer, nn.Linear) else other.weight.grad
            pairs += [(f"{i}.W", layer.W.grad, dW), (f"{i}.b", layer.b.grad, other.bias.grad)]
    return pairs


def moved(network, dtype, seed):
    rng = np.random.default_rng(seed)
    network.astype(dtype)
    for parameter in network.parameters():
        parameter.value += (0.1 * rng.standard_normal(parameter.value.shape)).astype(dtype)
    for layer in network.network.layers:
        if isinstance(layer, nn.PhaseShuffle):
            layer.rng = RepeatingGenerator(seed)
    return network


PLAYERS = {
    "WaveGAN": (
        lambda: WaveGANGenerator(64, 6, 3, 3, 25, rng=0),
        lambda: WaveGANDiscriminator(64, 3, 3, 25, rng=1),
    ),
    "SpecGAN": (
        lambda: SpecGANGenerator(16, 24, 6, 3, 3, rng=0),
        lambda: SpecGANDiscriminator(16, 24, 3, 3, rng=1),
    ),
}


@pytest.mark.parametrize("name", PLAYERS)
@dtypes
def test_networks_and_the_gradient_through_both(name, dtype, rtol):
    make_generator, make_critic = PLAYERS[name]
    generator, critic = moved(make_generator(), dtype, 2), moved(make_critic(), dtype, 3)
    z = generator.draw(4, rng=4)
    tz = torch.tensor(z, requires_grad=True)
    theirs, their_critic = translated(generator.network, 4), translated(critic.network, 4)

    tfake = theirs(tz)
    tlogits = their_critic(tfake)[:, 0]
    GAMES["non-saturating"][2](tlogits).backward()
    fake = generator.forward(z)
    logits = critic.forward(fake)
    close(fake, tfake, rtol)
    close(logits, tlogits, rtol)
    _, dlogits = nn.NON_SATURATING.generator(logits)
    dz = generator.backward(critic.backward(dlogits))
    close(dz, tz.grad, rtol)
    pairs = gradients(generator.network, theirs) + gradients(critic.network, their_critic)
    for parameter, got, expected in pairs:
        close(got, expected, rtol, parameter)
    assert len(pairs) == 16


@pytest.mark.parametrize("name", PLAYERS)
@dtypes
def test_gradient_penalty(name, dtype, rtol):
    """Value and every gradient, against backward through backward."""
    make_generator, make_critic = PLAYERS[name]
    critic = moved(make_critic(), dtype, 5)
    rng = np.random.default_rng(6)
    shape = make_generator().forward(np.zeros((4, 6), np.float32)).shape
    real, fake = rng.uniform(-1, 1, (2, *shape)).astype(dtype)

    theirs = translated(critic.network, 4)
    a = np.random.default_rng(7).random((4,) + (1,) * (len(shape) - 1)).astype(dtype)
    x_hat = torch.tensor(a * real + (1 - a) * fake, requires_grad=True)
    (g,) = torch.autograd.grad(theirs(x_hat).sum(), x_hat, create_graph=True)
    expected = ((g.flatten(1).norm(dim=1) - 1) ** 2).mean()
    (10 * expected).backward()

    penalty = nn.gradient_penalty(critic, real, fake, weight=10.0, rng=7)
    assert penalty == pytest.approx(expected.item(), rel=rtol)
    for layer in theirs:
        if hasattr(layer, "bias") and layer.bias.grad is None:
            layer.bias.grad = torch.zeros_like(layer.bias)
    for parameter, got, expected_grad in gradients(critic.network, theirs):
        close(got, expected_grad, rtol, parameter)
