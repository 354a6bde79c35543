"""Conv1d and ConvTranspose1d: against loops, each the other's transpose, gradients, causality."""

import math
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchaudio import dsp
from scratchaudio.errors import ConfigError, ShapeError
from scratchaudio.nn import Conv1d, ConvTranspose1d, Linear, conv1d, receptive_field
from scratchaudio.nn.gradcheck import adjoint_error, check_gradients

seeds = st.integers(0, 2**32 - 1)


@st.composite
def cases(draw, **fixed):
    """Channels of each side, settings common to both layers, a length that fits, and a seed.

    `room` cuts the work into blocks, from one column each to everything at once.
    """

    def chosen(name, least, most):
        return fixed[name] if name in fixed else draw(st.integers(least, most))

    groups = chosen("groups", 1, 3)
    shared = {
        "kernel_size": chosen("kernel_size", 1, 5),
        "stride": chosen("stride", 1, 4),
        "padding": chosen("padding", 0, 4),
        "dilation": chosen("dilation", 1, 3),
        "groups": groups,
    }
    span = shared["dilation"] * (shared["kernel_size"] - 1) + 1
    return {
        "n_short": groups * chosen("n_short", 1, 3),
        "n_long": groups * chosen("n_long", 1, 3),
        "shared": shared,
        "T": max(1, span - 2 * shared["padding"]) + draw(st.integers(0, 7)),
        "B": draw(st.integers(1, 3)),
        "room": draw(st.sampled_from([1, 8, 40, 2**20])),
        "rng": np.random.default_rng(draw(seeds)),
    }


def made(case, bias=True):
    """A Conv1d from the long side to the short one, float64, and an input."""
    rng = case["rng"]
    layer = Conv1d(
        case["n_long"], case["n_short"], **case["shared"], bias=bias, rng=rng, dtype=np.float64
    )
    return layer, rng.standard_normal((case["B"], case["n_long"], case["T"]))


def made_transposed(case, bias=True):
    """The ConvTranspose1d that gives back the length T, and an input."""
    s, p, d, _ = Conv1d(1, 1, **{**case["shared"], "groups": 1}).taps
    left_over = (case["T"] + 2 * p - d * (case["shared"]["kernel_size"] - 1) - 1) % s
    rng = case["rng"]
    layer = ConvTranspose1d(
        case["n_short"],
        case["n_long"],
        **case["shared"],
        output_padding=left_over,
        bias=bias,
        rng=rng,
        dtype=np.float64,
    )
    n_steps = Conv1d(1, 1, **{**case["shared"], "groups": 1}).output_length(case["T"])
    return layer, rng.standard_normal((case["B"], case["n_short"], n_steps))


def in_blocks(case):
    return mock.patch.object(conv1d, "ROOM", case["room"])


def convolution_by_loops(x, W, b, stride, padding, dilation, groups):
    """Four loops over output, channel, time and tap, for each of the batch."""
    (B, C, T), (n_out, width, k) = x.shape, W.shape
    assert width == C // groups
    padded = np.concatenate([np.zeros((B, C, padding)), x, np.zeros((B, C, padding))], axis=2)
    starts = range(0, T + 2 * padding - dilation * (k - 1), stride)
    y = np.zeros((B, n_out, len(starts)))
    for n in range(B):
        for o in range(n_out):
            first = o // (n_out // groups) * width  # channel that o's group begins with
            for t, start in enumerate(starts):
                y[n, o, t] = b[o]
                for c in range(width):
                    for j in range(k):
                        y[n, o, t] += W[o, c, j] * padded[n, first + c, start + j * dilation]
    return y


def transposed_by_loops(x, W, b, stride, padding, output_padding, dilation, groups):
    """Every input lays its scaled kernel into a long output; then both ends are cut."""
    (B, C, T), (_, width, k) = x.shape, W.shape
    length = (T - 1) * stride + dilation * (k - 1) + 1 + output_padding
    y = np.zeros((B, width * groups, length))
    for n in range(B):
        for c in range(C):
            first = c // (C // groups) * width
            for o in range(width):
                for t in range(T):
                    for j in range(k):
                        y[n, first + o, t * stride + j * dilation] += x[n, c, t] * W[c, o, j]
    return (y + np.reshape(b, (-1, 1)))[:, :, padding : length - padding]


