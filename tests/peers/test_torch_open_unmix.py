"""Open-Unmix against the same network in torch: outputs, all gradients, statistics, a few steps.

The network is written after Open-Unmix's model.py, in its order of calls; nothing is dropped, so
that both see the same.
"""

import numpy as np
import pytest
import torch

from scratchaudio import nn
from scratchaudio.models import OpenUnmix

pytestmark = pytest.mark.peers

SIZES = {"n_hidden": 12, "n_fft": 30, "hop_length": 5, "sample_rate": 100, "bandwidth": 36}
GATES = [0, 1, 3, 2]  # ours i, f, o, g; torch's i, f, g, o
every_kind = [
    pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-4), (np.float64, 1e-10)]),
    pytest.mark.parametrize("bidirectional", [True, False]),
]


class Theirs(torch.nn.Module):
    def __init__(self, n_bins, n_heard, C, H, n_layers, bidirectional):
        super().__init__()
        self.n_heard, self.H = n_heard, H
        self.input_mean = torch.nn.Parameter(torch.zeros(n_heard))
        self.input_scale = torch.nn.Parameter(torch.ones(n_heard))
        self.fc1 = torch.nn.Linear(C * n_heard, H, bias=False)
        self.bn1 = torch.nn.BatchNorm1d(H)
        units = H // 2 if bidirectional else H
        self.lstm = torch.nn.LSTM(H, units, n_layers, bidirectional=bidirectional)
        self.fc2 = torch.nn.Linear(2 * H, H, bias=False)
        self.bn2 = torch.nn.BatchNorm1d(H)
        self.fc3 = torch.nn.Linear(H, C * n_bins, bias=False)
        self.bn3 = torch.nn.BatchNorm1d(C * n_bins)
        self.output_scale = torch.nn.Parameter(torch.ones(n_bins))
        self.output_mean = torch.nn.Parameter(torch.ones(n_bins))

    def forward(self, mix):  # (B, C, F, T)
        mix = mix.permute(3, 0, 1, 2)
        T, B, C, F = mix.shape
        x = (mix[..., : self.n_heard] + self.input_mean) * self.input_scale
        x = self.bn1(self.fc1(x.reshape(-1, C * self.n_heard)))
        x = torch.tanh(x.reshape(T, B, self.H))
        x = torch.cat([x, self.lstm(x)[0]], dim=-1)
        x = torch.relu(self.bn2(self.fc2(x.reshape(T * B, -1))))
        x = self.bn3(self.fc3(x)).reshape(T, B, C, F)
        x = torch.relu(x * self.output_scale + self.output_mean) * mix
        return x.permute(1, 2, 3, 0)


def in_torch_order(matrix):
    """Columns by gate in our order -> rows by gate in torch's."""
    gates = np.split(matrix, 4, axis=-1)
    return np.concatenate([gates[k] for k in GATES], axis=-1).T


def under_their_names(ours, get):
    """Name in torch -> what `get` says of our parameter, in torch's layout."""
    named = {name: get(getattr(ours, name)) for name in
             ("input_mean", "input_scale", "output_mean", "output_scale")}  # fmt: skip
    for k in (1, 2, 3):
        dense, norm = getattr(ours, f"dense{k}"), getattr(ours, f"norm{k}")
        named[f"fc{k}.weight"] = get(dense.W).T
        named[f"bn{k}.weight"], named[f"bn{k}.bias"] = get(norm.gamma), get(norm.beta)
    for layer, recurrent in enumerate(ours.recurrent):
        ways = {f"l{layer}": recurrent}
        if isinstance(recurrent, nn.Bidirectional):
            ways = {f"l{layer}": recurrent.ahead, f"l{layer}_reverse": recurrent.back}
        for suffix, lstm in ways.items():
            named[f"lstm.weight_ih_{suffix}"] = in_torch_order(get(lstm.Wx))
            named[f"lstm.weight_hh_{suffix}"] = in_torch_order(get(lstm.Wh))
            named[f"lstm.bias_ih_{suffix}"] = in_torch_order(get(lstm.b))
    return named


def pair(bidirectional, dtype, C=2, n_layers=3, seed=0):
    """Ours and theirs with the same weights, off their initial values."""
    ours = OpenUnmix(C, n_layers=n_layers, dropout=0.0, bidirectional=bidirectional, **SIZES, rng=0)
    rng = np.random.default_rng(seed)
    for parameter in ours.parameters():
        parameter.value += 0.2 * rng.standard_normal(parameter.value.shape).astype(np.float32)
    ours.input_mean.value -= 0.5  # of magnitudes from 0 to 1
    ours.input_scale.value += 2.5
    ours.astype(dtype)
    theirs = Theirs(ours.n_bins, ours.n_heard, C, 12, n_layers, bidirectional)
    theirs.to(torch.float64 if dtype == np.float64 else torch.float32)
    held = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, value in under_their_names(ours, lambda p: p.value).items():
            held.pop(name).copy_(torch.tensor(value))
        for name, second_bias in held.items():
            assert "bias_hh" in name
            second_bias.zero_()
    return ours, theirs


