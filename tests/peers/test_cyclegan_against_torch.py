"""CycleGAN against torch: both networks, and a whole step of the example's training loop."""

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from scratchaudio import nn
from scratchaudio.models import CycleGAN, CycleGenerator, PatchDiscriminator
from scratchaudio.models.cyclegan import ResidualBlock

pytestmark = pytest.mark.peers
dtypes = pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-5), (np.float64, 1e-11)])
EXAMPLES = Path(__file__).parent.parent.parent / "examples"
TINY = {"width": 3, "n_blocks": 2, "n_fft": 32, "hop_length": 8, "sample_rate": 8000}


def close(got, expected, rtol, name=""):
    expected = expected.detach().numpy()
    assert got.dtype == expected.dtype and got.shape == expected.shape, name
    size = max(abs(expected).max(), 1e-12)
    np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * size, err_msg=name)


class Theirs(torch.nn.Module):
    """Torch's layers with the weights of one of our Sequentials; `pairs` ours and theirs."""

    def __init__(self, network):
        super().__init__()
        self.pairs = []
        self.layers = torch.nn.ModuleList([self.translated(layer) for layer in network.layers])

    def translated(self, layer):
        if isinstance(layer, nn.Sequential):
            return torch.nn.Sequential(*[self.translated(part) for part in layer.layers])
        if isinstance(layer, ResidualBlock):
            return Sum(self.translated(layer.change))
        if isinstance(layer, nn.ReLU):
            return torch.nn.ReLU()
        if isinstance(layer, nn.LeakyReLU):
            return torch.nn.LeakyReLU(layer.negative_slope)
        kind = getattr(torch.nn, type(layer).__name__)
        grid = layer.grid
        theirs = kind(layer.n_in, layer.n_out, layer.kernel_size, grid.stride, grid.padding)
        theirs.weight.data = torch.tensor(layer.W.value)
        theirs.bias.data = torch.tensor(layer.b.value)
        self.pairs += [(layer.W, theirs.weight), (layer.b, theirs.bias)]
        return theirs

    def forward(self, x):
        f = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)
        h = torch.cat([x, f[:, None].expand(x.shape)], dim=1)
        for layer in self.layers:
            h = layer(h)
        return h


class Sum(torch.nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return x + self.change(x)


class TheirGenerator(Theirs):
    def __init__(self, generator):
        super().__init__(generator.change)

    def forward(self, x):
        return functional.leaky_relu(x + super().forward(x), 0.1)


def moved(layer, dtype, seed):
    rng = np.random.default_rng(seed)
    layer.astype(dtype)
    for parameter in layer.parameters():
        parameter.value += (0.1 * rng.standard_normal(parameter.value.shape)).astype(dtype)
    return layer


NETWORKS = {
    "generator": (lambda: CycleGenerator(5, 3, rng=0), TheirGenerator, 2 * (2 + 2 * 3 + 2)),
    "discriminator": (lambda: PatchDiscriminator(5, 2, rng=0), lambda d: Theirs(d.network), 2 * 4),
}


@pytest.mark.parametrize("name", NETWORKS)
@dtypes
def test_networks(name, dtype, rtol):
    make, translate, n_parameters = NETWORKS[name]
    ours = moved(make(), dtype, 1)
    theirs = translate(ours)
    rng = np.random.default_rng(2)
    x = (rng.random((3, 1, 20, 28)) - 0.2).astype(dtype)
    tx = torch.tensor(x, requires_grad=True)
    y, ty = ours.forward(x), theirs(tx)
    close(y, ty, rtol)
    dy = rng.standard_normal(y.shape).astype(dtype)
    ty.backward(torch.tensor(dy))
    close(ours.backward(dy), tx.grad, rtol)
    assert len(theirs.pairs) == n_parameters == len(ours.parameters())
    for i, (parameter, other) in enumerate(theirs.pairs):
        close(parameter.grad, other.grad, rtol, str(i))


class Recorder:
    """In the place of Adam: keeps the gradients that it was called with, and moves nothing."""

    calls: list

    def __init__(self, parameters, lr, betas):
        self.parameters = list(parameters)

    def step(self):
        self.calls.append([p.grad.copy() for p in self.parameters])


@dtypes
def test_a_step_of_the_example(dtype, rtol, monkeypatch):
    """Every gradient that the visible lines arrive at, against autograd of the losses summed."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("gan_style")
    monkeypatch.setattr(Recorder, "calls", [], raising=False)
    monkeypatch.setattr(example, "Adam", Recorder)
    monkeypatch.setattr(example, "PATCH", 12)
    critics = [moved(PatchDiscriminator(3, 1, rng=i), dtype, 5 + i) for i in range(2)]
    queue = list(critics)
    monkeypatch.setattr(example, "PatchDiscriminator", lambda **settings: queue.pop(0))
    model = moved(CycleGAN(**TINY, rng=0), dtype, 3)
    rng = np.random.default_rng(4)
    pictures_a, pictures_b = rng.random((2, 5, 16, 30)).astype(dtype)

    example.train(
        model, pictures_a, pictures_b, lambda step, model: None,
        steps=1, batch_size=3, lr=1e-3, cycle=7.0, spectral=False, rng=np.random.default_rng(8),
    )  # fmt: skip

    rng = np.random.default_rng(8)
    a = torch.tensor(example.draw_patches(pictures_a, 3, rng))
    b = torch.tensor(example.draw_patches(pictures_b, 3, rng))
    G, F = TheirGenerator(model.to_b), TheirGenerator(model.to_a)
    D_A, D_B = (Theirs(critic.network) for critic in critics)
    fake_b, fake_a = G(a), F(b)
    loss = ((D_B(fake_b) - 1) ** 2).mean() + ((D_A(fake_a) - 1) ** 2).mean()
    loss = loss + 7.0 * (functional.l1_loss(F(fake_b), a) + functional.l1_loss(G(fake_a), b))
    loss = loss + 3.5 * (functional.l1_loss(F(a), a) + functional.l1_loss(G(b), b))
    loss.backward()
    expected = {id(p): other.grad.clone() for net in (G, F) for p, other in net.pairs}
    for D in (D_A, D_B):
        D.zero_grad()
    for D, real, fake in ((D_B, b, fake_b), (D_A, a, fake_a)):
        (((D(real) - 1) ** 2).mean() + (D(fake.detach()) ** 2).mean()).backward()
    expected |= {id(p): other.grad for net in (D_A, D_B) for p, other in net.pairs}

    generators, for_b, for_a = Recorder.calls
    owners = [model.parameters(), critics[1].parameters(), critics[0].parameters()]
    n = 0
    for parameters, grads in zip(owners, (generators, for_b, for_a), strict=True):
        for parameter, grad in zip(parameters, grads, strict=True):
            close(grad, expected[id(parameter)], 5 * rtol, str(grad.shape))
            n += 1
    assert n == 2 * 16 + 2 * 6