# Values ------------------------------------------------------------------------------------------


@given(case=cases())
def test_conv_equals_four_loops(case):
    layer, x = made(case)
    options = {name: case["shared"][name] for name in ("stride", "padding", "dilation", "groups")}
    expected = convolution_by_loops(x, layer.W.value, layer.b.value, **options)
    with in_blocks(case):
        y = layer.forward(x)
    assert y.shape == expected.shape == (*expected.shape[:2], layer.output_length(case["T"]))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@given(case=cases(), data=st.data())
def test_transposed_conv_equals_loops(case, data):
    layer, x = made_transposed(case)
    options = {name: case["shared"][name] for name in ("stride", "padding", "dilation", "groups")}
    most = max(options["stride"], options["dilation"]) - 1
    layer.output_padding = data.draw(st.integers(layer.output_padding, most))
    expected = transposed_by_loops(
        x, layer.W.value, layer.b.value, output_padding=layer.output_padding, **options
    )
    with in_blocks(case):
        y = layer.forward(x)
    assert y.shape == expected.shape == (*expected.shape[:2], layer.output_length(x.shape[-1]))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("T", "options"),
    [
        (7, {"kernel_size": 5, "stride": 1, "padding": 4, "dilation": 3}),  # tap 4 reads zeros only
        (1, {"kernel_size": 3, "stride": 1, "padding": 9, "dilation": 4}),
        (2, {"kernel_size": 2, "stride": 5, "padding": 11, "dilation": 1}),
        (3, {"kernel_size": 1, "stride": 1, "padding": 6, "dilation": 1}),
        (9, {"kernel_size": 1, "stride": 4, "padding": 0, "dilation": 1}),
    ],
)
def test_far_over_the_edge(T, options):
    rng = np.random.default_rng(0)
    layer = Conv1d(4, 6, **options, groups=2, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 4, T))
    del options["kernel_size"]
    expected = convolution_by_loops(x, layer.W.value, layer.b.value, **options, groups=2)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=0, atol=1e-13)
    assert check_gradients(layer, x, rng=rng) <= 1e-11


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1, "stride": 1, "padding": 0, "output_padding": 2, "dilation": 3},
        {"kernel_size": 1, "stride": 2, "padding": 0, "output_padding": 3, "dilation": 4},
        {"kernel_size": 3, "stride": 1, "padding": 5, "output_padding": 3, "dilation": 4},
        {"kernel_size": 2, "stride": 6, "padding": 4, "output_padding": 5, "dilation": 1},
    ],
)
def test_output_padding_beyond_everything(options):
    """Outputs that no input reaches are b."""
    rng = np.random.default_rng(0)
    layer = ConvTranspose1d(4, 6, **options, groups=2, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 4, 5))
    del options["kernel_size"]
    expected = transposed_by_loops(x, layer.W.value, layer.b.value, **options, groups=2)
    np.testing.assert_allclose(layer.forward(x), expected, rtol=0, atol=1e-13)
    assert check_gradients(layer, x, rng=rng) <= 1e-11


