"""Conv2d, ConvTranspose2d, pooling against torch: outputs, every gradient, initial weights."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scratchaudio import nn

pytestmark = pytest.mark.peers

dtypes = st.sampled_from([(np.float32, 1e-5), (np.float64, 1e-12)])
seeds = st.integers(0, 2**32 - 1)


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def settings_of_a_layer(draw):
    groups = draw(st.integers(1, 3))
    return {
        "n_in": groups * draw(st.integers(1, 3)),
        "n_out": groups * draw(st.integers(1, 3)),
        "kernel_size": draw(pairs(1, 5)),
        "stride": draw(pairs(1, 4)),
        "padding": draw(pairs(0, 3)),
        "dilation": draw(pairs(1, 4)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }


def in_torch(kind, options):
    """torch's layer of the same name and settings."""
    names = {"n_in": "in_channels", "n_out": "out_channels"}
    return getattr(torch.nn, kind)(**{names.get(name, name): v for name, v in options.items()})


def compare(ours, theirs, x, rng, tolerance):
    """Same weights, same x, same upstream gradient: y, dx, dW and db must agree."""
    theirs = theirs.to(torch.from_numpy(x).dtype)
    ours.astype(x.dtype)
    with torch.no_grad():
        for parameter, tensor in zip(ours.parameters(), theirs.parameters(), strict=True):
            tensor.copy_(torch.from_numpy(parameter.value))
    tx = torch.from_numpy(x.copy()).requires_grad_()
    ty = theirs(tx)
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


def drawn(shape, dtype, seed):
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal(shape).astype(dtype)


@given(
    options=settings_of_a_layer(), B=st.integers(1, 3), extra=pairs(0, 9), seed=seeds, dtype=dtypes
)
def test_conv2d(options, B, extra, seed, dtype):
    least = (
        max(1, d * (k - 1) + 1 - 2 * p)
        for d, k, p in zip(
            *(options[name] for name in ("dilation", "kernel_size", "padding")), strict=True
        )
    )
    size = (n + e for n, e in zip(least, extra, strict=True))
    rng, x = drawn((B, options["n_in"], *size), dtype[0], seed)
    ours = nn.Conv2d(**options, rng=rng)
    compare(ours, in_torch("Conv2d", options), x, rng, dtype[1])


@given(
    options=settings_of_a_layer(),
    B=st.integers(1, 3),
    size=pairs(1, 8),
    seed=seeds,
    dtype=dtypes,
    data=st.data(),
)
def test_conv_transpose2d(options, B, size, seed, dtype, data):
    most = (max(pair) - 1 for pair in zip(options["stride"], options["dilation"], strict=True))
    options["output_padding"] = tuple(data.draw(st.integers(0, q)) for q in most)
    rng, x = drawn((B, options["n_in"], *size), dtype[0], seed)
    ours = nn.ConvTranspose2d(**options, rng=rng)
    while min(ours.output_size(x.shape[2:])) < 1:  # all of it would be cut off: larger, then
        x = np.concatenate([x, x], axis=2)
        x = np.concatenate([x, x], axis=3)
    compare(ours, in_torch("ConvTranspose2d", options), x, rng, dtype[1])


@pytest.mark.parametrize(
    ("kind", "shape", "options"),
    [
        ("Conv2d", (4, 16, 64, 32), {"n_out": 32, "kernel_size": 5, "stride": 2, "padding": 2}),
        ("Conv2d", (4, 32, 32, 16), {"n_out": 32, "kernel_size": 3, "padding": 1}),
        (
            "ConvTranspose2d",
            (4, 32, 32, 16),
            {"n_out": 16, "kernel_size": 5, "stride": 2, "padding": 2, "output_padding": 1},
        ),
    ],
)
def test_layers_of_a_unet(kind, shape, options):
    options = {"n_in": shape[1], **options}
    rng, x = drawn(shape, np.float32, 0)
    ours = getattr(nn, kind)(**options, rng=rng)
    compare(ours, in_torch(kind, options), x, rng, 1e-5)


@pytest.mark.parametrize("kind", ["Conv2d", "ConvTranspose2d"])
def test_initial_weights_have_torch_s_bounds(kind):
    options = {"n_in": 64, "n_out": 96, "kernel_size": (3, 5), "groups": 2}
    ours, theirs = getattr(nn, kind)(**options, rng=0), in_torch(kind, options)
    for parameter, tensor in zip(ours.parameters(), theirs.parameters(), strict=True):
        largest = abs(tensor.detach().numpy()).max()
        assert parameter.value.shape == tuple(tensor.shape)
        assert abs(parameter.value).max() == pytest.approx(largest, rel=0.1)


@given(
    kind=st.sampled_from(["MaxPool1d", "MaxPool2d", "AvgPool1d", "AvgPool2d"]),
    kernel=pairs(1, 4),
    stride=st.none() | pairs(1, 4),
    extra=pairs(0, 7),
    ties=st.booleans(),
    seed=seeds,
    dtype=dtypes,
)
def test_pooling(kind, kernel, stride, extra, ties, seed, dtype):
    """With ties too: torch gives the gradient to the first of the largest."""
    size = [k + e for k, e in zip(kernel, extra, strict=True)]
    if kind.endswith("1d"):
        kernel, stride, size = kernel[0], stride and stride[0], size[:1]
    rng, x = drawn((3, 2, *size), dtype[0], seed)
    if ties:
        x = np.round(x)
    compare(
        getattr(nn, kind)(kernel, stride), getattr(torch.nn, kind)(kernel, stride), x, rng, dtype[1]
    )


@pytest.mark.parametrize("kind", ["MaxPool2d", "AvgPool2d"])
def test_nan_passes_on_as_in_torch(kind):
    _, x = drawn((2, 3, 9, 8), np.float32, 0)
    x[np.random.default_rng(1).random(x.shape) < 0.1] = np.nan
    layer, tx = getattr(nn, kind)(3, 2), torch.from_numpy(x.copy()).requires_grad_()
    y, expected = layer.forward(x), getattr(torch.nn, kind)(3, 2)(tx)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
    expected.backward(torch.from_numpy(dy.copy()))
    expected = expected.detach().numpy()
    assert np.isnan(expected).any() and not np.isnan(expected).all()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.backward(dy), tx.grad.numpy(), rtol=1e-5, atol=1e-6)