def close(got, expected, tolerance, name):
    expected = expected.detach().numpy()
    assert got.shape == expected.shape and got.dtype == expected.dtype, name
    # norm1 takes the mean away, so that of its gradient only rounding is left, in both
    size = 1 if name == "input_mean" else np.abs(expected).max()
    error = np.abs(got - expected).max() / max(size, 1e-2)
    assert error <= tolerance, f"{name} is off by {error:.1e}"


def of_kinds(test):
    for mark in every_kind:
        test = mark(test)
    return test


@of_kinds
@pytest.mark.parametrize(("B", "C", "T"), [(3, 2, 7), (1, 2, 40), (5, 1, 4), (6, 3, 1)])
def test_outputs_and_all_gradients_in_training(B, C, T, bidirectional, dtype, tolerance):
    ours, theirs = pair(bidirectional, dtype, C)
    rng = np.random.default_rng(1)
    X = rng.random((B, C, ours.n_bins, T)).astype(dtype)
    dy = rng.standard_normal(X.shape).astype(dtype)
    tX = torch.tensor(X).requires_grad_()
    ty = theirs(tX)
    ty.backward(torch.tensor(dy))
    close(ours.forward(X), ty, tolerance, "y")
    close(ours.backward(dy), tX.grad, tolerance, "dX")
    held = dict(theirs.named_parameters())
    for name, grad in under_their_names(ours, lambda p: p.grad).items():
        close(grad, held[name].grad, tolerance, name)
    for name, parameter in ours.named_parameters():
        unused = name == "input_mean" or (T == 1 and name.endswith("Wh"))
        assert unused or np.abs(parameter.grad).max() > 0.01, name


@of_kinds
def test_evaluation_with_the_statistics_of_training(bidirectional, dtype, tolerance):
    ours, theirs = pair(bidirectional, dtype)
    rng = np.random.default_rng(2)
    for step in range(5):
        X = (rng.random((3, 2, ours.n_bins, 6)) * (1 + step)).astype(dtype)
        ours.forward(X)
        theirs(torch.tensor(X))
    for k in (1, 2, 3):
        norm, peer = getattr(ours, f"norm{k}"), getattr(theirs, f"bn{k}")
        close(norm.running_mean.value, peer.running_mean, tolerance, f"mean {k}")
        close(norm.running_var.value, peer.running_var, tolerance, f"variance {k}")
    close(ours.eval().forward(X), theirs.eval()(torch.tensor(X)), tolerance, "y")


@pytest.mark.parametrize("bidirectional", [True, False])
def test_ten_steps_of_adam(bidirectional):
    """With the second bias of torch's LSTM left out of it."""
    ours, theirs = pair(bidirectional, np.float64)
    rng = np.random.default_rng(3)
    X = rng.random((3, 2, ours.n_bins, 6))
    S = X * rng.random(X.shape)
    optimizer = nn.Adam(ours.parameters(), lr=0.01)
    trained = [p for name, p in theirs.named_parameters() if "bias_hh" not in name]
    their_optimizer = torch.optim.Adam(trained, lr=0.01)
    losses = []
    for _ in range(10):
        ours.zero_grad()
        loss, dy = nn.mse(ours.forward(X), S)
        ours.backward(dy)
        ours.input_mean.grad[...] = 0  # rounding alone, of which Adam would make whole steps
        optimizer.step()
        their_optimizer.zero_grad()
        their_loss = torch.nn.functional.mse_loss(theirs(torch.tensor(X)), torch.tensor(S))
        their_loss.backward()
        theirs.input_mean.grad.zero_()
        their_optimizer.step()
        assert loss == pytest.approx(their_loss.item(), rel=1e-8)
        losses.append(loss)
    assert losses[-1] < 0.8 * losses[0]


def test_as_many_parameters_as_the_published_network_but_for_the_second_bias():
    theirs = Theirs(2049, 1487, 2, 512, 3, True)
    second = sum(p.numel() for name, p in theirs.named_parameters() if "bias_hh" in name)
    expected = sum(p.numel() for p in theirs.parameters()) - second
    assert sum(p.value.size for p in OpenUnmix(rng=0).parameters()) == expected
