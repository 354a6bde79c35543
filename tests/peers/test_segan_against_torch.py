"""SEGAN against torch: both players, and every gradient of both updates."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from scratchaudio import nn
from scratchaudio.models import SEGANDiscriminator, SEGANGenerator
from scratchaudio.models.segan import pair

pytestmark = pytest.mark.peers
dtypes = pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)])

SIZES = [
    {"widths": (3, 5, 4), "kernel_size": 31, "stride": 2},
    {"widths": (6, 4), "kernel_size": 11, "stride": 4},
]
sizes = pytest.mark.parametrize("sizes", SIZES)
N, B = 96, 5


def tensors(layer):
    """Every parameter of ours as a leaf of torch's, by its name."""
    return {
        name: torch.tensor(parameter.value, requires_grad=True)
        for name, parameter in layer.named_parameters()
    }


def generated(theirs, x, z, n_layers, kernel_size, stride):
    """The generator, written with torch's functions."""
    p, skips = kernel_size // 2, []
    for i in range(n_layers):
        x = F.conv1d(x, theirs[f"downs.{i}.W"], theirs[f"downs.{i}.b"], stride, p)
        skips.append(x)
        x = F.prelu(x, theirs[f"down_prelus.{i}.a"])
    skips.pop()
    x = torch.cat([x, z], dim=1)
    for i in range(n_layers):
        W, b = theirs[f"ups.{i}.W"], theirs[f"ups.{i}.b"]
        x = F.conv_transpose1d(x, W, b, stride, p, stride - 1)
        if skips:
            x = torch.cat([F.prelu(x, theirs[f"up_prelus.{i}.a"]), skips.pop()], dim=1)
    return torch.tanh(x)


def judged(theirs, x, n_layers, kernel_size, stride):
    """The discriminator; its layers stand at 0, 2, 4, ... of ours, then reshape and dense."""
    for i in range(n_layers):
        W, b = (theirs[f"network.layers.{2 * i}.{name}"] for name in "Wb")
        x = F.leaky_relu(F.conv1d(x, W, b, stride, kernel_size // 2), 0.3)
    W, b = (theirs[f"network.layers.{2 * n_layers}.{name}"] for name in "Wb")
    x = F.conv1d(x, W, b)[:, 0]
    W, b = (theirs[f"network.layers.{2 * n_layers + 2}.{name}"] for name in "Wb")
    return (x @ W + b)[:, 0]


def moved(layer, dtype, seed):
    rng = np.random.default_rng(seed)
    layer.astype(dtype)
    for parameter in layer.parameters():
        parameter.value += (0.1 * rng.standard_normal(parameter.value.shape)).astype(dtype)
    return layer


def close(got, expected, rtol, name=""):
    expected = expected.detach().numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape, name
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * abs(expected).max(), err_msg=name)


def game(sizes, dtype):
    """Both players, noisy and clean, and z."""
    generator = moved(SEGANGenerator(**sizes, n_latent=2, rng=0), dtype, 1)
    discriminator = moved(SEGANDiscriminator(N, **sizes, rng=2), dtype, 3)
    rng = np.random.default_rng(4)
    noisy, clean = rng.uniform(-0.9, 0.9, (2, B, 1, N)).astype(dtype)
    return generator, discriminator, noisy, clean, generator.draw(B, N, rng=5)


def in_torch(sizes):
    return {
        "n_layers": len(sizes["widths"]),
        "kernel_size": sizes["kernel_size"],
        "stride": sizes["stride"],
    }


@sizes
@dtypes
def test_the_discriminators_update(sizes, dtype, rtol):
    generator, discriminator, noisy, clean, z = game(sizes, dtype)
    g, d = tensors(generator), tensors(discriminator)
    tnoisy, tclean = torch.tensor(noisy), torch.tensor(clean)
    tfake = generated(g, tnoisy, torch.tensor(z), **in_torch(sizes)).detach()
    treal = judged(d, torch.cat([tclean, tnoisy], dim=1), **in_torch(sizes))
    tmade = judged(d, torch.cat([tfake, tnoisy], dim=1), **in_torch(sizes))
    expected = ((treal - 1) ** 2).mean() + (tmade**2).mean()
    expected.backward()

    fake = generator.forward(noisy, z)
    close(fake, tfake, rtol)
    logits = discriminator.forward(np.concatenate([pair(clean, noisy), pair(fake, noisy)]))
    close(logits, torch.cat([treal, tmade]), rtol)
    loss, dreal, dfake = nn.LEAST_SQUARES.discriminator(*np.split(logits, 2))
    assert loss == pytest.approx(expected.item(), rel=rtol)
    discriminator.backward(np.concatenate([dreal, dfake]))
    for name, parameter in discriminator.named_parameters():
        close(parameter.grad, d[name].grad, rtol, name)


@sizes
@dtypes
def test_the_generators_update(sizes, dtype, rtol):
    """L1 and the adversary together: the gradient runs through the discriminator."""
    generator, discriminator, noisy, clean, z = game(sizes, dtype)
    g, d = tensors(generator), tensors(discriminator)
    tnoisy, tz = torch.tensor(noisy, requires_grad=True), torch.tensor(z, requires_grad=True)
    tfake = generated(g, tnoisy, tz, **in_torch(sizes))
    tlogits = judged(d, torch.cat([tfake, tnoisy.detach()], dim=1), **in_torch(sizes))
    expected = ((tlogits - 1) ** 2).mean() + 3 * (tfake - torch.tensor(clean)).abs().mean()
    expected.backward()

    fake = generator.forward(noisy, z)
    l1_loss, dfake = nn.l1(fake, clean)
    loss, dlogits = nn.LEAST_SQUARES.generator(discriminator.forward(pair(fake, noisy)))
    assert loss + 3 * l1_loss == pytest.approx(expected.item(), rel=rtol)
    with nn.frozen(discriminator):
        dpair = discriminator.backward(dlogits)
    dnoisy, dz = generator.backward(3 * dfake + dpair[:, :1])
    close(dnoisy, tnoisy.grad, rtol)
    close(dz, tz.grad, rtol)
    named = list(generator.named_parameters())
    for name, parameter in named:
        close(parameter.grad, g[name].grad, rtol, name)
    assert len(named) == 6 * len(sizes["widths"]) - 1


@pytest.mark.parametrize("stride", [2, 4])
def test_the_judge_with_spectral_normalisation(stride):
    """Each weight divided by torch's largest singular value, once the iteration has arrived."""
    sizes = {"widths": (3, 5), "kernel_size": 7, "stride": stride}
    judge = SEGANDiscriminator(32, **sizes, spectral=True, rng=0).astype(np.float64)
    x = np.random.default_rng(1).uniform(-0.9, 0.9, (3, 2, 32))
    for _ in range(3000):
        for layer in judge.network.layers:
            if isinstance(layer, nn.SpectralNorm):
                layer._iterate(1)
    theirs = {}
    for i, layer in enumerate(judge.network.layers):
        if isinstance(layer, nn.SpectralNorm):
            W = torch.tensor(layer.W.value)
            rows = W.movedim(layer.axis, 0).flatten(1)
            theirs[f"network.layers.{i}.W"] = W / torch.linalg.matrix_norm(rows, 2)
            theirs[f"network.layers.{i}.b"] = torch.tensor(layer.layer.b.value)
    close(judge.forward(x), judged(theirs, torch.tensor(x), **in_torch(sizes)), 1e-9)