@given(case=cases(padding=0))
def test_causal_is_zeros_on_the_left(case):
    _, x = made(case)
    shared, n_long, n_short = case["shared"], case["n_long"], case["n_short"]
    causal = Conv1d(n_long, n_short, **shared, causal=True, rng=0, dtype=np.float64)
    plain = Conv1d(n_long, n_short, **shared, rng=0, dtype=np.float64)
    zeros = np.zeros((*x.shape[:2], shared["dilation"] * (shared["kernel_size"] - 1)))
    y = causal.forward(x)
    assert y.shape[-1] == -(-case["T"] // shared["stride"])
    np.testing.assert_allclose(y, plain.forward(np.concatenate([zeros, x], axis=2)), atol=1e-13)


def test_one_tap_is_a_linear_layer_on_channels():
    rng = np.random.default_rng(0)
    conv, linear = Conv1d(3, 5, 1, rng=rng), Linear(3, 5, rng=rng)
    linear.W.value, linear.b.value = conv.W.value[:, :, 0].T, conv.b.value
    x = rng.standard_normal((2, 3, 7)).astype(np.float32)
    expected = linear.forward(x.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_allclose(conv.forward(x), expected, atol=1e-6)


def test_with_unit_kernels_they_cut_into_frames_and_overlap_add():
    """A filter that is 1 at tap j and else 0 gives row j of the frames."""
    x = np.random.default_rng(0).standard_normal(31)
    cut, add = Conv1d(1, 6, 6, 4, bias=False), ConvTranspose1d(6, 1, 6, 4, bias=False)
    cut.W.value = add.W.value = np.eye(6)[:, None]
    frames = dsp.frame(x, frame_length=6, hop_length=4)
    np.testing.assert_array_equal(cut.forward(x[None, None])[0], frames)
    expected = dsp.overlap_add(frames, 4)
    np.testing.assert_allclose(add.forward(frames[None])[0, 0], expected, atol=1e-15)


# Transposes and gradients ------------------------------------------------------------------------


@given(case=cases())
def test_each_is_the_other_s_transpose(case):
    """<Conv x, y> = <x, ConvT y> with one and the same W; backward of one is forward of other."""
    conv, x = made(case, bias=False)
    transposed, y = made_transposed(case, bias=False)
    assert conv.W.value.shape == transposed.W.value.shape
    transposed.W = conv.W
    with in_blocks(case):
        if conv.forward(x).any():  # in a short one every tap may fall on padding
            assert adjoint_error(conv.forward, transposed.forward, x, y) <= 1e-14
        conv.forward(x)
        np.testing.assert_allclose(conv.backward(y), transposed.forward(y), rtol=0, atol=1e-13)
        np.testing.assert_allclose(transposed.backward(x), conv.forward(x), rtol=0, atol=1e-13)


@settings(max_examples=25)
@given(case=cases(), bias=st.booleans())
def test_gradients_of_conv(case, bias):
    layer, x = made(case, bias)
    with in_blocks(case):
        assert check_gradients(layer, x, rng=case["rng"], may_vanish=("x", "W")) <= 1e-11


@settings(max_examples=25)
@given(case=cases(), bias=st.booleans())
def test_gradients_of_transposed_conv(case, bias):
    layer, x = made_transposed(case, bias)
    with in_blocks(case):
        assert check_gradients(layer, x, rng=case["rng"], may_vanish=("x", "W")) <= 1e-11


@settings(max_examples=20)
@given(case=cases(padding=0))
def test_gradients_of_causal_conv(case):
    _, x = made(case)
    layer = Conv1d(case["n_long"], case["n_short"], **case["shared"], causal=True, rng=0)
    assert check_gradients(layer, x, rng=case["rng"]) <= 1e-11


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("stride", [1, 2])
def test_dtype_stays(dtype, stride):
    for layer in (Conv1d(2, 3, 3, stride, rng=0), ConvTranspose1d(2, 3, 3, stride, rng=0)):
        layer.astype(dtype)
        y = layer.forward(np.ones((4, 2, 9), dtype))
        dx = layer.backward(y)
        assert y.dtype == dx.dtype == layer.W.grad.dtype == layer.b.grad.dtype == dtype


def test_float64_input_is_not_rounded_to_the_weights_float32():
    x = np.random.default_rng(0).standard_normal((2, 3, 9))
    for kind in (Conv1d, ConvTranspose1d):
        expected = kind(3, 5, 2, 2, rng=0).astype(np.float64).forward(x)
        np.testing.assert_allclose(kind(3, 5, 2, 2, rng=0).forward(x), expected, atol=1e-14)


# Laws --------------------------------------------------------------------------------------------


@given(case=cases(padding=0), data=st.data())
def test_causal_does_not_see_the_future(case, data):
    """NaN from `now` on leaves all outputs at t s < now as they are, and spoils the next one."""
    _, x = made(case)
    shared = case["shared"]
    layer = Conv1d(case["n_long"], case["n_short"], **shared, causal=True, rng=case["rng"])
    now = data.draw(st.integers(0, case["T"] - 1))
    future = x.copy()
    future[:, :, now:] = np.nan
    with in_blocks(case):
        y, seen = layer.forward(x), layer.forward(future)
    past = -(-now // shared["stride"])
    np.testing.assert_allclose(seen[:, :, :past], y[:, :, :past], rtol=0, atol=1e-13)
    if past * shared["stride"] == now:
        assert np.isnan(seen[:, :, past]).all()

    dy = np.zeros_like(y)  # and a gradient at times before `now` reaches no later input
    dy[:, :, :past] = 1
    layer.forward(x)
    assert not layer.backward(dy)[:, :, now:].any()


@given(case=cases(), a=st.floats(-3, 3))
def test_linear_in_x(case, a):
    for make in (made, made_transposed):
        layer, x = make(case, bias=False)
        z = case["rng"].standard_normal(x.shape)
        expected = a * layer.forward(x) + layer.forward(z)
        np.testing.assert_allclose(layer.forward(a * x + z), expected, rtol=0, atol=1e-12)


@given(case=cases(padding=0), m=st.integers(1, 5))
def test_what_starts_later_comes_out_later(case, m):
    """m s samples of silence before: m outputs of silence (b), then the same as before."""
    _, x = made(case)
    shared = case["shared"]
    layer = Conv1d(case["n_long"], case["n_short"], **shared, causal=True, rng=0, dtype=np.float64)
    late = np.concatenate([np.zeros((*x.shape[:2], m * shared["stride"])), x], axis=2)
    with in_blocks(case):
        y, y_late = layer.forward(x), layer.forward(late)
    np.testing.assert_allclose(y_late[:, :, m:], y, rtol=0, atol=1e-13)
    silence = np.broadcast_to(layer.b.value[:, None], y_late[:, :, :m].shape)
    np.testing.assert_allclose(y_late[:, :, :m], silence, rtol=0, atol=1e-13)


@given(case=cases(groups=3))
def test_groups_do_not_see_each_other(case):
    layer, x = made(case)
    y = layer.forward(x)
    width, out = case["n_long"] // 3, case["n_short"] // 3
    for i in range(3):
        alone = Conv1d(width, out, **{**case["shared"], "groups": 1})
        alone.W.value = layer.W.value[i * out : (i + 1) * out]
        alone.b.value = layer.b.value[i * out : (i + 1) * out]
        part = alone.forward(x[:, i * width : (i + 1) * width])
        np.testing.assert_allclose(y[:, i * out : (i + 1) * out], part, rtol=0, atol=1e-13)


shapes_of_layers = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))


@given(layers=st.lists(shapes_of_layers, min_size=1, max_size=4))
def test_receptive_field_is_the_width_of_one_output_s_gradient(layers):
    stack = [Conv1d(1, 1, k, stride=s, dilation=d) for k, s, d in layers]
    R = receptive_field(stack)
    x = np.ones((1, 1, R))  # just long enough for one output
    for layer in stack:
        layer.W.value[...] = 1
        x = layer.forward(x)
    assert x.shape == (1, 1, 1)
    dx = np.ones((1, 1, 1))
    for layer in reversed(stack):
        dx = layer.backward(dx)
    assert dx[0, 0, 0] > 0 and dx[0, 0, -1] > 0
    shorter = np.ones((1, 1, R - 1))
    with pytest.raises(ShapeError, match="x of Conv1d"):
        for layer in stack:
            shorter = layer.forward(shorter)


@given(
    n_steps=st.integers(1, 40),
    k=st.integers(1, 6),
    s=st.integers(1, 5),
    p=st.integers(0, 3),
    d=st.integers(1, 4),
)
def test_lengths(n_steps, k, s, p, d):
    """T' counts the places where the span fits; ConvTranspose1d undoes it, for s lengths each."""
    conv = Conv1d(1, 1, k, s, p, d)
    places = [at for at in range(0, n_steps + 2 * p, s) if at + d * (k - 1) < n_steps + 2 * p]
    if places:
        assert conv.output_length(n_steps) == len(places)
        q = (n_steps + 2 * p - d * (k - 1) - 1) % s
        assert ConvTranspose1d(1, 1, k, s, p, q, d).output_length(len(places)) == n_steps
    else:
        assert conv.output_length(n_steps) < 1


@pytest.mark.parametrize("room", [1, 100, 3000, 2**20])
def test_blocks_cover_everything_once_and_fit(room):
    B, g, n_out, n_steps, width = 3, 5, 2, 41, 7
    y, kernel = np.zeros((B, g, n_out, n_steps)), np.zeros((g, n_out, width))
    with mock.patch.object(conv1d, "ROOM", room):
        for batch, groups, time in conv1d._blocks(y, kernel):
            block = y[batch, groups, :, time]
            assert block[:, :, 0].size * width <= max(room, width)
            block += 1
    assert (y == 1).all()


# Initial weights ---------------------------------------------------------------------------------


def test_initial_weights():
    """U(-a, a) with a = 1 / sqrt(k times axis 1 of W), the same for the same seed."""
    for kind, width in ((Conv1d, 40 // 4), (ConvTranspose1d, 60 // 4)):
        layer, again = (kind(40, 60, 5, groups=4, rng=7) for _ in range(2))
        bound = 1 / math.sqrt(5 * width)
        assert layer.W.value.shape[1:] == (width, 5)
        assert 0.99 * bound < abs(layer.W.value).max() <= bound
        assert layer.W.value.std() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert 0.7 * bound < abs(layer.b.value).max() <= bound
        assert layer.b.value.shape == (60,)
        np.testing.assert_array_equal(layer.W.value, again.W.value)
        assert kind(2, 2, 1, bias=False).b is None


# Errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
def test_impossible_settings(kind):
    for name in ("n_in", "n_out", "kernel_size", "stride", "dilation", "groups"):
        for value in (0, -1, 1.5, True):
            settings = {"n_in": 2, "n_out": 2, "kernel_size": 3, name: value}
            with pytest.raises(ConfigError, match=f"{name} must be an integer of at least 1, got"):
                kind(**settings)
    for value in (-1, 0.5, True, "same"):
        with pytest.raises(ConfigError, match="padding must be an integer of at least 0, got"):
            kind(2, 2, 3, padding=value)
    for n_in, n_out in ((4, 6), (6, 4)):
        with pytest.raises(ConfigError, match=f"groups must divide .* groups=3, n_in={n_in}"):
            kind(n_in, n_out, 3, groups=3)


def test_settings_that_contradict():
    with pytest.raises(ConfigError, match="padding must be 0 with causal=True.* got 2"):
        Conv1d(2, 2, 3, padding=2, causal=True)
    with pytest.raises(ConfigError, match="output_padding must be an integer of .* 0, got -1"):
        ConvTranspose1d(2, 2, 3, output_padding=-1)
    with pytest.raises(ConfigError, match="output_padding must be below .* got 3 with stride 3"):
        ConvTranspose1d(2, 2, 3, stride=3, output_padding=3, dilation=2)
    ConvTranspose1d(2, 2, 3, stride=2, output_padding=2, dilation=3)


@pytest.mark.parametrize("kind", [Conv1d, ConvTranspose1d])
def test_impossible_arrays(kind):
    layer = kind(2, 3, 2)
    for shape in ((2, 9), (4, 3, 9), (4, 2, 0), (0, 2, 9), (1, 4, 2, 9)):
        with pytest.raises(ShapeError, match=rf"{kind.__name__} must have shape \(batch, 2, steps"):
            layer.forward(np.ones(shape, np.float32))
    y = layer.forward(np.ones((4, 2, 9), np.float32))
    for wrong in (y[:, :, 1:], y[:1], y[:, :1]):
        layer.forward(np.ones((4, 2, 9), np.float32))
        with pytest.raises(ShapeError, match=r"dy must have shape \(4, 3, (8|10)\) like forward's"):
            layer.backward(wrong)


def test_too_short():
    message = "4 taps with dilation 3 span 10 samples, got 7 and 2 of padding"
    with pytest.raises(ShapeError, match=message):
        Conv1d(2, 3, 4, stride=5, padding=1, dilation=3).forward(np.ones((1, 2, 7), np.float32))
    message = "of 6 samples padding=3 cuts 6, got 3 steps"
    with pytest.raises(ShapeError, match=message):
        ConvTranspose1d(2, 3, 2, 2, padding=3).forward(np.ones((1, 2, 3), np.float32))
