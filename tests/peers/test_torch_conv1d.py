"""Conv1d and ConvTranspose1d against torch: outputs and every gradient, initial weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from scratchaudio.nn import Conv1d, ConvTranspose1d

pytestmark = pytest.mark.peers

dtypes = st.sampled_from([(np.float32, 1e-5), (np.float64, 1e-12)])


@st.composite
def settings_of_a_layer(draw):
    groups = draw(st.integers(1, 3))
    return {
        "n_in": groups * draw(st.integers(1, 4)),
        "n_out": groups * draw(st.integers(1, 4)),
        "kernel_size": draw(st.integers(1, 6)),
        "stride": draw(st.integers(1, 4)),
        "padding": draw(st.integers(0, 4)),
        "dilation": draw(st.integers(1, 4)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }


def compare(ours, theirs, x, rng, tolerance, pad=0):
    """Same weights, same x, same upstream gradient: y, dx, dW and db must agree."""
    theirs = theirs.to(torch.from_numpy(x).dtype)
    ours.astype(x.dtype)
    with torch.no_grad():
        for parameter, tensor in zip(ours.parameters(), theirs.parameters(), strict=True):
            tensor.copy_(torch.from_numpy(parameter.value))
    tx = torch.from_numpy(x.copy()).requires_grad_()
    ty = theirs(F.pad(tx, (pad, 0)))
    dy = rng.standard_normal(ty.shape).astype(x.dtype)
    ty.backward(torch.from_numpy(dy.copy()))
    pairs = {"y": (ours.forward(x), ty), "dx": (ours.backward(dy), tx.grad)}
    names = ("dW", "db")[: len(ours.parameters())]
    for name, parameter, tensor in zip(names, ours.parameters(), theirs.parameters(), strict=True):
        pairs[name] = parameter.grad, tensor.grad
    for name, (got, expected) in pairs.items():
        expected = expected.detach().numpy()
        assert got.shape == expected.shape and got.dtype == expected.dtype, name
        error = abs(got - expected).max() / max(1, abs(expected).max())
        assert error <= tolerance, f"{name} differs by {error:.1e}"


def drawn(B, C, T, dtype, seed):
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal((B, C, T)).astype(dtype)


@given(
    options=settings_of_a_layer(),
    B=st.integers(1, 3),
    longer=st.integers(0, 30),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_conv(options, B, longer, dtype, seed):
    span = options["dilation"] * (options["kernel_size"] - 1) + 1
    T = max(1, span - 2 * options["padding"]) + longer
    rng, x = drawn(B, options["n_in"], T, dtype[0], seed)
    n_in, n_out, *_ = options.values()
    rest = {name: value for name, value in options.items() if name not in ("n_in", "n_out")}
    compare(Conv1d(**options, rng=rng), torch.nn.Conv1d(n_in, n_out, **rest), x, rng, dtype[1])


@given(
    options=settings_of_a_layer(),
    B=st.integers(1, 3),
    longer=st.integers(0, 10),
    data=st.data(),
    dtype=dtypes,
    seed=st.integers(0, 2**32 - 1),
)
def test_transposed_conv(options, B, longer, data, dtype, seed):
    """Lengths T' from 1 upwards, with any output_padding that torch allows."""
    most = max(options["stride"], options["dilation"]) - 1
    options["output_padding"] = data.draw(st.integers(0, most))
    T = 1 + longer
    while ConvTranspose1d(**options).output_length(T) < 1:
        T += 1
    rng, x = drawn(B, options["n_in"], T, dtype[0], seed)
    n_in, n_out, *_ = options.values()
    rest = {name: value for name, value in options.items() if name not in ("n_in", "n_out")}
    theirs = torch.nn.ConvTranspose1d(n_in, n_out, **rest)
    compare(ConvTranspose1d(**options, rng=rng), theirs, x, rng, dtype[1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize(
    ("n_in", "n_out", "k", "dilation", "groups"),
    [(16, 24, 2, 64, 1), (12, 12, 3, 8, 12), (6, 9, 1, 1, 3)],
)
def test_causal(n_in, n_out, k, dilation, groups, dtype, tolerance):
    rng, x = drawn(3, n_in, 700, dtype, 0)
    ours = Conv1d(n_in, n_out, k, dilation=dilation, groups=groups, causal=True, rng=rng)
    theirs = torch.nn.Conv1d(n_in, n_out, k, dilation=dilation, groups=groups)
    compare(ours, theirs, x, rng, tolerance, pad=dilation * (k - 1))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Conv1d, {"n_in": 1, "n_out": 64, "kernel_size": 16, "stride": 8}),
        (Conv1d, {"n_in": 16, "n_out": 32, "kernel_size": 31, "stride": 2, "padding": 15}),
        (ConvTranspose1d, {"n_in": 64, "n_out": 1, "kernel_size": 16, "stride": 8}),
        (ConvTranspose1d, {"n_in": 32, "n_out": 16, "kernel_size": 25, "stride": 4}),
    ],
)
def test_sizes_of_real_networks(kind, options):
    """Long enough to be cut into blocks; float64, as long float32 sums depend on their order."""
    rng, x = drawn(2, options["n_in"], 20_003, np.float64, 1)
    n_in, n_out, *rest = options.values()
    theirs = getattr(torch.nn, kind.__name__)(n_in, n_out, *rest)
    compare(kind(**options, rng=rng), theirs, x, rng, 1e-12)


def test_initial_weights_have_torch_s_range():
    for ours, theirs in (
        (Conv1d(60, 80, 5, groups=2, rng=0), torch.nn.Conv1d(60, 80, 5, groups=2)),
        (
            ConvTranspose1d(60, 80, 5, groups=2, rng=0),
            torch.nn.ConvTranspose1d(60, 80, 5, groups=2),
        ),
    ):
        for parameter, tensor in zip(ours.parameters(), theirs.parameters(), strict=True):
            largest = abs(tensor.detach().numpy()).max()
            assert parameter.value.shape == tensor.shape
            assert abs(abs(parameter.value).max() - largest) <= 0.1 * largest
        assert ours.W.value.std() == pytest.approx(theirs.weight.std().item(), rel=2e-2)
